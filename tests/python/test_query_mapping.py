"""New cells mapped to a reference: the reference stays, known labels arrive, unknown ones are told."""

from __future__ import annotations

import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import f1_score

from helpers_modules import ASSETS, call
from helpers_query import integrated, prepare, saved
from scfm.errors import ScfmError
from scfm.inputs.samplesheet import Located
from scfm.integration.harmony_reference import HarmonyReference, unit_rows
from scfm.integration.scvi_files import UNLABELLED, read_model, takes_queries
from scfm.io.checksums import sha256_of
from scfm.io.tables import read_embedding, read_json, read_table, write_json
from scfm.planning.mapping import mapped_rows
from scfm.query.mappings import map_to_harmony, project, soft_clusters
from scfm.query.reading import match_genes, read_query
from scfm.query.reference import PLACED, Reference, ReferenceGenes
from scfm.query.scarches import Training, adapted, place, train, untrained
from scfm.query.transfer import calibration_error, transfer

PARAMS = {
    "n_hvg": 200,
    "n_pcs": 20,
    "min_genes_per_cell": 0,
    "min_cells_per_gene": 0,
    "harmony_max_clusters": 12,
    "min_cells_per_batch": 1,
    "scvi_for_queries": True,
    "scvi_n_latent": 10,
    "scvi_max_epochs": 25,
    "scanvi_max_epochs": 3,
    "query_min_genes": 0.5,
    "query_max_epochs": 20,
}
METHODS = ("harmony", "scvi", "scanvi")


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


def test_a_column_of_the_query_is_one_gene_of_the_reference():
    """Y of the query is ENSG00000000001, so it is not the reference's gene Y, which has another id."""
    text = np.array
    ids, symbols = text(["ENSG00000000001", "ENSG00000000002"], dtype=object), text(["X", "Y"], dtype=object)
    var = pd.DataFrame({"gene_id": ["ENSG00000000001", ""], "symbol": ["Y", "Q"]}, index=["Y", "Q"])
    row = {"gene_id_column": "gene_id", "gene_symbol_column": "symbol"}
    assert list(match_genes(ReferenceGenes(ids, symbols, ids, np.zeros(2), np.zeros((2, 1))), var, row)) == [0, -1]
    same, none = text(["Q", "Q"], dtype=object), text(["", ""], dtype=object)
    twice = ReferenceGenes(text(["a", "b"], dtype=object), same, none, np.zeros(2), np.zeros((2, 1)))
    assert list(match_genes(twice, var, row)) == [-1, -1]


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
    prepare(folder, "reference.h5ad", PARAMS)
    for method in METHODS:
        integrated(folder, method, PARAMS)
    saved(folder, folder, METHODS)
    return folder


def trained(study: Path, outdir: Path, mapping: str, **more: object) -> list[Path]:
    """Train a model of the reference on the new cells."""
    given = {"query": study / "new.h5ad", "reference": study / "sim.reference", "params": study / "params.json"}
    given |= {"datasets": study / "datasets.json", "dataset": "sim", "device": "cpu", "outdir": outdir} | more
    call("train_query", mapping=mapping, **given)
    return [outdir / f"sim.{mapping}.{name}" for name in PLACED]


def map_query(study: Path, outdir: Path, query: str = "new.h5ad", **more: object) -> pd.DataFrame:
    given = {"reference": study / "sim.reference", "params": study / "params.json"} | more
    call("map_query", dataset="sim", datasets=study / "datasets.json", query=study / query, outdir=outdir, **given)
    return read_table(outdir / "sim.query.tsv")


