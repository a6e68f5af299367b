"""Preparation: independent slow versions of every number, invariances, and the files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import chain

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from helpers_data import ROOT, SHARED, check, defaults, make_adata, make_counts, write
from scfm.errors import ScfmError
from scfm.inputs.gene_sets import gene_sets, in_gene_sets
from scfm.integration.base import MethodInputs
from scfm.io.counts import iter_rows, load_counts
from scfm.io.tables import read_embedding, read_json, read_table
from scfm.preparation.counts import HeldCounts
from scfm.preparation.design import composition_distance, design_warnings, effective_share
from scfm.preparation.hvg import select_genes
from scfm.preparation.normalize import log_cp10k
from scfm.preparation.pca import principal_components
from scfm.preparation.prepare import prepare
from scfm.preparation.ranking import rank_genes
from scfm.preparation.write import EMPTY_OUTPUTS
from scfm.registries.reader import ASSETS, read_registry

ROW = {"dataset": "d", "batch_key": "batch", "label_key": "cell_type"}
SMALL = {"n_hvg": 20, "n_pcs": 5}


def _prepare(data: ad.AnnData, row: dict | None = None, **params: object):
    """Prepare an object with a few genes and components."""
    return prepare(
        HeldCounts(sparse.csr_matrix(data.X)),
        data.obs,
        data.var,
        row={**ROW, **(row or {})},
        params=defaults(**{**SMALL, **params}),
    )


def _codes(prepared) -> list[str]:
    """Return the codes of the warnings."""
    return [w["code"] for w in prepared.facts["warnings"]]


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["d.h5ad", "d.zarr"])
@pytest.mark.parametrize("storage", ["csr", "csc", "dense"])
def test_counts_are_read_alike_from_every_storage(tmp_path, storage, file):
    counts = make_counts()
    path = write(make_adata(counts, storage=storage, dtype="float64"), tmp_path / file)
    whole = load_counts(path, "X")
    assert isinstance(whole, sparse.csr_matrix) and whole.dtype == np.float32 and whole.has_canonical_format
    np.testing.assert_array_equal(whole.toarray(), counts)
    blocks = list(iter_rows(path, "X", chunk=7))
    assert [start for start, _ in blocks] == list(range(0, 60, 7))
    np.testing.assert_array_equal(sparse.vstack([b for _, b in blocks]).toarray(), counts)


def test_rounding_and_stored_zeros(tmp_path):
    counts = make_counts()
    counts[0, :3] = [0.4, 1.6, 2.5]
    path = write(make_adata(counts), tmp_path / "d.h5ad")
    rounded = load_counts(path, "X", round_counts=True)
    assert rounded[0, :3].toarray().tolist() == [[0.0, 2.0, 2.0]]
    assert (rounded.data != 0).all()


# --- log data ---------------------------------------------------------------------------------------------------------


def test_log_data_equal_scanpy():
    import scanpy as sc

    counts = make_counts()
    counts[5] = 0
    expected = ad.AnnData(sparse.csr_matrix(counts))
    sc.pp.normalize_total(expected, target_sum=1e4)
    sc.pp.log1p(expected)
    found = log_cp10k(sparse.csr_matrix(counts)).toarray()
    np.testing.assert_allclose(found, expected.X.toarray(), rtol=2e-6)
    assert (found[5] == 0).all()
    np.testing.assert_allclose(np.expm1(found.astype(float)).sum(axis=1)[:5], 1e4, rtol=1e-5)


def test_qc_equals_scanpy():
    import scanpy as sc

    data = make_adata()
    prepared = _prepare(data)
    sc.pp.calculate_qc_metrics(data, percent_top=None, log1p=False, inplace=True)
    np.testing.assert_allclose(prepared.obs["n_counts"], data.obs["total_counts"])
    np.testing.assert_allclose(prepared.obs["n_genes"], data.obs["n_genes_by_counts"])
    for name in ("n_cells_by_counts", "mean_counts", "pct_dropout_by_counts", "total_counts"):
        np.testing.assert_allclose(prepared.var[name], data.var[name], rtol=1e-5)


# --- variable genes ---------------------------------------------------------------------------------------------------


def _slow_scib(log: np.ndarray, batch: np.ndarray, genes: list[str], n: int) -> list[str]:
    """Choose genes by scIB's rule, written from its description with loops: no scanpy, no pandas."""
    n_batches, total = dict.fromkeys(genes, 0), {g: [] for g in genes}
    for level in sorted(set(batch)):
        rows = log[batch == level].astype(float)
        expressed = [j for j in range(len(genes)) if (rows[:, j] > 0).any()]
        mean = {j: rows[:, j].mean() for j in expressed}
        dispersion = {j: rows[:, j].var(ddof=1) / mean[j] for j in expressed}
        edges = [-np.inf, *(np.percentile(list(mean.values()), q) for q in range(10, 105, 5)), np.inf]
        bins = {j: next(b for b in range(len(edges) - 1) if edges[b] < mean[j] <= edges[b + 1]) for j in expressed}
        norm = {}
        for j in expressed:
            peers = np.array([dispersion[k] for k in expressed if bins[k] == bins[j]])
            mad = np.median(np.abs(peers - np.median(peers))) / 0.6744897501960817
            with np.errstate(divide="ignore", invalid="ignore"):
                norm[j] = (dispersion[j] - np.median(peers)) / mad
        values = sorted((v for v in norm.values() if not np.isnan(v)), reverse=True)
        cut = values[min(n, len(values)) - 1]
        for j, gene in enumerate(genes):
            total[gene].append(norm.get(j, 0.0))
            n_batches[gene] += bool(j in norm and not np.isnan(norm[j]) and norm[j] >= cut)
    score = {}
    for gene in genes:
        known = [v for v in total[gene] if not np.isnan(v)]
        score[gene] = sum(known) / len(known) if known else -np.inf
    # in all batches first, then in all but one ..., each by mean normalised dispersion
    return sorted(genes, key=lambda g: (-n_batches[g], -score[g], g))[:n]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("n", [40, 150])
