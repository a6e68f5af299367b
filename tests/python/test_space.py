"""A full disk is one sentence: before a large file is written, and while it is (issue 12, points 22 and 25)."""

from __future__ import annotations

import errno
import resource
import shutil
import subprocess
import sys
from collections import namedtuple
from functools import partial
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from helpers_modules import BIN, INPUTS, call
from scfm.errors import ResourceError
from scfm.io.hdf5 import put_anndata, writing_hdf5
from scfm.task.cli import describe_error, exit_code_of


def example() -> ad.AnnData:
    """Cells with counts, text, categories and frames in every place."""
    counts = sp.random(60, 40, 0.3, format="csr", dtype=np.float32, random_state=0)
    obs = pd.DataFrame({"text": ["a", "b"] * 30, "kind": pd.Categorical(["x", "y", "x"] * 20)})
    obs.index = [f"c{i}" for i in range(60)]
    data = ad.AnnData(counts, obs=obs, layers={"counts": counts.copy()}, uns={"facts": "{}", "nested": {"a": 1.5}})
    data.obsm["X_pca"] = np.arange(120, dtype=np.float32).reshape(60, 2)
    return data


def limited(n_bytes: int, executable: str, **options: object) -> subprocess.CompletedProcess:
    """Run an executable that can write so many bytes into a file and no more, as on a disk that fills up."""
    argv = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, str(BIN / f"{executable}.py"), *argv]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, preexec_fn=limit)


def test_what_is_written_is_what_anndata_writes(tmp_path: Path) -> None:
    data = example()
    with writing_hdf5(tmp_path / "ours.h5ad") as file:
        put_anndata(file, data, compression="gzip")
    data.write_h5ad(tmp_path / "theirs.h5ad", compression="gzip", convert_strings_to_categoricals=False)
    ours, theirs = (ad.read_h5ad(tmp_path / f"{name}.h5ad") for name in ("ours", "theirs"))
    np.testing.assert_array_equal(ours.X.toarray(), data.X.toarray())
    pd.testing.assert_frame_equal(ours.obs, theirs.obs)
    np.testing.assert_array_equal(ours.obsm["X_pca"], theirs.obsm["X_pca"])
    backed = ad.read_h5ad(tmp_path / "ours.h5ad", backed="r")
    np.testing.assert_array_equal(backed[[1, 0]].to_memory().X.toarray(), data.X.toarray()[[1, 0]])
    backed.file.close()
    assert ours.uns["nested"]["a"] == 1.5 and ours.uns["facts"] == "{}" and "counts" in ours.layers
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["ours.h5ad", "theirs.h5ad"]


def test_a_body_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    with writing_hdf5(tmp_path / "a.h5ad") as file:
        put_anndata(file, example())
    before = (tmp_path / "a.h5ad").read_bytes()
    with pytest.raises(KeyError, match="mine"), writing_hdf5(tmp_path / "a.h5ad") as file:
        file["x"] = np.zeros(5)
        raise KeyError("mine")
    assert (tmp_path / "a.h5ad").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    with writing_hdf5(tmp_path / "b.h5ad", copy_of=tmp_path / "a.h5ad") as file:
        file["uns/facts"].attrs["more"] = 1
    assert ad.read_h5ad(tmp_path / "b.h5ad").shape == (60, 40)


@pytest.mark.parametrize("n_bytes", [2_000, 60_000])
def test_a_disk_that_fills_up_during_the_preparation_is_a_sentence(n_bytes: int, tmp_path: Path) -> None:
    """Before: a segmentation fault of HDF5 at close."""
    done = limited(
        n_bytes,
        "prepare_dataset",
        dataset="tiny",
        datasets=INPUTS / "datasets.json",
        h5ad=INPUTS / "tiny.h5ad",
        params=INPUTS / "params.json",
        outdir=tmp_path,
    )
    assert done.returncode == 137, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ERROR: ") and "tiny.prepared.h5ad: could not be written to its end" in last
    assert "-resume" in last and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.h5ad")) and not list(tmp_path.glob(".*"))


def test_any_file_on_a_full_disk_is_a_sentence() -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "work/x.parquet")
    assert describe_error(error).startswith("work/x.parquet: could not be written (No space left on device).")
    assert exit_code_of(error) == 137


def test_a_disk_that_fills_up_during_a_simulation_is_a_sentence(tmp_path: Path) -> None:
    done = limited(20_000, "simulate_cells", output=tmp_path / "s.h5ad", n_cells=300, n_genes=200)
    assert done.returncode == 137, done.stderr
    assert "s.h5ad: could not be written to its end" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("free", [1000, 10_000])
def test_preparation_and_the_last_h5ad_ask_for_space_first(free: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "total used free")(10, 10, free))
    with pytest.raises(ResourceError, match=r"tiny\.prepared\.h5ad: needs about 0\.1 MB, and its folder has 0\.0 MB"):
        call(
            "prepare_dataset",
            dataset="tiny",
            datasets=INPUTS / "datasets.json",
            h5ad=INPUTS / "tiny.h5ad",
            params=INPUTS / "params.json",
            outdir=tmp_path / "prepared",
        )
    assert not list((tmp_path / "prepared").glob("*.h5ad"))
    with pytest.raises(ResourceError, match=r"all\.h5ad: needs about .* free space.*-resume"):
        call(
            "write_dataset_h5ad",
            prepared=INPUTS / "tiny.prepared.h5ad",
            embeddings=INPUTS / "tiny.harmony.raw.0.parquet",
            sidecars=INPUTS / "tiny.harmony.raw.0.json",
            output=tmp_path / "all.h5ad",
        )
    assert not (tmp_path / "all.h5ad").exists()
