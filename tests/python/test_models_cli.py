"""``bin/embed_cells.py``: table, sidecar, status, shards, and a sentence for every bad input."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models_cases_scgpt import CASES
from models_contract import copy_fixture, read_input
from scfm.io.tables import read_embedding

SCRIPT = Path(__file__).resolve().parents[2] / "bin" / "embed_cells.py"
SETTINGS = ["gene_column=gene_symbol", "max_length=64", "ties=upper", "sampling=first"]


def _command(output: Path, *more: str, source: Path | None = None, weights: Path | None = None) -> list[str]:
    return [
        "--model",
        "scgpt",
        "--weights",
        str(weights or CASES.folder),
        "--input",
        str(source or CASES.folder / "input.h5ad"),
        "--output",
        str(output),
        "--device",
        "cpu",
        *more,
    ]


def _main(*argv: str) -> None:
    """Run the executable's main in this process (PyTorch is imported once)."""
    spec = importlib.util.spec_from_file_location("embed_cells", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(list(argv))


def _run(*argv: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT), *argv], capture_output=True, text=True, check=False)


def test_table_and_sidecar(tmp_path) -> None:
    done = _run(
        *_command(
            tmp_path / "cells.parquet",
            "--set",
            *SETTINGS,
            "--set",
            "strip_version=false",
            "--seed",
            "3",
            "--threads",
            "1",
        )
    )
    assert done.returncode == 0, done.stderr
    ids, values = read_embedding(tmp_path / "cells.parquet")
    frame = CASES.load().embed(read_input("scgpt"))
    assert list(ids) == list(frame.index)
    np.testing.assert_array_equal(values, frame.to_numpy())
    sidecar = json.loads((tmp_path / "cells.json").read_text())
    assert {
        "dataset",
        "embedding",
        "method",
        "family",
        "correction",
        "seed",
        "is_control",
        "output_type",
        "settings",
        "versions",
        "device",
        "seconds",
        "peak_rss_mb",
        "peak_gpu_mb",
        "cells_in",
        "cells_out",
        "n_dims",
        "cells_per_second",
        "warnings",
        "status",
        "reason",
        "weights_sha256",
        "weights_random",
        "genes_matched",
        "genes_total",
        "not_embedded",
        "unused_tensors",
    } <= set(sidecar)
    assert (sidecar["embedding"], sidecar["cells_in"], sidecar["cells_out"], sidecar["n_dims"]) == (
        "scgpt.raw.3",
        24,
        24,
        32,
    )
    assert (
        sidecar["settings"]["max_length"] == 64
        and sidecar["weights_random"] is False
        and sidecar["is_control"] is False
    )
    import hashlib

    assert sidecar["weights_sha256"] == {
        "best_model.pt": hashlib.sha256((CASES.folder / "best_model.pt").read_bytes()).hexdigest()
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells.json", "cells.parquet"]


def test_shards_join_to_the_whole(tmp_path) -> None:
    draws = ["--set", "gene_column=gene_symbol", "max_length=64"]
    _main(*_command(tmp_path / "all.parquet", *draws))
    ids, whole = read_embedding(tmp_path / "all.parquet")
    found = {}
    for k in range(3):
        (tmp_path / "ids.txt").write_text("\n".join(ids[k::3][::-1]) + "\n")
        _main(*_command(tmp_path / "part.parquet", *draws, "--cells", str(tmp_path / "ids.txt"), "--chunk_cells", "5"))
        found |= dict(zip(*read_embedding(tmp_path / "part.parquet"), strict=True))
    assert np.abs(np.stack([found[i] for i in ids]) - whole).max() < 1e-6


def test_random_weights_and_bf16_are_in_the_sidecar(tmp_path) -> None:
    _main(*_command(tmp_path / "a.parquet", "--set", *SETTINGS, "--random_init", "--precision", "bf16"))
    sidecar = json.loads((tmp_path / "a.json").read_text())
    assert (sidecar["method"], sidecar["embedding"], sidecar["is_control"]) == (
        "scgpt_random",
        "scgpt_random.raw.0",
        True,
    )
    assert sidecar["weights_random"] is True and sidecar["weights_sha256"] == {}
    drift = sidecar["bf16_drift"]
    assert drift["cells"] == 24 and 0.98 < drift["cosine_min"] <= drift["cosine_median"] < 1


def test_random_weights_are_marked(tmp_path) -> None:
    folder = copy_fixture(CASES, tmp_path)
    (folder / "RANDOM_WEIGHTS.txt").write_text("made by a test\n")
    _main(*_command(tmp_path / "a.parquet", "--set", *SETTINGS, weights=folder))
    assert json.loads((tmp_path / "a.json").read_text())["weights_random"] is True


def test_in_the_pipeline_an_error_is_a_result(tmp_path) -> None:
    _main(*_command(tmp_path / "pbmc.scgpt.raw.0.parquet", "--set", *SETTINGS, "--dataset", "pbmc"))
    assert json.loads((tmp_path / "pbmc.scgpt.raw.0.embed.status.json").read_text())["status"] == "ok"
    assert json.loads((tmp_path / "pbmc.scgpt.raw.0.json").read_text())["dataset"] == "pbmc"
    out = tmp_path / "failed"
    out.mkdir()
    _main(*_command(out / "pbmc.scgpt.raw.0.parquet", "--dataset", "pbmc"))
    status = json.loads((out / "pbmc.scgpt.raw.0.embed.status.json").read_text())
    assert status["status"] == "failed" and "look like Ensembl ids" in status["reason"]
    assert [p.name for p in out.iterdir()] == ["pbmc.scgpt.raw.0.embed.status.json"]
    from scfm.errors import ScfmError

    with pytest.raises(ScfmError):
        _main(*_command(out / "pbmc.scgpt.raw.0.parquet", "--dataset", "pbmc", "--on_error", "stop"))


def test_an_error_is_a_sentence_and_debug_shows_the_traceback(tmp_path) -> None:
    done = _run(*_command(tmp_path / "a.parquet"))
    assert done.returncode == 2
    assert done.stderr.count("ERROR:") == 1 and "Traceback" not in done.stderr
    assert "The var column 'gene_symbol' would match 92%: use --set gene_column=gene_symbol." in done.stderr
    assert not list(tmp_path.iterdir())
    assert "Traceback" in _run(*_command(tmp_path / "a.parquet"), "--debug").stderr


def _without_overlap(adata) -> None:
    adata.var["gene_symbol"] = [f"NOBODY{i}" for i in range(adata.n_vars)]


def _mouse(adata) -> None:
    adata.var["gene_symbol"] = [f"Abcd{i}" for i in range(adata.n_vars)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_without_overlap, "Only 0 of 150 detected genes"),
        (_mouse, "look like genes of mouse"),
        (lambda a: a.X.data.__setitem__(0, -3), "negative"),
        (lambda a: a.X.data.__setitem__(slice(None), 0), "the matrix is empty"),
        (lambda a: setattr(a, "obs_names", ["x"] * a.n_obs), "occur more than once"),
    ],
)
def test_bad_input_files(change, sentence, tmp_path) -> None:
    from scfm.errors import ScfmError

    adata = read_input("scgpt")
    change(adata)
    adata.write_h5ad(tmp_path / "in.h5ad")
    with pytest.raises(ScfmError, match=sentence):
        _main(*_command(tmp_path / "a.parquet", "--set", *SETTINGS, source=tmp_path / "in.h5ad"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.h5ad"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--set", "gene_colum=x"], "Did you mean 'gene_column'"),
        (["--set", "max_length"], "expected key=value"),
        (["--set", *SETTINGS, "input_layer=counts"], "there is no layers/counts"),
        (["--set", *SETTINGS, "--cells", "/nowhere"], "does not exist"),
        (["--set", *SETTINGS, "--chunk_cells", "0"], "at least 1"),
    ],
)
def test_bad_arguments(more, sentence, tmp_path) -> None:
    from scfm.errors import ScfmError

    with pytest.raises(ScfmError, match=sentence):
        _main(*_command(tmp_path / "a.parquet", *more))
    assert not list(tmp_path.iterdir())


def test_output_must_be_parquet(tmp_path) -> None:
    from scfm.errors import ScfmError

    with pytest.raises(ScfmError, match=r"must end in \.parquet"):
        _main(*_command(tmp_path / "a.csv"))


def test_rows_are_written_in_groups(tmp_path, monkeypatch) -> None:
    import pyarrow.parquet as pq

    import scfm.io.tables as module

    monkeypatch.setattr(module, "GROUP_ROWS", 10)
    _main(*_command(tmp_path / "a.parquet", "--set", *SETTINGS, "--chunk_cells", "4"))
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 2
    _main(*_command(tmp_path / "b.parquet", "--set", *SETTINGS))
    for one, two in zip(read_embedding(tmp_path / "a.parquet"), read_embedding(tmp_path / "b.parquet"), strict=True):
        assert np.array_equal(one, two) or np.abs(one - two).max() < 1e-6