def test_cell_ranger_follows_scib(seed, n):
    rng = np.random.default_rng(seed)
    counts = sparse.csr_matrix(make_counts(240, 400, seed) * rng.binomial(1, 0.7, (240, 400)).astype(np.float32))
    batch = rng.choice(["a", "b", "c"], 240)
    genes = np.array([f"G{j:03d}" for j in range(400)], dtype=object)
    log = log_cp10k(counts)
    chosen = select_genes(HeldCounts(counts), batch, genes, n_hvg=n, flavor="cell_ranger")
    assert set(genes[chosen.mask]) == set(_slow_scib(log.toarray(), batch, list(genes), n))
    assert chosen.mask.sum() == n and chosen.warnings == []
    assert set(genes[np.argsort(chosen.rank)][:n]) == set(genes[chosen.mask])


@pytest.mark.parametrize("flavor", ["seurat_v3", "pearson_residuals"])
def test_count_flavors_equal_scanpy(flavor):
    import scanpy as sc

    counts = sparse.csr_matrix(make_counts(150, 300))
    batch = np.array(["a", "b", "c"] * 50)
    genes = np.array([f"G{j:03d}" for j in range(300)], dtype=object)
    frame = ad.AnnData(
        counts,
        obs=pd.DataFrame({"batch": pd.Categorical(batch)}, index=[str(i) for i in range(150)]),
        var=pd.DataFrame(index=genes),
    )
    function = sc.pp.highly_variable_genes if flavor == "seurat_v3" else sc.experimental.pp.highly_variable_genes
    expected = function(frame, flavor=flavor, n_top_genes=60, batch_key="batch", inplace=False)[
        "highly_variable"
    ].to_numpy()
    chosen = select_genes(HeldCounts(counts), batch, genes, n_hvg=60, flavor=flavor)
    assert chosen.mask.sum() == 60
    assert (chosen.mask == expected).mean() > 0.99  # ties at the edge may fall either way


def test_singular_fit_of_seurat_v3_takes_a_wider_span(monkeypatch):
    """A batch is not thrown out because scanpy's default span is too narrow for it."""
    import scanpy as sc

    real, spans = sc.pp.highly_variable_genes, []

    def singular(*args, span: float = 0.3, **kwargs):
        spans.append(span)
        if span < 0.5:
            raise ValueError("There are other near singularities as well.")
        return real(*args, span=span, **kwargs)

    monkeypatch.setattr(sc.pp, "highly_variable_genes", singular)
    counts = sparse.csr_matrix(make_counts(90, 200))
    genes = np.array([f"G{j:03d}" for j in range(200)], dtype=object)
    chosen = select_genes(HeldCounts(counts), np.array(["a", "b", "c"] * 30), genes, n_hvg=30, flavor="seurat_v3")
    assert spans == [0.3, 0.4, 0.5] and chosen.mask.sum() == 30
    assert [(w["code"], w["values"]) for w in chosen.warnings] == [("W-HVG-05", {"span": 0.5})]


