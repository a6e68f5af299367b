"""New cells mapped to a reference: the reference stays, known labels arrive, unknown ones are told."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from helpers_modules import call
from scfm.errors import ScfmError
from scfm.integration.harmony_reference import HarmonyReference, unit_rows
from scfm.io.tables import read_embedding, read_json, read_table, write_json
from scfm.query.mappings import map_to_harmony, project, soft_clusters
from scfm.query.reading import ReferenceGenes, match_genes, read_query, read_reference_genes
from scfm.query.transfer import calibration_error, transfer

ASSETS = Path(__file__).resolve().parents[2] / "assets"
SCHEMA = Path(__file__).resolve().parents[2] / "nextflow_schema.json"
PARAMS = {
    "n_hvg": 200,
    "n_pcs": 20,
    "min_genes_per_cell": 0,
    "min_cells_per_gene": 0,
    "harmony_max_clusters": 12,
    "min_cells_per_batch": 1,
}


# ---- label transfer --------------------------------------------------------------------------------------------------


def test_the_nearest_cells_vote_and_the_nearest_of_tied_labels_wins():
    reference = np.array([[0.0], [1], [2], [10], [11], [12], [30]])
    labels = np.array(["a", "a", "b", "b", "b", None, "c"], dtype=object)
    found = transfer(reference, labels, np.array([[0.1], [11.0], [1.9], [100.0]]), k=2, quantile=1.0)
    assert list(found.labels) == ["a", "b", "b", "c"]  # 1.9: one vote each, b is nearer
    np.testing.assert_allclose(found.confidence, [1, 1, 0.5, 0.5])
    np.testing.assert_allclose(found.distances, [0.9, 1.0, 0.9, 88.0])  # the cell without a label counts here
    assert found.limit == pytest.approx(19)  # the cell at 30 and its second nearest, at 11
    assert list(found.is_outside) == [False, False, False, True]


def test_calibration_error_by_hand():
    confidence, right = np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, True, True, False])
    assert calibration_error(confidence, right) == pytest.approx(0.5 * 0.05 + 0.5 * 0.05)
    assert calibration_error(np.ones(4), np.zeros(4, dtype=bool)) == 1


def test_an_unknown_type_lies_outside_and_known_ones_do_not():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 6, (4, 20))
    reference = np.vstack([c + rng.normal(size=(300, 20)) for c in centres[:3]])
    labels = np.repeat(["a", "b", "c"], 300).astype(object)
    query = np.vstack([c + rng.normal(size=(200, 20)) for c in centres])
    found = transfer(reference, labels, query)
    assert found.is_outside[600:].mean() >= 0.8
    assert found.is_outside[:600].mean() <= 0.05
    assert (found.labels[:600] == np.repeat(["a", "b", "c"], 200)).mean() > 0.99


# ---- the mappings ----------------------------------------------------------------------------------------------------


def test_harmony_mapping_is_the_ridge_regression_on_all_cells():
    """The sums of the reference stand for its cells: the same as a regression on reference and query together."""
    rng = np.random.default_rng(1)
    memberships = rng.dirichlet(np.ones(3), 50)
    corrected = rng.normal(size=(50, 4))
    reference = HarmonyReference.of(memberships, corrected, 0.1)
    np.testing.assert_allclose(np.linalg.norm(reference.centroids, axis=1), 1)
    query, batches = rng.normal(size=(30, 4)) + 1, np.repeat(["p", "q"], 15).astype(object)
    own = soft_clusters(query, reference)
    np.testing.assert_allclose(own.sum(axis=1), 1)
    expected = query.copy()
    for cluster in range(3):
        design = np.zeros((80, 3))
        design[:, 0] = 1
        design[50:65, 1], design[65:, 2] = 1, 1
        weights = np.concatenate([memberships[:, cluster], own[:, cluster]])
        both = np.vstack([corrected, query])
        left = design.T @ (design * weights[:, None]) + np.diag([0, 1, 1])
        shifts = np.linalg.solve(left, design.T @ (both * weights[:, None]))
        expected -= own[:, [cluster]] * (design[50:, 1:] @ shifts[1:])
    np.testing.assert_allclose(map_to_harmony(query, batches, reference), expected, atol=1e-10)


def test_a_query_like_the_reference_hardly_moves_and_a_shifted_one_comes_back():
    rng = np.random.default_rng(2)
    centres = 8 * unit_rows(rng.normal(size=(4, 10)))
    codes = rng.integers(0, 4, 400)
    values = centres[codes] + rng.normal(0, 0.5, (400, 10))
    reference = HarmonyReference.of(np.eye(4)[codes], values, 0.1)
    same = centres[codes[:200]] + rng.normal(0, 0.5, (200, 10))
    batch = np.full(200, "new", dtype=object)
    assert np.abs(map_to_harmony(same, batch, reference) - same).mean() < 0.1
    shift = rng.normal(0, 1, 10)
    back = map_to_harmony(same + shift, batch, reference)
    assert np.abs(back - same).mean() < 0.25 * np.abs(shift).mean()


def test_genes_match_by_id_then_symbol_then_name_and_duplicates_do_not():
    text = np.array
    reference = ReferenceGenes(
        text(["ENSG00000000003", "B", "C", "D", "E"], dtype=object),
        text(["TSPAN6", "B1", "CCC", "DDD", "EEE"], dtype=object),
        text(["ENSG00000000003", "", "", "", ""], dtype=object),
        np.zeros(5),
        np.zeros((5, 2)),
    )
    var = pd.DataFrame(
        {"gene_symbol": ["DDD", "DDD", "other", "CCC", "B1"]}, index=["x", "y", "ENSG00000000003", "z", "w"]
    )
    assert list(match_genes(reference, var, {"gene_symbol_column": "gene_symbol"})) == [2, 4, 3, -1, -1]


# ---- the whole step --------------------------------------------------------------------------------------------------


def write_h5ad(path: Path, counts: np.ndarray, obs: pd.DataFrame, genes: list[str]) -> None:
    anndata.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=genes)).write_h5ad(path)


def simulated(n: int = 50, n_genes: int = 300, depth: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts, batches and types: five types with 20 genes of their own in three batches with an effect on each gene."""
    rng = np.random.default_rng(0)
    base, effect = rng.gamma(1, 1, n_genes), np.exp(rng.normal(0, 0.2, (3, n_genes)))
    blocks = []
    for batch in range(3):
        for kind in range(5):
            mean = base * effect[batch]
            mean[20 * kind : 20 * (kind + 1)] *= 8
            blocks.append(rng.poisson(rng.lognormal(0, 0.25, (n, 1)) * depth * mean / mean.sum()))
    types = np.repeat(["A", "B", "C", "D", "monocyte"], n)
    return np.vstack(blocks).astype(np.float32), np.repeat(["b1", "b2", "b3"], 5 * n), np.tile(types, 3)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three batches of five types; the third batch is the query, and one type is missing from the reference."""
    folder = tmp_path_factory.mktemp("query")
    counts, batches, labels = simulated()
    genes = [f"GENE{i}" for i in range(counts.shape[1])]
    ids = np.array([f"cell{i:04d}" for i in range(len(labels))])
    obs = pd.DataFrame({"batch": batches.astype(str), "cell_type": labels.astype(str)}, index=ids)
    is_query = obs["batch"] == "b3"
    inside = ~is_query & (obs["cell_type"] != "monocyte")
    write_h5ad(folder / "reference.h5ad", counts[inside], obs[inside], genes)
    shuffled = np.random.default_rng(3).permutation(np.flatnonzero(is_query))
    write_h5ad(folder / "new.h5ad", counts[shuffled], obs.iloc[shuffled], genes)
    row = {"dataset": "sim", "h5ad": "reference.h5ad", "batch_key": "batch", "label_key": "cell_type", "organism": ""}
    row |= {
        "query": "new.h5ad",
        "counts_source": "X",
        "n_cells": int(inside.sum()),
        "n_genes": len(genes),
        "embeddings": {},
    }
    write_json(folder / "datasets.json", [row])
    write_json(folder / "params.json", PARAMS)
    call(
        "prepare_dataset",
        dataset="sim",
        datasets=folder / "datasets.json",
        h5ad=folder / "reference.h5ad",
        params=folder / "params.json",
        schema=SCHEMA,
        outdir=folder,
    )
    common = {"obs": folder / "sim.obs.parquet", "pca": folder / "sim.pca.parquet", "outdir": folder}
    call(
        "integrate_cells",
        method="harmony",
        dataset="sim",
        prepared=folder / "sim.prepared.h5ad",
        params=folder / "params.json",
        methods_table=ASSETS / "methods.tsv",
        **common,
    )
    stem = folder / "sim.harmony.raw.0"
    unchecked = {"embedding": Path(f"{stem}.unchecked.parquet"), "sidecar": Path(f"{stem}.unchecked.json")}
    call("validate_embedding", **unchecked, obs=common["obs"], outdir=folder)
    return folder


def map_query(study: Path, outdir: Path, query: str = "new.h5ad", **more: object) -> pd.DataFrame:
    call(
        "map_query",
        dataset="sim",
        datasets=study / "datasets.json",
        query=study / query,
        prepared=study / "sim.prepared.h5ad",
        obs=study / "sim.obs.parquet",
        pca=study / "sim.pca.parquet",
        params=study / "params.json",
        outdir=outdir,
        **more,
    )
    return read_table(outdir / "sim.query.tsv")


@pytest.fixture(scope="module")
def mapped(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("mapped")
    before = (study / "sim.pca.parquet").read_bytes(), (study / "sim.harmony.raw.0.parquet").read_bytes()
    more = {"harmony": study / "sim.harmony.raw.0.parquet", "model": study / "sim.harmony.raw.0.model"}
    map_query(study, out, **more)
    assert before == ((study / "sim.pca.parquet").read_bytes(), (study / "sim.harmony.raw.0.parquet").read_bytes())
    return out


def test_the_reference_s_own_cells_are_projected_onto_themselves(study, tmp_path):
    """So query and reference share one space; the coordinates of the reference are the stored ones, to the last bit."""
    genes = read_reference_genes(study / "sim.prepared.h5ad")
    row = read_json(study / "datasets.json")[0] | {"query": "reference.h5ad"}
    query = read_query(study / "reference.h5ad", row, genes, {})
    ids, values = read_embedding(study / "sim.pca.parquet")
    assert list(query.cell_ids) == list(ids) and query.overlap == 1
    np.testing.assert_allclose(project(query, genes), values, atol=1e-4)


def test_known_labels_arrive_and_the_unknown_type_is_told(mapped, study):
    table = read_table(mapped / "sim.query.tsv")
    whole = table[table["group_kind"] == "all"].set_index(["mapping", "quantity"])["value"]
    assert set(table["mapping"]) == {"pca", "center", "harmony"} and set(table["query"]) == {"new.h5ad"}
    assert (whole.xs("gene_overlap", level="quantity") == 1).all()
    assert whole[("harmony", "macro_f1")] > 0.95
    assert whole[("harmony", "mixing")] > whole[("pca", "mixing")]
    label = table[table["group_kind"] == "label"].set_index(["mapping", "group", "quantity"])
    assert label.loc[("harmony", "monocyte", "f1"), "reason"] == "label_not_in_reference"
    outside = table[table["quantity"] == "out_of_reference"].set_index(["mapping", "group"])["value"]
    for mapping, least in {"pca": 0.8, "center": 0.8, "harmony": 0.3}.items():  # a correction can pull a new type in
        assert outside[(mapping, "monocyte")] >= least, mapping
        assert max(outside[(mapping, known)] for known in "ABCD") <= 0.05, mapping
    cells = pd.read_parquet(mapped / "sim.query" / "cells.parquet")
    assert len(cells) == 3 * 250 and not cells.duplicated(["mapping", "cell_id"]).any()
    assert cells.loc[cells["out_of_reference"], "predicted"].isna().all()
    assert cells.loc[~cells["out_of_reference"], "predicted"].notna().all()
    truth = anndata.read_h5ad(study / "new.h5ad").obs["cell_type"]
    joined = cells.set_index("cell_id")
    assert (joined["label"] == truth.loc[joined.index].astype(str)).all()
    ids, values = read_embedding(mapped / "sim.query" / "harmony.parquet")
    assert list(ids) == sorted(truth.index) and values.shape == (250, 20)
    status = read_json(mapped / "sim.query.status.json")
    assert status["status"] == "ok"
    assert {w["code"] for w in status["warnings"]} == {"W-QRY-01"}


def test_the_table_fits_its_schema_and_the_report_shows_it(mapped):
    from scfm.registries.schemas import Schemas
    from scfm.registries.typed import read_typed
    from scfm.report.sections.query import sentences

    schemas = Schemas(ASSETS)
    table = read_typed(mapped / "sim.query.tsv", "query", schemas)
    schemas.check(table, "query")
    said = sentences(table)
    assert any("Harmony reference: not among the labels of the reference: monocyte" in s for s in said)


def test_without_harmony_its_mapping_is_not_run_and_the_others_are(study, tmp_path):
    table = map_query(study, tmp_path).set_index(["mapping", "quantity"]).sort_index()
    assert table.loc[("harmony", "macro_f1"), ["status", "reason"]].to_numpy().tolist() == [
        ["not_applicable", "not_run"]
    ]
    assert not (tmp_path / "sim.query" / "harmony.parquet").exists()
    assert (tmp_path / "sim.query" / "pca.parquet").exists()


def variant(study: Path, name: str, change) -> str:
    adata = anndata.read_h5ad(study / "new.h5ad")
    changed = change(adata)
    changed.write_h5ad(study / name)
    return name


def _without(adata, column):
    del adata.obs[column]
    return adata


def _logged(adata):
    adata.X = adata.X.log1p()
    return adata


def _gaps(adata):
    adata.obs["batch"] = adata.obs["batch"].astype(object)
    adata.obs.iloc[:3, adata.obs.columns.get_loc("batch")] = np.nan
    return adata


def test_a_query_without_labels_and_with_fewer_genes_is_mapped(study, tmp_path):
    def change(adata):
        adata = adata[:, :220].copy()
        del adata.obs["cell_type"]
        return adata

    table = map_query(study, tmp_path, variant(study, "few.h5ad", change))
    table = table[table["group_kind"] == "all"].set_index(["mapping", "quantity"])
    assert table.loc[("pca", "macro_f1"), "reason"] == "no_known_labels"
    assert table.loc[("pca", "out_of_reference"), "status"] == "ok"
    codes = {w["code"] for w in read_json(tmp_path / "sim.query.status.json")["warnings"]}
    assert "W-QRY-02" in codes


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        (
            "alien.h5ad",
            lambda a: a[:, :60].copy(),
            r"variable genes of the reference \(\d+%\); at least 50% are required",
        ),
        ("nobatch.h5ad", lambda a: _without(a, "batch"), "obs has no column 'batch'"),
        ("logged.h5ad", _logged, "holds no raw counts"),
        ("gaps.h5ad", _gaps, "3 of 250 cells have no 'batch'"),
    ],
)
def test_a_query_that_cannot_be_mapped_is_refused_with_a_sentence(study, tmp_path, name, change, sentence):
    with pytest.raises(ScfmError, match=sentence):
        map_query(study, tmp_path, variant(study, name, change), on_error="stop")
    call(
        "map_query",
        dataset="sim",
        datasets=study / "datasets.json",
        query=study / name,
        prepared=study / "sim.prepared.h5ad",
        obs=study / "sim.obs.parquet",
        pca=study / "sim.pca.parquet",
        params=study / "params.json",
        outdir=tmp_path,
    )
    assert read_json(tmp_path / "sim.query.status.json")["status"] == "failed"
    assert (tmp_path / "sim.query.tsv").stat().st_size == 0
