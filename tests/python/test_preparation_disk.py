"""Preparation of counts that stay on disk: the same numbers as in memory, chunk by chunk."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from helpers_data import defaults, make_adata, make_counts, write
from scfm.errors import ResourceError, ScfmError
from scfm.io.csr import Spool
from scfm.preparation import counts as held_or_spooled
from scfm.preparation import pca
from scfm.preparation.counts import HeldCounts, SpooledCounts, open_counts
from scfm.preparation.hvg import select_genes
from scfm.preparation.normalize import log_cp10k
from scfm.preparation.pca import chunked_components, principal_components
from scfm.preparation.prepare import prepare
from scfm.preparation.write import write_prepared

ROW = {"dataset": "d", "batch_key": "batch", "label_key": "cell_type"}


@pytest.fixture
def on_disk(monkeypatch):
    """Set everything aside, in chunks of a few cells."""
    monkeypatch.setattr(held_or_spooled, "HELD_VALUES", 0)
    monkeypatch.setattr(held_or_spooled, "CHUNK_VALUES", 5000)
    monkeypatch.setattr(pca, "DENSE_CELLS", 5)


def spooled(matrix: sparse.csr_matrix, folder) -> SpooledCounts:
    """Return a matrix as counts on disk."""
    spool = Spool(folder, matrix.shape[1])
    for start in range(0, matrix.shape[0], 7):
        spool.append(matrix[start : start + 7])
    spool.finish()
    return SpooledCounts(spool, np.arange(matrix.shape[0]), np.ones(matrix.shape[1], dtype=bool))


def test_rows_come_back_in_any_order(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    matrix = sparse.random(60, 30, density=0.2, format="csr", dtype=np.float32, random_state=1)
    matrix[[3, 4, 59]] = 0  # rows without values, also the last one
    matrix.eliminate_zeros()
    counts = spooled(matrix, tmp_path)
    np.testing.assert_array_equal(counts.genes_per_cell(), np.diff(matrix.indptr))
    for gap in (0, 4, 10_000):
        monkeypatch.setattr("scfm.io.csr._GAP", gap)
        for rows in (np.arange(60), rng.permutation(60), np.array([59, 3, 10, 11, 40]), np.array([4])):
            np.testing.assert_array_equal(counts.spool.take(rows).toarray(), matrix[rows].toarray())
    order, mask = rng.permutation(60)[:33], rng.random(30) < 0.6
    part = counts.select_genes(mask).select_cells(order).select_genes(np.arange(mask.sum()) % 3 > 0)
    expected = matrix[order][:, mask][:, np.arange(mask.sum()) % 3 > 0]
    assert part.shape == expected.shape
    np.testing.assert_array_equal(part.whole().toarray(), expected.toarray())
    np.testing.assert_array_equal(part.genes_per_cell(), np.diff(expected.indptr))
    assert list(tmp_path.iterdir()) == []  # the files have no name that could stay behind


def test_the_prepared_data_set_is_the_same(tmp_path, on_disk):
    """Cells that are dropped, rare genes, ids in another order than in the file, and every written file."""
    data = make_adata(make_counts(60, 400))
    data = data[np.random.default_rng(3).permutation(data.n_obs)].copy()
    data.obs["batch"] = data.obs["batch"].astype(object).where(np.arange(data.n_obs) != 5, None)
    path = write(data, tmp_path / "d.h5ad")
    params = defaults(n_hvg=20, n_pcs=5, min_cells_per_gene=2, min_genes_per_cell=3)
    results = []
    for kind in ("memory", "disk"):
        folder = tmp_path / kind
        folder.mkdir()
        counts = (
            HeldCounts(sparse.csr_matrix(data.X))
            if kind == "memory"
            else open_counts(path, "X", round_counts=False, folder=folder)
        )
        assert counts.is_held == (kind == "memory")
        prepared = prepare(counts, data.obs, data.var, row=ROW, params=params)
        write_prepared(prepared, pd.DataFrame({"cell_id": ["x"]}), folder)
        assert sorted(p.name for p in folder.iterdir()) == sorted(
            f"d.{e}"
            for e in (
                "prepared.h5ad",
                "obs.parquet",
                "pca.parquet",
                "splits.parquet",
                "facts.json",
                "dropped_cells.tsv",
            )
        )
        results.append((prepared, ad.read_h5ad(folder / "d.prepared.h5ad")))
    (held, one), (streamed, two) = results
    assert len(list(streamed.counts.chunks())) >= 3
    pd.testing.assert_frame_equal(held.obs, streamed.obs)
    pd.testing.assert_frame_equal(one.obs, two.obs)
    loose = ["pca_mean", "highly_variable_rank"]
    pd.testing.assert_frame_equal(one.var.drop(columns=loose), two.var.drop(columns=loose))
    np.testing.assert_allclose(one.var["highly_variable_rank"], two.var["highly_variable_rank"], atol=1)
    for left, right in ((one.X, two.X), (one.layers["counts"], two.layers["counts"])):
        np.testing.assert_array_equal(left.toarray(), right.toarray())
        assert right.has_sorted_indices
        assert right.dtype == np.float32
    np.testing.assert_allclose(streamed.pca.scores, held.pca.scores, atol=1e-6)
    np.testing.assert_allclose(streamed.pca.loadings, held.pca.loadings, atol=1e-6)
    np.testing.assert_allclose(streamed.pca.variance_ratio, held.pca.variance_ratio, atol=1e-9)
    assert held.facts == streamed.facts


@pytest.mark.parametrize("flavor", ["cell_ranger", "seurat_v3"])
def test_variable_genes_are_those_of_scanpy_on_all_cells(tmp_path, flavor):
    """Two stand-in cells per batch have all that cell_ranger reads of it; small batches are left out as in memory."""
    matrix = sparse.csr_matrix(make_counts(93, 200).astype(np.float32))
    batch = np.array([*["a", "b", "c"] * 30, "tiny", "tiny", "tiny"])
    genes = np.array([f"G{j:03d}" for j in range(200)], dtype=object)
    exclude = np.zeros(200, dtype=bool)
    exclude[:5] = True
    for labels in (batch, np.array([f"b{i // 4}" for i in range(93)])):  # the second: no batch can be ranked by itself
        expected, found = (
            select_genes(counts, labels, genes, n_hvg=30, flavor=flavor, exclude=exclude)
            for counts in (HeldCounts(matrix), spooled(matrix, tmp_path))
        )
        np.testing.assert_array_equal(found.mask, expected.mask)
        np.testing.assert_allclose(found.rank, expected.rank, atol=1)  # neighbours that differ by rounding may swap
        np.testing.assert_array_equal(found.n_batches, expected.n_batches)
        assert found.warnings == expected.warnings


def test_components_in_chunks_equal_those_in_memory(tmp_path, monkeypatch):
    matrix = sparse.csr_matrix(make_counts(120, 40).astype(np.float32))
    counts, genes = spooled(matrix, tmp_path), np.arange(40) % 4 > 0
    expected, found = principal_components(log_cp10k(matrix)[:, genes], 8), chunked_components(counts, genes, 8)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-9)
    monkeypatch.setattr(pca, "MAX_GENES", 20)
    with pytest.raises(ScfmError, match=r"30 variable genes \(--n_hvg\) .* choose 20 or fewer"):
        chunked_components(counts, genes, 8)


def test_space_is_asked_for_before_counts_are_set_aside(tmp_path, on_disk, monkeypatch):
    path = write(make_adata(), tmp_path / "d.h5ad")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(ResourceError, match=r"counts: needs about 0\.0 MB"):
        open_counts(path, "X", round_counts=False, folder=tmp_path)