def test_exclusion_and_force_keep_the_number():
    counts = sparse.csr_matrix(make_counts(90, 200))
    batch, genes = np.array(["a", "b", "c"] * 30), np.array([f"G{j:03d}" for j in range(200)], dtype=object)
    plain = select_genes(HeldCounts(counts), batch, genes, n_hvg=30, flavor="cell_ranger")
    exclude, force = np.zeros(200, dtype=bool), np.zeros(200, dtype=bool)
    exclude[np.flatnonzero(plain.mask)[:10]] = True
    force[np.flatnonzero(~plain.mask)[:4]] = True
    chosen = select_genes(
        HeldCounts(counts), batch, genes, n_hvg=30, flavor="cell_ranger", exclude=exclude, force=force
    )
    assert chosen.mask.sum() == 30
    assert not (chosen.mask & exclude).any() and chosen.mask[force].all()


def test_named_sets_find_their_genes_and_no_others():
    """Symbols of both organisms; kinases, adaptors and helicases whose symbols begin alike are in no set."""
    inside = {
        "mitochondrial": ["MT-CO1", "mt-Nd4l", "MT-RNR2"],
        "ribosomal": ["RPL10A", "Rps6", "RPS4X", "RPLP0", "RPSA", "RPL36AL", "RPS27L", "RACK1"],
        "immune_receptor": [
            "TRAV1-2",
            "TRBC1",
            "Trdv4",
            "TRGJP1",
            "IGHV3-23",
            "IGKC",
            "IGLC2",
            "Ighg2b",
            "IGHM",
            "IGHA1",
        ],
        "cell_cycle": ["MKI67", "Top2a"],
        "early_response": ["FOS", "Junb"],
        "hypoxia_stress": ["VEGFA"],
        "interferon": ["ISG15"],
        "sex": ["XIST", "Uty"],
    }
    outside = ["RPS6KA1", "RPL", "TRADD", "TRDN", "TRAF1", "IGHMBP2", "IGF1", "IGLL1", "MTOR", "MTRNR2L8"]
    symbols = np.array([*chain.from_iterable(inside.values()), *outside], dtype=object)
    assert list(inside) == sorted(gene_sets(), key=list(inside).index)
    for name, mask in in_gene_sets(inside, symbols).items():
        assert set(symbols[mask]) == set(inside[name]), name
    with pytest.raises(ScfmError, match="no gene set 'ribosome'"):
        in_gene_sets(["ribosome"], symbols)
    rule = json.loads((ROOT / "nextflow_schema.json").read_text())["$defs"]["preparation_options"]["properties"]
    assert re.fullmatch(rule["hvg_exclude_sets"]["pattern"], ",".join(gene_sets()))
    assert list(read_registry(ASSETS / "gene_sets.tsv", kind="gene_set")) == list(gene_sets())


def test_genes_of_named_sets_are_no_variable_genes_and_stay_in_the_data():
    data = make_adata()
    data.var_names = ["RPL3", "Rps6", "MT-CO1", *data.var_names[3:]]
    prepared = _prepare(data, hvg_exclude_sets="ribosomal,mitochondrial,sex", n_hvg=30)
    assert not prepared.var["highly_variable"].to_numpy()[:3].any() and prepared.var["highly_variable"].sum() == 30
    assert prepared.var.index[:3].tolist() == ["RPL3", "Rps6", "MT-CO1"]
    (entry,) = [w for w in prepared.facts["warnings"] if w["code"] == "W-HVG-06"]
    assert entry["values"] == {"name": "sex"}


def test_forced_gene_without_counts_is_reported():
    counts = make_counts(90, 50)
    counts[:, 4] = 0
    matrix, genes = sparse.csr_matrix(counts), np.array([f"G{j:03d}" for j in range(50)], dtype=object)
    chosen = select_genes(
        HeldCounts(matrix),
        np.array(["a", "b", "c"] * 30),
        genes,
        n_hvg=10,
        flavor="cell_ranger",
        force=np.isin(genes, ["G004", "G005"]),
    )
    assert chosen.mask.sum() == 10 and chosen.mask[5] and not chosen.mask[4]
    assert [(w["code"], w["values"]) for w in chosen.warnings] == [("W-HVG-04", {"genes": ["G004"]})]