@pytest.fixture(scope="module")
def mapped(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("mapped")
    before = contents(study / "sim.reference")
    placed = [path for mapping in ("scvi", "scanvi") for path in trained(study, out, mapping)]
    map_query(study, out, placed=placed)
    assert contents(study / "sim.reference") == before
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_reference_s_own_cells_are_projected_onto_themselves(study, tmp_path):
    """So query and reference share one space; the coordinates of the reference are the stored ones, to the last bit."""
    genes = Reference.open(study / "sim.reference").genes
    row = read_json(study / "datasets.json")[0] | {"query": "reference.h5ad"}
    query = read_query(study / "reference.h5ad", row, genes, {})
    ids, values = read_embedding(study / "sim.pca.parquet")
    assert list(query.cell_ids) == list(ids) and query.overlap == 1
    np.testing.assert_allclose(project(query, genes), values, atol=1e-4)


@pytest.mark.parametrize("left_out", ["filter", "file"])
def test_a_query_is_normalised_over_the_genes_of_the_reference(tmp_path, left_out):
    """Its own cells lie on themselves where the reference dropped genes, or where the file of the query has more."""
    counts, batches, labels = simulated()
    counts[batches == "b1", 200:260] = 0  # never measured there: --shared_genes drops them
    genes, ids = [f"GENE{i}" for i in range(300)], np.array([f"cell{i:04d}" for i in range(len(labels))])
    obs = pd.DataFrame({"batch": batches.astype(str), "cell_type": labels.astype(str)}, index=ids)
    write_h5ad(tmp_path / "whole.h5ad", counts, obs, genes)
    kept = slice(0, 300 if left_out == "filter" else 220)
    write_h5ad(tmp_path / "reference.h5ad", counts[:, kept], obs, genes[kept])
    row = {"dataset": "sim", "h5ad": "reference.h5ad", "batch_key": "batch", "label_key": "cell_type", "organism": ""}
    row |= {"query": "whole.h5ad", "counts_source": "X", "n_cells": len(ids), "n_genes": 300, "embeddings": {}}
    write_json(tmp_path / "datasets.json", [row])
    prepare(tmp_path, "reference.h5ad", PARAMS | {"n_hvg": 150, "shared_genes": left_out == "filter"})
    reference = Reference.open(saved(tmp_path, tmp_path, ()))
    query = read_query(tmp_path / "whole.h5ad", row, reference.genes, {})
    cells, values = read_embedding(tmp_path / "sim.pca.parquet")
    assert list(query.cell_ids) == list(cells) and query.overlap == 1
    np.testing.assert_allclose(project(query, reference.genes), values, atol=1e-4)


def test_known_labels_arrive_and_the_unknown_type_is_told(mapped, study):
    table = read_table(mapped / "sim.query.tsv")
    whole = table[table["group_kind"] == "all"].set_index(["mapping", "quantity"])["value"]
    assert set(table["mapping"]) == {"pca", "center", *METHODS} and set(table["query"]) == {"new.h5ad"}
    assert (whole.xs("gene_overlap", level="quantity") == 1).all()
    assert whole[("harmony", "mixing")] > whole[("pca", "mixing")]
    label = table[table["group_kind"] == "label"].set_index(["mapping", "group", "quantity"])
    assert label.loc[("harmony", "monocyte", "f1"), "reason"] == "label_not_in_reference"
    outside = table[table["quantity"] == "out_of_reference"].set_index(["mapping", "group"])["value"]
    for mapping in ("pca", "center", *METHODS):
        assert whole[(mapping, "macro_f1")] > 0.95, mapping
        assert outside[(mapping, "monocyte")] >= 0.8, mapping
        assert np.mean([outside[(mapping, known)] for known in "ABCD"]) <= 0.05, mapping
    cells = pd.read_parquet(mapped / "sim.query" / "cells.parquet")
    assert len(cells) == 5 * 250 and not cells.duplicated(["mapping", "cell_id"]).any()
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


def test_mapping_is_as_good_as_integrating_all_cells(study, mapped, tmp_path):
    """Harmony on all 650 cells, and the votes of the two other batches in that embedding."""
    whole = anndata.concat([anndata.read_h5ad(study / f"{name}.h5ad") for name in ("reference", "new")])
    whole.write_h5ad(tmp_path / "all.h5ad")
    row = read_json(study / "datasets.json")[0]
    write_json(tmp_path / "datasets.json", [row | {"n_cells": whole.n_obs}])
    prepare(tmp_path, "all.h5ad", PARAMS)
    integrated(tmp_path, "harmony", PARAMS)
    ids, values = read_embedding(tmp_path / "sim.harmony.raw.0.parquet")
    obs = whole.obs.loc[ids]
    is_new = (obs["batch"] == "b3").to_numpy()
    true = obs["cell_type"].to_numpy(dtype=object)
    found = transfer(values[~is_new], true[~is_new], values[is_new]).labels
    known = true[is_new] != "monocyte"
    anew = f1_score(true[is_new][known], found[known], average="macro", labels=list("ABCD"))
    table = read_table(mapped / "sim.query.tsv").query("group_kind == 'all' and quantity == 'macro_f1'")
    assert (table["value"] > anew - 0.05).all() and len(table) == 5


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
    reference = saved(study, tmp_path, methods=())
    table = map_query(study, tmp_path, reference=reference).set_index(["mapping", "quantity"]).sort_index()
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
        reference=study / "sim.reference",
        params=study / "params.json",
        outdir=tmp_path,
    )
    assert read_json(tmp_path / "sim.query.status.json")["status"] == "failed"
    assert (tmp_path / "sim.query.tsv").stat().st_size == 0


