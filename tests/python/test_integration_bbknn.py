"""BBKNN and graphs: from the method through the validation gate to the scores that are defined for a graph."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from helpers_environments import hiding_environment
from helpers_methods import write_prepared
from helpers_modules import call, words_of
from scfm.embeddings.gate import EmbeddingValidationError
from scfm.embeddings.graph import CellGraph, check_graph, read_graph
from scfm.errors import ScfmError
from scfm.integration.base import MethodInputs
from scfm.integration.run import load_method
from scfm.io.tables import read_json, read_table, write_json

PROJECT = Path(__file__).resolve().parents[2]
ASSETS = PROJECT / "assets"
SETTINGS = {"n_pcs": 20, "neighbors_within_batch": 3, "search": "exact"}
STEM = "sim.bbknn.raw.0"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("bbknn"), n_per_group=24)


def inputs_of(prepared, obs=None):
    return MethodInputs("sim", obs or prepared.obs, prepared.folder, pca_path=prepared.pca)


def integrate(prepared, obs=None, **changes):
    return load_method("bbknn").integrate(inputs_of(prepared, obs), SETTINGS | changes, 0)


# ---- the method ------------------------------------------------------------------------------------------------------


def test_every_cell_is_linked_to_its_nearest_cells_of_every_batch(prepared):
    """Against a search of our own: the edges of BBKNN are those pairs, in one direction or the other."""
    output = integrate(prepared)
    inputs = inputs_of(prepared)
    pca, batches = inputs.pca.astype(float), inputs.batches.astype(str)
    expected = np.zeros((len(pca), len(pca)), dtype=bool)
    for batch in np.unique(batches):
        pool = np.flatnonzero(batches == batch)
        distances = np.linalg.norm(pca[:, None] - pca[pool], axis=2)
        for cell, row in enumerate(np.argsort(distances, axis=1, kind="stable")[:, :3]):
            expected[cell, pool[row]] = True
    np.fill_diagonal(expected, val=False)
    edges = output.graph.toarray() > 0
    assert edges.sum() > 0
    assert not (edges & ~(expected | expected.T)).any()
    # UMAP's weights of the farthest of nine neighbours may vanish; the nearest one in another batch never does
    assert (edges & (expected | expected.T)).sum() > 0.95 * (expected | expected.T).sum()
    for batch in np.unique(batches):
        assert (edges[:, batches == batch].any(axis=1)).all()
    assert abs(output.graph - output.graph.T).max() < 1e-6
    assert output.details["neighbors_per_cell"] == 9 and output.details["n_pcs_used"] == 20
    (told,) = output.warnings
    assert told["code"] == "I-GRF-01" and "3 cells in each of 3 batches" in told["text"]


def test_it_repeats_itself_and_follows_cells_not_rows(prepared, tmp_path):
    first = integrate(prepared).graph
    for search in ("exact", "annoy"):
        a, b = (integrate(prepared, search=search).graph for _ in range(2))
        assert (a != b).nnz == 0
    shuffled = tmp_path / "obs.parquet"
    pd.read_parquet(prepared.obs).sample(frac=1, random_state=1).to_parquet(shuffled, index=False)
    assert (integrate(prepared, shuffled).graph != first).nnz == 0


def test_what_cannot_work_is_a_sentence(prepared, tmp_path):
    with pytest.raises(ScfmError, match="bbknn_search is 'guess'; it can be exact or annoy"):
        integrate(prepared, search="guess")
    obs = pd.read_parquet(prepared.obs)
    obs.loc[:1, "batch"] = "tiny"
    obs.to_parquet(tmp_path / "obs.parquet", index=False)
    with pytest.raises(ScfmError, match=r"3 cells of every batch, and 'tiny \(2\)' have fewer"):
        integrate(prepared, tmp_path / "obs.parquet")


# ---- the gate --------------------------------------------------------------------------------------------------------

IDS = np.array(list("abcd"), dtype=object)
RING = np.array([[0, 1, 0, 0.5], [1, 0, 1, 0], [0, 1, 0, 1], [0.5, 0, 1, 0]])


def graph(weights, ids=IDS) -> CellGraph:
    return CellGraph(np.asarray(ids, dtype=object), sp.csr_array(np.asarray(weights, dtype=float)))


def test_a_graph_comes_out_in_the_order_of_the_data_set(tmp_path):
    order = [2, 0, 3, 1]
    graph(RING[np.ix_(order, order)] + np.eye(4), IDS[order]).write(tmp_path / "g.npz")
    checked = check_graph(read_graph(tmp_path / "g.npz"), IDS)
    np.testing.assert_array_equal(checked.graph.weights.toarray(), RING.astype(np.float32))  # and without a diagonal
    assert list(checked.cell_ids) == list(IDS) and checked.missing == checked.extra == []
    fewer = check_graph(graph(RING), np.array(["d", "x", "a", "b"], dtype=object), embedding="m.raw.0")
    assert list(fewer.cell_ids) == ["d", "a", "b"] and fewer.missing == ["x"] and fewer.extra == ["c"]
    np.testing.assert_array_equal(fewer.graph.weights.toarray(), [[0, 0.5, 0], [0.5, 0, 1], [0, 1, 0]])
    assert [w["code"] for w in fewer.warnings] == ["W-ID-02"]


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (lambda w: np.where(w == 0.5, np.nan, w), "non_finite", "NaN, infinite or negative: 2 of"),
        (lambda w: np.where(w == 0.5, -1, w), "non_finite", "NaN, infinite or negative: 2 of"),
        (np.triu, "not_symmetric", "two directions differ in weight: 4. Write a symmetric graph"),
        (lambda w: np.eye(4), "constant", "None of the 4 cells has an edge"),
    ],
)
def test_a_graph_that_no_metric_can_use_is_refused(change, code, sentence):
    with pytest.raises(EmbeddingValidationError, match=sentence) as caught:
        check_graph(graph(change(RING)), IDS)
    assert caught.value.reason_code == code


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        ({"indptr": None}, "wrong_columns", "arrays missing: indptr"),
        ({"indptr": np.array([0, 1, 2])}, "wrong_shape", "no square CSR matrix of the cells"),
        ({"indices": np.array([9] * 8)}, "wrong_shape", "no square CSR matrix of the cells"),
        ({"data": np.array(["x"] * 8)}, "not_numeric", "weights are of type <U1, not numbers"),
        ({"cell_ids": np.array(list("aacd"))}, "duplicate_ids", "more than once: 1"),
        ({"cell_ids": np.array(list("wxyz"))}, "no_common_cells", "None of the 4 ids"),
    ],
)
def test_a_graph_file_that_is_none_is_refused(change, code, sentence, tmp_path):
    found = sp.csr_array(RING)
    arrays = {
        "cell_ids": IDS.astype(str),
        "data": found.data,
        "indices": found.indices,
        "indptr": found.indptr,
    } | change
    np.savez(tmp_path / "g.npz", **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(EmbeddingValidationError, match=sentence) as caught:
        check_graph(read_graph(tmp_path / "g.npz"), IDS)
    assert caught.value.reason_code == code
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(EmbeddingValidationError, match="no NumPy archive that can be read"):
        read_graph(tmp_path / "text.npz")


# ---- the steps -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(prepared, tmp_path_factory):
    """The executables from the method to the scores, and all other steps about an embedding."""
    folder = tmp_path_factory.mktemp("bbknn_scored")
    write_json(folder / "params.json", SETTINGS | {"umap_min_dist": 0.5, "umap_max_cells": 1000})
    common = {"obs": prepared.obs, "outdir": folder}
    call(
        "integrate_cells",
        method="bbknn",
        dataset="sim",
        prepared=prepared.h5ad,
        pca=prepared.pca,
        params=folder / "params.json",
        methods_table=ASSETS / "methods.tsv",
        **common,
    )
    unchecked = {"embedding": folder / f"{STEM}.unchecked.graph.npz", "sidecar": folder / f"{STEM}.unchecked.json"}
    call("validate_embedding", **unchecked, **common)
    given = {"embedding": folder / f"{STEM}.graph.npz", "sidecar": folder / f"{STEM}.json"}
    call("find_neighbors", **given, **common)
    given["knn"] = folder / f"{STEM}.knn.npz"
    call("score_embedding", **given, pca=prepared.pca, **common)
    call("draw_umaps", **given, params=folder / "params.json", **common)
    pd.DataFrame({"cell_id": [], "target": [], "scheme": [], "fold": []}).to_parquet(folder / "splits.parquet")
    call("probe_embedding", **given, splits=folder / "splits.parquet", params=folder / "params.json", **common)
    return folder


def test_the_graph_passes_the_gate_and_is_scored_by_graph_metrics_alone(scored, prepared):
    sidecar = read_json(scored / f"{STEM}.json")
    assert (sidecar["output_type"], sidecar["n_dims"], sidecar["cells_out"]) == ("graph", 0, 216)
    assert sidecar["n_edges"] == read_graph(scored / f"{STEM}.graph.npz").weights.nnz // 2
    assert not (scored / f"{STEM}.parquet").exists()
    searched = read_graph(scored / f"{STEM}.knn.npz")
    assert len(searched.cell_ids) == 211 == int(pd.read_parquet(prepared.obs)["scored"].sum())
    whole = read_table(scored / f"{STEM}.scores.tsv").query("group == 'all'").set_index("metric")
    defined = whole[whole["status"] == "ok"]
    assert set(defined.index) == {"leiden_nmi", "leiden_ari", "graph_connectivity", "graph_connectivity_undirected"}
    assert set(whole.loc[~whole.index.isin(defined.index), "reason"]) == {"graph_output"}
    assert defined.loc["leiden_nmi", "value"] > 0.9 and defined.loc["graph_connectivity_undirected", "value"] == 1
    assert set(defined["n_cells"]) == {211}


@pytest.mark.parametrize(("step", "output"), [("umap", "umap.parquet"), ("probe", "probing.tsv")])
def test_what_needs_coordinates_is_not_applicable(scored, step, output):
    status = read_json(scored / f"{STEM}.{step}.status.json")
    assert (status["status"], status["reason_code"]) == ("not_applicable", "graph_output")
    assert (scored / f"{STEM}.{output}").stat().st_size == 0


@pytest.mark.parametrize(
    ("executable", "inputs"),
    [
        ("validate_embedding", {"embedding": ".unchecked.graph.npz", "sidecar": ".unchecked.json"}),
        ("find_neighbors", {"embedding": ".graph.npz", "sidecar": ".json"}),
        ("score_embedding", {"embedding": ".graph.npz", "sidecar": ".json", "knn": ".knn.npz"}),
    ],
)
def test_a_graph_is_read_with_the_packages_of_each_process(scored, prepared, tmp_path, executable, inputs):
    """Tables need no SciPy, so that the environment of a step may lack it unnoticed."""
    options = {"obs": prepared.obs, "outdir": tmp_path, "process": executable.upper()}
    options |= {name: scored / f"{STEM}{ending}" for name, ending in inputs.items()}
    if executable == "score_embedding":
        options["pca"] = prepared.pca
    done = subprocess.run(
        [sys.executable, PROJECT / "bin" / f"{executable}.py", *words_of(options)],
        env=os.environ | hiding_environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (status,) = (read_json(path)["status"] for path in tmp_path.glob("*.status.json"))
    assert status == "ok"


def test_a_group_of_embeddings_may_hold_a_graph(scored, prepared, tmp_path):
    """Tables and graphs of one task are told apart by their names."""
    params = scored / "params.json"
    call(
        "integrate_cells",
        method="pca",
        dataset="sim",
        obs=prepared.obs,
        pca=prepared.pca,
        params=params,
        methods_table=ASSETS / "methods.tsv",
        outdir=tmp_path,
    )
    both = [tmp_path / "sim.pca.raw.0.unchecked.parquet", scored / f"{STEM}.unchecked.graph.npz"]
    sidecars = [tmp_path / "sim.pca.raw.0.unchecked.json", scored / f"{STEM}.unchecked.json"]
    call("validate_embedding", embedding=both, sidecar=sidecars, obs=prepared.obs, outdir=tmp_path)
    assert (tmp_path / "sim.pca.raw.0.parquet").exists() and (tmp_path / f"{STEM}.graph.npz").exists()


def test_the_dataset_file_has_the_graph_in_obsp(scored, prepared, tmp_path):
    import anndata

    call(
        "write_dataset_h5ad",
        prepared=prepared.h5ad,
        embeddings=[scored / f"{STEM}.graph.npz"],
        sidecars=[scored / f"{STEM}.json"],
        output=tmp_path / "sim.h5ad",
    )
    adata = anndata.read_h5ad(tmp_path / "sim.h5ad")
    found = pd.DataFrame(
        adata.obsp["bbknn.raw.0_connectivities"].toarray(), index=adata.obs_names, columns=adata.obs_names
    )
    expected = read_graph(scored / f"{STEM}.graph.npz")
    np.testing.assert_allclose(found.loc[expected.cell_ids, expected.cell_ids], expected.weights.toarray(), rtol=1e-6)