def test_small_batches_are_left_out_of_the_ranking_and_reported():
    counts = sparse.csr_matrix(make_counts(90, 200))
    batch = np.array(["a", "b", "c"] * 30, dtype=object)
    batch[:6] = "tiny"
    genes = np.array([f"G{j:03d}" for j in range(200)], dtype=object)
    log = log_cp10k(counts)
    chosen = select_genes(HeldCounts(counts), batch, genes, n_hvg=30, flavor="cell_ranger")
    assert [(w["code"], w["values"], w["threshold"]) for w in chosen.warnings] == [("W-HVG-01", {"tiny": 6}, 10)]
    rest = batch != "tiny"
    without = rank_genes(log[rest], batch[rest], genes, n_top=30, flavor="cell_ranger")
    assert set(genes[chosen.mask]) == set(without.index[:30])


def test_batches_scanpy_refuses_are_left_out(monkeypatch):
    """A batch whose genes are all alike has no bins: it is left out, by name, and the others are ranked."""
    counts = make_counts(90, 200)
    counts[60:] = 1
    batch = np.repeat(np.array(["a", "b", "flat"], dtype=object), 30)
    genes = np.array([f"G{j:03d}" for j in range(200)], dtype=object)
    matrix = sparse.csr_matrix(counts)
    chosen = select_genes(HeldCounts(matrix), batch, genes, n_hvg=30, flavor="cell_ranger")
    assert chosen.mask.sum() == 30
    assert [(w["code"], w["values"]) for w in chosen.warnings] == [("W-HVG-01", {"flat": 30})]


@pytest.mark.parametrize("n_varying", [0, 2])
@pytest.mark.parametrize("flavor", ["cell_ranger", "seurat_v3"])
def test_a_batch_in_which_few_genes_vary_is_left_out(flavor, n_varying):
    """scanpy has no sentence for it: an index error of its bins, and the fit of seurat_v3 ended the process."""
    counts = make_counts(90, 200)
    counts[60:, n_varying:] = 0
    batch = np.repeat(np.array(["a", "b", "empty"], dtype=object), 30)
    genes = np.array([f"G{j:03d}" for j in range(200)], dtype=object)
    chosen = select_genes(HeldCounts(sparse.csr_matrix(counts)), batch, genes, n_hvg=30, flavor=flavor)
    assert chosen.mask.sum() == 30
    assert [w["values"] for w in chosen.warnings if w["code"] == "W-HVG-01"] == [{"empty": 30}]


@pytest.mark.parametrize("flavor", ["cell_ranger", "seurat_v3", "pearson_residuals"])
def test_batches_all_too_small_are_ranked_together(flavor):
    counts = sparse.csr_matrix(make_counts(24, 200))
    genes = np.array([f"G{j:03d}" for j in range(200)], dtype=object)
    chosen = select_genes(HeldCounts(counts), np.array(["a", "b", "c"] * 8), genes, n_hvg=30, flavor=flavor)
    assert chosen.mask.sum() == 30
    warning = next(w for w in chosen.warnings if w["code"] == "W-HVG-01")
    assert warning["values"] == {"a": 8, "b": 8, "c": 8} and "No batch is left" in warning["text"]


def test_genes_that_no_flavor_can_rank():
    flat = sparse.csr_matrix(np.ones((30, 12), dtype=np.float32))
    genes = np.array([f"G{j:03d}" for j in range(12)], dtype=object)
    with pytest.raises(ScfmError, match="can't rank 12 genes of 30 cells"):
        select_genes(HeldCounts(flat), np.array(["a", "b", "c"] * 10), genes, n_hvg=5, flavor="cell_ranger")


def test_more_genes_wanted_than_there_are():
    prepared = _prepare(make_adata(), n_hvg=5000)
    assert prepared.var["highly_variable"].all()
    assert "W-HVG-02" in _codes(prepared)


# --- PCA --------------------------------------------------------------------------------------------------------------