# ---- training on new cells -------------------------------------------------------------------------------------------


def new_counts(study: Path) -> tuple[sp.csr_matrix, np.ndarray, Reference]:
    reference = Reference.open(study / "sim.reference")
    row = read_json(study / "datasets.json")[0]
    query = read_query(study / "new.h5ad", row, reference.genes, {}, raw=True)
    return query.expression, query.batches, reference


@pytest.mark.parametrize("mapping", ["scvi", "scanvi"])
def test_training_moves_the_new_cells_and_no_bit_of_the_reference(study, mapping):
    """The model is trained as the step does; the latent means of both are computed by scvi-tools before and after."""
    counts, batches, reference = new_counts(study)
    folder = reference.folder / mapping
    first = read_model(folder)
    model, renamed = adapted(first, counts, batches)
    assert renamed == {}
    old = prepared_counts(study)
    ids, published = read_embedding(folder / "embedding.parquet")
    assert list(old.obs_names) == list(ids)
    np.testing.assert_array_equal(first.get_latent_representation(old), published)  # what is read is what was trained
    before = untrained(model)
    train(model, Training(max_epochs=20, batch_size=128, kl_weight=0.1, threads=1, seed=0))
    after = model.get_latent_representation()
    assert np.abs(after - before).mean() > 0.02 * published.std()
    np.testing.assert_array_equal(model.get_latent_representation(old), published)
    weights, grown = model.module.state_dict(), 0
    for name, values in np.load(folder / "weights.npz").items():
        now = weights[name].detach().numpy()
        grown += now.shape != values.shape
        np.testing.assert_array_equal(now[tuple(slice(n) for n in values.shape)], values)
    assert grown >= 4  # the weights of the new batch, in encoder and decoder


def prepared_counts(study: Path) -> anndata.AnnData:
    """Return the cells of the reference with the counts of its variable genes."""
    from scfm.integration.base import MethodInputs

    inputs = MethodInputs("sim", study / "sim.obs.parquet", study, prepared_path=study / "sim.prepared.h5ad")
    counts, genes = inputs.expression("counts")
    obs = pd.DataFrame({"batch": inputs.batches, "_label": UNLABELLED}, index=inputs.cell_ids)
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=genes))


def test_with_scvi_s_defaults_training_on_new_cells_moves_nothing(study):
    """The trap: the encoder is not given the batch, so a model of the defaults is not saved for queries."""
    import scvi as library

    counts, batches, _ = new_counts(study)
    old = prepared_counts(study)
    library.settings.seed = 0
    library.model.SCVI.setup_anndata(old, batch_key="batch")
    plain = library.model.SCVI(old, n_latent=5)
    plain.is_trained_ = True
    model, _ = adapted(plain, counts, batches)
    before = untrained(model)
    train(model, Training(max_epochs=3, batch_size=128, kl_weight=0.1, threads=1, seed=0))
    np.testing.assert_array_equal(model.get_latent_representation(), before)
    assert not takes_queries({"for_queries": False, "continuous_covariates": [], "categorical_covariates": []})
    assert not takes_queries({"for_queries": True, "continuous_covariates": ["depth"], "categorical_covariates": []})


def test_a_batch_with_the_name_of_an_old_one_is_a_new_batch(study):
    counts, batches, reference = new_counts(study)
    values, before, facts = place(
        reference.folder / "scvi",
        counts,
        np.where(np.arange(len(batches)) < 100, "b1", batches).astype(object),
        Training(max_epochs=2, batch_size=128, kl_weight=0.1, threads=1, seed=0),
    )
    assert facts["renamed"] == {"b1": "b1 (new cells)"} and values.shape == before.shape == (250, 10)


# ---- the folder of a reference ---------------------------------------------------------------------------------------


