"""The executables around the validation gate, on files: validate, correct, import, h5ad, and what a failure leaves
behind.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers_methods import write_prepared
from scfm.corrections.run import find_correction, settings_of
from scfm.embeddings.sidecar import make_sidecar, read_sidecar
from scfm.errors import ScfmError
from scfm.io.tables import read_embedding, write_embedding, write_json

BIN = Path(__file__).resolve().parents[2] / "bin"
METHODS_TABLE = BIN.parent / "assets" / "methods.tsv"


def call(executable, **options):
    """Run the ``main`` of an executable in this process, as ``scfm.task.cli.run`` does; lists become several values."""
    spec = importlib.util.spec_from_file_location(executable, BIN / f"{executable}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    argv = []
    for name, value in options.items():
        argv += [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
    return module.main(argv)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("gate"), order_seed=1)


@pytest.fixture(autouse=True)
def _threads(monkeypatch):
    """Executables set the number of threads; put the environment back after each test."""
    from scfm.task import resources

    for name in resources._THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")


@pytest.fixture
def params(tmp_path):
    write_json(tmp_path / "params.json", {"center_max_cells": 50, "center_seed": 3, "harmony_theta": 2, "n_pcs": 20})
    return tmp_path / "params.json"


def unchecked(folder, ids, values, **changes):
    """Write an embedding as a method would."""
    fields = {
        "dataset": "sim",
        "method": "toy",
        "family": "imported",
        "correction": "raw",
        "seed": 0,
        "is_control": False,
        "output_type": "embedding",
        "settings": {},
        "packages": ["numpy"],
        "device": "cpu",
        "seconds": 2.0,
        "cells_in": len(ids),
        "n_cells": len(ids),
        "n_dims": values.shape[1],
    }
    sidecar = make_sidecar(**fields | {k: v for k, v in changes.items() if k in fields}, details=changes.get("details"))
    write_json(folder / "toy.unchecked.json", sidecar)
    write_embedding(folder / "toy.unchecked.parquet", ids, values)
    return {"embedding": folder / "toy.unchecked.parquet", "sidecar": folder / "toy.unchecked.json"}


def status_of(folder, step, name="toy.raw.0"):
    return json.loads((folder / f"sim.{name}.{step}.status.json").read_text())


@pytest.fixture
def cells(prepared):
    ids = pd.read_parquet(prepared.obs)["cell_id"].to_numpy(dtype=object)
    return ids, np.random.default_rng(0).normal(size=(len(ids), 6)).astype(np.float32)


# ---- validate


def test_validate_writes_the_rows_in_the_order_of_the_data_set(prepared, cells, tmp_path):
    ids, values = cells
    order = np.random.default_rng(1).permutation(len(ids))
    assert (
        call("validate_embedding", **unchecked(tmp_path, ids[order], values[order]), obs=prepared.obs, outdir=tmp_path)
        == 0
    )
    got_ids, got = read_embedding(tmp_path / "sim.toy.raw.0.parquet")
    np.testing.assert_array_equal(got_ids, ids)
    np.testing.assert_array_equal(got, values)
    sidecar = read_sidecar(tmp_path / "sim.toy.raw.0.json")
    assert (sidecar["cells_in"], sidecar["cells_out"], sidecar["n_dims"], sidecar["cells_per_second"]) == (
        360,
        360,
        6,
        180.0,
    )
    assert status_of(tmp_path, "validate")["status"] == "ok"


def test_validate_lists_missing_cells_with_the_reason_of_the_model(prepared, cells, tmp_path):
    ids, values = cells
    files = unchecked(
        tmp_path, ids[3:], values[3:], details={"not_embedded": [{"cell_id": ids[0], "reason": "fewer than 25 genes"}]}
    )
    call("validate_embedding", **files, obs=prepared.obs, outdir=tmp_path)
    sidecar = read_sidecar(tmp_path / "sim.toy.raw.0.json")
    assert (sidecar["cells_in"], sidecar["cells_out"]) == (360, 357)
    assert [e["cell_id"] for e in sidecar["not_embedded"]] == list(ids[:3])
    assert [e["reason"].startswith("fewer") for e in sidecar["not_embedded"]] == [True, False, False]
    assert [w["code"] for w in sidecar["warnings"]] == ["E-ID-01"]


def broken_tables(ids, values):
    """Give (name, table, reason code, words) of what must not pass."""
    columns = {"cell_id": ids, **{f"dim_{j}": values[:, j] for j in range(6)}}
    frame = pd.DataFrame(columns)
    yield "strings", frame.assign(dim_2="high"), "not_numeric", "columns that hold no numbers: 'dim_2' (string)"
    yield "named", frame.rename(columns={"dim_3": "batch"}), "wrong_columns", "found 'batch'"
    yield "gap", frame.drop(columns="dim_3"), "wrong_columns", "should be dim_0 to dim_4"
    yield "no_ids", frame.drop(columns="cell_id"), "wrong_columns", "expected one column 'cell_id'"
    yield "null_id", frame.assign(cell_id=[None, *ids[1:]]), "missing_ids", "rows without a cell id: 1"
    yield (
        "null_value",
        frame.assign(dim_1=[None, *values[1:, 1]]),
        "non_finite",
        "NaN or infinite: 1, in 1 cell and 1 dimension",
    )
    yield "twice", pd.concat([frame, frame.iloc[[5]]]), "duplicate_ids", "Cell ids that occur more than once: 1"
    yield "empty", frame.iloc[:0], "wrong_shape", "no rows"
    yield "others", frame.assign(cell_id=[f"z{i}" for i in range(len(ids))]), "no_common_cells", "None of the 360 ids"


def test_what_must_not_pass_leaves_a_status_and_nothing_else(prepared, cells, tmp_path):
    for name, frame, code, words in broken_tables(*cells):
        folder = tmp_path / name
        folder.mkdir()
        files = unchecked(folder, *cells)
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), files["embedding"])
        assert call("validate_embedding", **files, obs=prepared.obs, outdir=folder / "out") == 0, name
        status = status_of(folder / "out", "validate")
        assert (status["status"], status["reason_code"]) == ("failed", code), (name, status)
        assert words in status["reason"], name
        assert {p.name: p.stat().st_size > 0 for p in (folder / "out").iterdir()} == {
            "sim.toy.raw.0.refused.parquet": False,
            "sim.toy.raw.0.refused.json": False,
            "sim.toy.raw.0.validate.status.json": True,
        }


def test_a_file_that_is_no_parquet_is_a_sentence(prepared, cells, tmp_path):
    files = unchecked(tmp_path, *cells)
    files["embedding"].write_text("cell_id,dim_0\n")
    call("validate_embedding", **files, obs=prepared.obs, outdir=tmp_path)
    assert "is no parquet file that can be read" in status_of(tmp_path, "validate")["reason"]


def test_on_error_stop_raises(prepared, cells, tmp_path):
    ids, values = cells
    values[0, 0] = np.nan
    with pytest.raises(ScfmError, match="NaN or infinite"):
        call(
            "validate_embedding", **unchecked(tmp_path, ids, values), obs=prepared.obs, outdir=tmp_path, on_error="stop"
        )


def test_a_sidecar_must_be_complete_and_agree_with_itself(tmp_path, cells):
    files = unchecked(tmp_path, *cells)
    sidecar = json.loads(files["sidecar"].read_text())
    write_json(tmp_path / "a.json", {k: v for k, v in sidecar.items() if k != "family"})
    with pytest.raises(ScfmError, match=r"the sidecar lacks \['family'\]"):
        read_sidecar(tmp_path / "a.json")
    write_json(tmp_path / "b.json", sidecar | {"seed": 4})
    with pytest.raises(ScfmError, match=r"embedding is 'toy.raw.0' but method, correction and seed say 'toy.raw.4'"):
        read_sidecar(tmp_path / "b.json")
    with pytest.raises(ScfmError, match=r"details \['seconds'\] have the names of fields"):
        unchecked(tmp_path, *cells, details={"seconds": 1})


# ---- integrate, end to end and failing


@pytest.mark.parametrize("name", ["pca", "harmony", "shuffled"])
def test_integrate_then_validate(name, prepared, params, tmp_path):
    options = {"dataset": "sim", "obs": prepared.obs, "pca": prepared.pca, "prepared": prepared.h5ad, "params": params}
    call("integrate_cells", method=name, seed=2, methods_table=METHODS_TABLE, outdir=tmp_path, **options)
    stem = f"sim.{name}.raw.2"
    call(
        "validate_embedding",
        embedding=tmp_path / f"{stem}.unchecked.parquet",
        sidecar=tmp_path / f"{stem}.unchecked.json",
        obs=prepared.obs,
        outdir=tmp_path,
    )
    sidecar = read_sidecar(tmp_path / f"{stem}.json")
    assert (sidecar["seed"], sidecar["cells_out"], sidecar["is_control"]) == (2, 360, name == "shuffled")
    assert sidecar["settings"].get("theta") == (2.0 if name == "harmony" else None)
    assert sidecar["peak_rss_mb"] > 10
    models = [f"{stem}.model"] if name == "harmony" else []
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == models  # the work folder is gone


def test_a_failing_method_leaves_its_reason_and_no_embedding(prepared, params, tmp_path):
    obs = pd.read_parquet(prepared.obs)
    obs.loc[0, "cell_id"] = "unheard_of"
    obs.to_parquet(tmp_path / "obs.parquet", index=False)
    options = {
        "method": "harmony",
        "dataset": "sim",
        "obs": tmp_path / "obs.parquet",
        "pca": prepared.pca,
        "params": params,
        "methods_table": METHODS_TABLE,
        "outdir": tmp_path / "out",
    }
    assert call("integrate_cells", **options) == 0
    status = status_of(tmp_path / "out", "embed", "harmony.raw.0")
    assert status["status"] == "failed"
    assert "1 of 360 cells are not in it, e.g. ['unheard_of']" in status["reason"]
    assert {p.name: p.stat().st_size > 0 for p in (tmp_path / "out").iterdir()} == {
        "sim.harmony.raw.0.unchecked.parquet": False,
        "sim.harmony.raw.0.unchecked.json": False,
        "sim.harmony.raw.0.embed.status.json": True,
    }
    with pytest.raises(ScfmError, match="unheard_of"):
        call("integrate_cells", **options, on_error="stop")


def test_a_resource_error_is_a_true_task_failure(prepared, params, tmp_path, monkeypatch):
    """Nextflow must see it to retry with more memory, so it is not turned into a status."""
    from scfm.integration import pca

    def out_of_memory(inputs, settings, seed):
        raise MemoryError("no room")

    monkeypatch.setattr(pca, "integrate", out_of_memory)
    with pytest.raises(MemoryError):
        call(
            "integrate_cells",
            method="pca",
            dataset="sim",
            obs=prepared.obs,
            pca=prepared.pca,
            params=params,
            methods_table=METHODS_TABLE,
            outdir=tmp_path,
        )


def test_an_unexpected_error_of_a_library_is_a_reason_too(prepared, params, tmp_path, monkeypatch):
    from scfm.integration import pca

    monkeypatch.setattr(pca, "integrate", lambda inputs, settings, seed: 1 / 0)
    call(
        "integrate_cells",
        method="pca",
        dataset="sim",
        obs=prepared.obs,
        pca=prepared.pca,
        params=params,
        methods_table=METHODS_TABLE,
        outdir=tmp_path,
    )
    status = status_of(tmp_path, "embed", "pca.raw.0")
    assert (status["status"], status["reason_code"]) == ("failed", "ZeroDivisionError")
    assert "division by zero" in status["reason"]


# ---- correct


def test_correct_then_validate_equals_the_function_on_the_cells(prepared, cells, params, tmp_path):
    ids, values = cells
    call("validate_embedding", **unchecked(tmp_path, ids, values), obs=prepared.obs, outdir=tmp_path)
    raw = {"embedding": tmp_path / "sim.toy.raw.0.parquet", "sidecar": tmp_path / "sim.toy.raw.0.json"}
    obs = prepared.read_obs()
    labels = np.array([x if isinstance(x, str) else None for x in obs["label"]], dtype=object)
    for correction in ("center", "center_l2", "center_label_balanced"):
        call("correct_embedding", **raw, obs=prepared.obs, correction=correction, params=params, outdir=tmp_path)
        stem = f"sim.toy.{correction}.0"
        call(
            "validate_embedding",
            embedding=tmp_path / f"{stem}.unchecked.parquet",
            sidecar=tmp_path / f"{stem}.unchecked.json",
            obs=prepared.obs,
            outdir=tmp_path,
        )
        got_ids, got = read_embedding(tmp_path / f"{stem}.parquet")
        np.testing.assert_array_equal(got_ids, ids)
        correct = find_correction(correction)
        settings = settings_of(correct, {"center_max_cells": 50, "center_seed": 3})
        wanted = correct(values, obs["batch"].to_numpy(dtype=object), labels, **settings)
        np.testing.assert_allclose(got, wanted, atol=1e-6)
        sidecar = read_sidecar(tmp_path / f"{stem}.json")
        assert (sidecar["embedding"], sidecar["corrected_from"]) == (f"toy.{correction}.0", "toy.raw.0")
        used = {} if "balanced" in correction else {"center_max_cells": 50, "center_seed": 3}
        assert sidecar["settings"] == used


def test_a_correction_takes_the_sample_in_the_order_of_the_data_set(prepared, cells, params, tmp_path):
    """The rows of the embedding file may be in any order; obs.parquet decides which cells the cap picks."""
    ids, values = cells
    call("validate_embedding", **unchecked(tmp_path, ids, values), obs=prepared.obs, outdir=tmp_path)
    sidecar = tmp_path / "sim.toy.raw.0.json"
    order = np.random.default_rng(9).permutation(len(ids))
    write_embedding(tmp_path / "turned.parquet", ids[order], values[order])
    results = []
    for table in ("sim.toy.raw.0.parquet", "turned.parquet"):
        out = tmp_path / f"out_{table}"
        call(
            "correct_embedding",
            embedding=tmp_path / table,
            sidecar=sidecar,
            obs=prepared.obs,
            correction="center",
            params=params,
            outdir=out,
        )
        results.append(read_embedding(out / "sim.toy.center.0.unchecked.parquet")[1])
    np.testing.assert_array_equal(*results)


def test_cells_that_are_missing_stay_missing_and_explained(prepared, cells, params, tmp_path):
    ids, values = cells
    files = unchecked(
        tmp_path, ids[2:], values[2:], details={"not_embedded": [{"cell_id": ids[0], "reason": "no genes"}]}
    )
    call("validate_embedding", **files, obs=prepared.obs, outdir=tmp_path)
    raw = {"embedding": tmp_path / "sim.toy.raw.0.parquet", "sidecar": tmp_path / "sim.toy.raw.0.json"}
    call("correct_embedding", **raw, obs=prepared.obs, correction="l2", params=params, outdir=tmp_path)
    stem = tmp_path / "sim.toy.l2.0"
    call(
        "validate_embedding",
        embedding=f"{stem}.unchecked.parquet",
        sidecar=f"{stem}.unchecked.json",
        obs=prepared.obs,
        outdir=tmp_path,
    )
    sidecar = read_sidecar(tmp_path / "sim.toy.l2.0.json")
    assert sidecar["cells_out"] == 358
    assert [e["reason"] for e in sidecar["not_embedded"]] == ["no genes", "no row, and no reason given"]
    assert sidecar["warnings"] == []  # said once, by the raw embedding


def test_a_corrected_embedding_is_not_corrected_again(prepared, cells, params, tmp_path):
    call("validate_embedding", **unchecked(tmp_path, *cells, correction="l2"), obs=prepared.obs, outdir=tmp_path)
    files = {"embedding": tmp_path / "sim.toy.l2.0.parquet", "sidecar": tmp_path / "sim.toy.l2.0.json"}
    call("correct_embedding", **files, obs=prepared.obs, correction="center", params=params, outdir=tmp_path)
    status = status_of(tmp_path, "correct", "toy.center.0")
    assert status["status"] == "failed"
    assert "toy.l2.0 is corrected already" in status["reason"]


# ---- the final h5ad


def test_the_h5ad_holds_every_embedding_by_cell(prepared, cells, tmp_path):
    ids, values = cells
    call("validate_embedding", **unchecked(tmp_path, ids[5:], values[5:]), obs=prepared.obs, outdir=tmp_path)
    umap = pd.DataFrame({"cell_id": ids[::-1], "embedding": "toy.raw.0", "umap_1": np.arange(360.0), "umap_2": 0.5})
    other = umap.assign(embedding="unheard.raw.0")
    pd.concat([umap, other]).to_parquet(tmp_path / "toy.umap.parquet")
    call(
        "write_dataset_h5ad",
        prepared=prepared.h5ad,
        embeddings=[tmp_path / "sim.toy.raw.0.parquet"],
        sidecars=[tmp_path / "sim.toy.raw.0.json"],
        umaps=[tmp_path / "toy.umap.parquet"],
        output=tmp_path / "sim.h5ad",
    )
    before, after = anndata.read_h5ad(prepared.h5ad), anndata.read_h5ad(tmp_path / "sim.h5ad")
    assert set(after.obsm) - set(before.obsm) == {"X_toy.raw.0", "X_umap_toy.raw.0"}
    assert (after.X != before.X).nnz == 0
    assert (after.layers["counts"] != before.layers["counts"]).nnz == 0
    stored = pd.DataFrame(after.obsm["X_toy.raw.0"], index=after.obs_names)
    np.testing.assert_array_equal(stored.loc[ids[5:]], values[5:])
    assert stored.loc[ids[:5]].isna().all(axis=None)
    np.testing.assert_array_equal(
        pd.Series(after.obsm["X_umap_toy.raw.0"][:, 0], index=after.obs_names).loc[ids[::-1]], np.arange(360.0)
    )
    assert json.loads(after.uns["scfmbench_embeddings"])["toy.raw.0"]["cells_out"] == 355
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_a_table_without_its_sidecar_is_named(prepared, cells, tmp_path):
    write_embedding(tmp_path / "sim.toy.raw.0.parquet", *cells)
    with pytest.raises(ScfmError, match=r"have a table or a sidecar but not both, first: sim\.toy\.raw\.0"):
        call(
            "write_dataset_h5ad",
            prepared=prepared.h5ad,
            embeddings=[tmp_path / "sim.toy.raw.0.parquet"],
            output=tmp_path / "o.h5ad",
        )
    assert not (tmp_path / "o.h5ad").exists()