def _blocks(n: int = 200, m: int = 60) -> sparse.csr_matrix:
    """Return sparse data with a few strong directions."""
    rng = np.random.default_rng(3)
    dense = rng.normal(size=(n, 6)) @ (rng.normal(size=(6, m)) * np.arange(6, 0, -1)[:, None]) + rng.normal(size=(n, m))
    return sparse.csr_matrix(np.maximum(dense, 0).astype(np.float32))


def test_pca_equals_a_dense_svd():
    values = _blocks()
    dense = values.toarray().astype(float)
    centred = dense - dense.mean(axis=0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    pca = principal_components(values, 10)
    np.testing.assert_allclose(pca.variance, sizes[:10] ** 2 / 199, rtol=1e-9)
    np.testing.assert_allclose(pca.variance_ratio, sizes[:10] ** 2 / (sizes**2).sum(), rtol=1e-9)
    np.testing.assert_allclose(np.abs(pca.loadings), np.abs(right[:10].T), atol=1e-8)
    np.testing.assert_allclose(np.abs(pca.scores), np.abs((left * sizes)[:, :10]), atol=1e-7)
    np.testing.assert_allclose(pca.scores, centred @ pca.loadings, atol=1e-9)
    strongest = np.abs(pca.loadings).argmax(axis=0)
    assert (pca.loadings[strongest, range(10)] > 0).all()


def test_pca_does_not_depend_on_the_order_of_cells():
    values = _blocks()
    order = np.random.default_rng(1).permutation(200)
    one, two = principal_components(values, 10), principal_components(values[order], 10)
    scale = np.abs(one.scores).max()
    assert np.abs(two.scores - one.scores[order]).max() / scale < 1e-8


def test_pca_of_low_rank_data():
    values = sparse.csr_matrix(np.outer(np.arange(1, 21), np.arange(1, 9)).astype(np.float32))
    pca = principal_components(values, 5)
    assert pca.scores.shape == (20, 1)
    np.testing.assert_allclose(pca.variance_ratio, [1.0])


# --- the whole --------------------------------------------------------------------------------------------------------


def test_cells_that_are_all_alike_have_no_components_and_a_sentence():
    with pytest.raises(ScfmError, match="same values of the 12 variable genes"):
        principal_components(sparse.csr_matrix(np.ones((30, 12))), 5)


def test_shuffled_rows_change_nothing():
    data = make_adata()
    order = np.random.default_rng(5).permutation(60)
    one, two = _prepare(data), _prepare(data[order].copy())
    pd.testing.assert_frame_equal(one.obs, two.obs)
    pd.testing.assert_frame_equal(one.var, two.var)
    np.testing.assert_array_equal(one.pca.scores, two.pca.scores)
    np.testing.assert_array_equal(one.counts.whole().toarray(), two.counts.whole().toarray())
    assert one.facts == two.facts
    assert list(one.obs["cell_id"]) == sorted(data.obs_names)


def test_dropped_cells_are_counted_and_listed():
    data = make_adata()
    for column, cells in (("batch", [1, 2]), ("cell_type", [2, 3, 4])):
        values = data.obs[column].astype(object).to_numpy()
        values[cells] = np.nan
        data.obs[column] = pd.Categorical(values)
    prepared = _prepare(data)
    listed = prepared.dropped.set_index("cell_id")["reason"].to_dict()
    assert listed == {"cell001": "no_batch", "cell002": "no_batch", "cell003": "no_label", "cell004": "no_label"}
    assert prepared.facts["dropped"] == {"no_batch": 2, "no_label": 2}
    assert (prepared.facts["n_cells"], prepared.facts["n_scored"]) == (58, 56)
    assert prepared.obs.set_index("cell_id")["scored"].to_dict()["cell003"] is False
    assert "cell001" not in set(prepared.obs["cell_id"])
    assert sum(prepared.facts["labels"].values()) == 56


def test_filters_drop_and_count():
    counts = make_counts()
    counts[0, :] = 0
    counts[:, 7] = 0
    counts[3, 7] = 1
    prepared = _prepare(make_adata(counts), min_genes_per_cell=1, min_cells_per_gene=2)
    assert prepared.facts["dropped"] == {"few_genes": 1, "rare_genes": 1}
    assert "ABC7" not in prepared.var.index and "cell000" not in set(prepared.obs["cell_id"])
    kept = _prepare(make_adata(counts))
    assert kept.facts["dropped"] == {} and "W-QC-01" in _codes(kept)
    with pytest.raises(ScfmError, match="0 cells are left"):
        _prepare(make_adata(counts), min_genes_per_cell=1000, min_cells_per_gene=1)


def test_composite_and_optional_keys():
    prepared = _prepare(make_adata(), {"batch_key": "donor+time", "donor_key": "donor", "condition_key": "time"})
    obs = prepared.obs.set_index("cell_id")
    assert obs.loc["cell003", ["batch", "donor", "condition"]].tolist() == ["d1+1", "d1", "1"]
    assert obs["tissue"].isna().all()
    assert prepared.facts["keys"] == {
        "batch": "donor+time",
        "label": "cell_type",
        "condition": "time",
        "donor": "donor",
        "tissue": "",
        "sample": "",
    }
    assert obs.loc["cell003", "sample"] == "d1+1"


def test_all_genes_stay_and_names_are_carried():
    data = make_adata()
    data.var["gene_ids"] = [f"ENSG{i:011d}.4" for i in range(40)]
    prepared = _prepare(data)
    assert prepared.var["highly_variable"].sum() == 20 and len(prepared.var) == 40
    assert prepared.var["gene_symbol"].tolist() == data.var_names.tolist()
    assert prepared.var["gene_id"].iloc[3] == "ENSG00000000003"


def test_names_of_gene_lists_that_are_absent_are_reported():
    data = make_adata()
    prepared = prepare(
        HeldCounts(sparse.csr_matrix(data.X)),
        data.obs,
        data.var,
        row=ROW,
        params=defaults(**SMALL),
        exclude=["ABC1", "GONE"],
        force=["ABC2"],
    )
    assert not prepared.var.loc["ABC1", "highly_variable"] and prepared.var.loc["ABC2", "highly_variable"]
    assert [w["values"] for w in prepared.facts["warnings"] if w["code"] == "W-HVG-03"] == [{"absent": ["GONE"]}]


# --- design -----------------------------------------------------------------------------------------------------------


def test_balance_numbers():
    assert effective_share(np.array([5, 5, 5])) == pytest.approx(1.0)
    assert effective_share(np.array([9, 0, 0])) == pytest.approx(1 / 3)
    assert composition_distance(np.array([[5, 0], [0, 7]])) == pytest.approx(1.0)
    assert composition_distance(np.array([[5, 10], [1, 2]])) == pytest.approx(0.0, abs=1e-6)


def test_design_warnings():
    batch = pd.Series(["a"] * 220 + ["b"] * 10)
    label = pd.Series(["x"] * 110 + ["y"] * 110 + ["x"] * 10)
    found = {w["code"]: w for w in design_warnings(batch, label, batch_role="biological", batch_key="tissue")}
    assert set(found) == {"W-CONF-03", "W-MET-02"}
    assert found["W-MET-02"]["values"] == {"labels": ["y"]}
    even = pd.Series(["a", "b"] * 50)
    assert design_warnings(even, pd.Series(["x", "x", "y", "y"] * 25), batch_role="technical", batch_key="batch") == []


# --- executable -------------------------------------------------------------------------------------------------------


def _run(folder, dataset: str, file, row_facts: list[dict], **params: object):
    """Run prepare_dataset.py and return what it wrote."""
    (folder / "datasets.json").write_text(json.dumps(row_facts))
    (folder / "params.json").write_text(json.dumps(defaults(**params)))
    command = [
        sys.executable,
        str(ROOT / "bin" / "prepare_dataset.py"),
        "--quiet",
        "--dataset",
        dataset,
        "--datasets",
        str(folder / "datasets.json"),
        "--h5ad",
        str(file),
        "--params",
        str(folder / "params.json"),
        "--outdir",
        str(folder / "out"),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_executable_says_what_is_wrong(tmp_path):
    path = write(make_adata(), tmp_path / "d.h5ad")
    done = _run(tmp_path, "e", path, [{**ROW, "counts_source": "X"}])
    assert done.returncode == 2 and "no data set 'e'" in done.stderr
    done = _run(tmp_path, "d", path, [{**ROW, "counts_source": "X"}])
    (tmp_path / "params.json").write_text(json.dumps({"n_hvg": 20}))
    done = subprocess.run([*done.args], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "The parameters lack 'round_counts', 'missing_values'" in done.stderr


def test_executable_writes_the_contract(tmp_path):
    """Raw counts in raw, a user's column with a name of ours, mixed objects: everything in one file."""
    data = make_adata()
    data.raw = data.copy()
    data.X = np.log1p(data.X)
    data.obs["label"] = "something else"
    data.obs["gaps"] = pd.Categorical(["x", None] * 30)
    outcome = check(tmp_path, [{**ROW, "h5ad": write(data, tmp_path / "d.h5ad").name}])
    assert outcome.errors == []
    done = _run(tmp_path, "d", tmp_path / "d.h5ad", outcome.datasets, n_hvg=20, n_pcs=5)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {f"d.{e}" for e in (*EMPTY_OUTPUTS, "prepare.status.json")}
    result = ad.read_h5ad(out / "d.prepared.h5ad")
    np.testing.assert_array_equal(result.layers["counts"].toarray(), data.raw.X.toarray())
    assert result.X.dtype == np.float32 and sparse.issparse(result.X)
    assert isinstance(result.obs["label"].dtype, pd.CategoricalDtype) and isinstance(
        result.obs["batch"].dtype, pd.CategoricalDtype
    )
    assert set(result.obs["label_input"]) == {"something else"} and "batch_input" not in result.obs
    inputs = MethodInputs("d", out / "d.obs.parquet", out, prepared_path=out / "d.prepared.h5ad")
    users = inputs.obs_columns(["label", "batch"])  # a covariate of that name is the user's column, not the label key
    assert set(users["label"]) == {"something else"} and list(users["batch"]) == list(inputs.batches)
    assert result.obs["gaps"].isna().sum() == 30
    np.testing.assert_allclose(
        (result.X - result.var["pca_mean"].to_numpy()) @ result.varm["PCs"], result.obsm["X_pca"], atol=1e-4
    )
    facts = read_json(out / "d.facts.json")
    assert json.loads(result.uns["scfmbench"]) == facts
    assert facts["counts_source"] == "raw"
    obs = read_table(out / "d.obs.parquet")
    assert list(obs.columns) == [
        "cell_id",
        "batch",
        "label",
        "condition",
        "donor",
        "tissue",
        "sample",
        "n_counts",
        "n_genes",
        "scored",
        "held_out",
        "batch:batch",
        "label:cell_type",
    ]
    assert obs["cell_id"].tolist() == result.obs_names.tolist() and obs["condition"].isna().all()
    ids, scores = read_embedding(out / "d.pca.parquet")
    assert ids.tolist() == result.obs_names.tolist()
    np.testing.assert_array_equal(scores, result.obsm["X_pca"])
    assert set(read_table(out / "d.splits.parquet")["target"]) == {"label", "batch"}
    assert read_table(out / "d.dropped_cells.tsv").empty


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real data sets beside the checkout (../shared/data)")
def test_pbmc_3tech_is_prepared(tmp_path):
    import scanpy as sc

    path = SHARED / "pbmc_3tech.h5ad"
    outcome = check(tmp_path, [{**ROW, "dataset": "pbmc", "h5ad": str(path)}])
    done = _run(tmp_path, "pbmc", path, outcome.datasets, n_hvg=1000)
    assert done.returncode == 0, done.stderr
    result, source = ad.read_h5ad(tmp_path / "out" / "pbmc.prepared.h5ad"), ad.read_h5ad(path)
    source = source[result.obs_names].copy()
    np.testing.assert_array_equal(result.layers["counts"].toarray(), source.X.toarray())
    assert result.obs["label"].astype(str).tolist() == source.obs["cell_type"].astype(str).tolist()
    assert result.var["gene_id"].str.startswith("ENSG").mean() > 0.8
    assert result.var["highly_variable"].sum() == 1000
    sc.pp.normalize_total(source, target_sum=1e4)
    sc.pp.log1p(source)
    sc.pp.pca(source, n_comps=50, mask_var=result.var["highly_variable"].to_numpy(), svd_solver="arpack")
    np.testing.assert_allclose(np.abs(result.obsm["X_pca"]), np.abs(source.obsm["X_pca"]), atol=2e-3)
    np.testing.assert_allclose(result.uns["pca"]["variance_ratio"], source.uns["pca"]["variance_ratio"], rtol=1e-4)