def copy_of(study: Path, folder: Path) -> Path:
    return Path(shutil.copytree(study / "sim.reference", folder / "reference"))


def test_a_reference_holds_data_only_and_is_read_as_it_was_written(study):
    reference = Reference.open(study / "sim.reference")
    endings = {path.suffix for path in reference.folder.rglob("*") if path.is_file()}
    assert endings == {".parquet", ".json", ".npz"}
    genes = ReferenceGenes.of_prepared(study / "sim.prepared.h5ad")
    for name in ("names", "symbols", "ids", "mean", "loadings"):
        np.testing.assert_array_equal(getattr(reference.genes, name), getattr(genes, name))
    for name in ("names", "symbols", "ids"):
        np.testing.assert_array_equal(getattr(reference.genes.others, name), getattr(genes.others, name))
    assert len(genes.names) + len(genes.others.names) == 300
    ids, values = read_embedding(study / "sim.harmony.raw.0.parquet")
    assert list(reference.cells.index) == list(ids)
    np.testing.assert_array_equal(reference.coordinates("harmony"), values)
    assert set(reference.about["mappings"]) == {"pca", "center", *METHODS}
    assert reference.about["mappings"]["scvi"]["seconds"] > 0
    assert sum(reference.about["batches"].values()) == reference.about["n_cells"] == 400


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "reference.json"
    write_json(path, read_json(path) | changes)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder: (folder / "reference.json").unlink(), "has no reference.json"),
        (lambda folder: _edit(folder, format=7), "has the format 7, this version of the pipeline reads 2"),
        (lambda folder: (folder / "scvi" / "weights.npz").unlink(), "The reference lacks 'scvi/weights.npz'"),
        (lambda folder: (folder / "genes.parquet").write_bytes(b"x"), "checksum of 'genes.parquet' differs"),
    ],
)
def test_a_reference_that_was_changed_is_refused(study, tmp_path, change, sentence):
    folder = copy_of(study, tmp_path)
    change(folder)
    with pytest.raises(ScfmError, match=sentence):
        Reference.open(folder)


def test_a_model_of_another_version_fails_and_the_other_mappings_go_on(study, tmp_path):
    folder = copy_of(study, tmp_path)
    path = folder / "scvi" / "model.json"
    write_json(path, read_json(path) | {"scvi_tools": "0.20.3"})
    _edit(folder, files=read_json(folder / "reference.json")["files"] | {"scvi/model.json": sha256_of(path)})
    placed = trained(study, tmp_path, "scvi", reference=folder)
    status = read_json(tmp_path / "sim.query_scvi.status.json")
    assert status["status"] == "failed" and "was trained with scvi-tools 0.20.3" in status["reason"]
    assert [path.stat().st_size for path in placed] == [0, 0, 0]
    table = map_query(study, tmp_path, reference=folder, placed=placed).set_index(["mapping", "quantity"]).sort_index()
    assert table.loc[("scvi", "macro_f1"), ["status", "reason"]].to_numpy().tolist() == [["failed", "no_result"]]
    assert (table.loc[("pca", "macro_f1"), "status"] == "ok").all()


def test_a_run_with_a_reference_checks_genes_and_files_before_anything_is_computed(study, tmp_path):
    params = {"reference": "sim.reference", "query_min_genes": 0.5}
    variant(study, "aliens.h5ad", lambda a: a[:, :60].copy())
    rows = [
        {"dataset": "good", "h5ad": "new.h5ad"},
        {"dataset": "far", "h5ad": "aliens.h5ad"},
        {"dataset": "gone", "h5ad": "nothing.h5ad", "query": "new.h5ad"},
    ]
    found, errors = mapped_rows(rows, params, Located(None, study), "new.csv")
    assert [row["dataset"] for row in found] == ["good"]
    assert found[0]["batch_key"] == "batch" and found[0]["label_key"] == "cell_type" and found[0]["n_cells"] == 250
    assert [e for e in errors if "row 3" in e and "variable genes of the reference" in e]
    assert [e for e in errors if "row 4" in e and "'nothing.h5ad' does not exist" in e]
    assert [e for e in errors if "row 4" in e and "has no meaning with --reference" in e]
    assert len(errors) == 3
    (sentence,) = mapped_rows(rows, params | {"reference": "elsewhere"}, Located(None, study), "new.csv")[1]
    assert "the folder 'elsewhere' does not exist" in sentence
