"""Library-size normalisation and QC numbers of counts, sparse throughout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse

    from scfm.preparation.counts import Counts

#: counts per cell after scaling
TARGET_SUM = 10_000.0


def log_cp10k(counts: "sparse.csr_matrix") -> "sparse.csr_matrix":
    """Return log1p(counts / total x 10,000), natural logarithm; cells without counts stay zero.

    Parameters
    ----------
    counts
        Shape (n_cells, n_genes), CSR.

    Returns
    -------
    Same shape and sparsity, float32.
    """
    import numpy as np
    from scipy import sparse

    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    factors = np.divide(TARGET_SUM, totals, out=np.zeros_like(totals), where=totals > 0)
    data = np.log1p(counts.data * np.repeat(factors, np.diff(counts.indptr))).astype(np.float32)
    return sparse.csr_matrix((data, counts.indices.copy(), counts.indptr.copy()), shape=counts.shape)


def qc(counts: "Counts") -> "tuple[dict[str, np.ndarray], dict[str, np.ndarray]]":
    """Return QC numbers per cell and per gene, in one pass (scanpy's names).

    Returns
    -------
    Per cell, each of shape (n_cells,): ``n_genes_by_counts``, ``total_counts``. Per gene, each of shape (n_genes,):
    ``n_cells_by_counts``, ``mean_counts``, ``pct_dropout_by_counts`` (percent), ``total_counts``.
    """
    import numpy as np

    n_cells, n_genes = counts.shape
    cell_genes, cell_totals = np.zeros(n_cells, dtype=np.int64), np.zeros(n_cells)
    found, totals = np.zeros(n_genes, dtype=np.int64), np.zeros(n_genes)
    for place, chunk in counts.chunks():
        cell_genes[place] = np.diff(chunk.indptr)
        cell_totals[place] = np.asarray(chunk.sum(axis=1, dtype=np.float64)).ravel()
        found += np.bincount(chunk.indices, minlength=n_genes)
        totals += np.asarray(chunk.sum(axis=0, dtype=np.float64)).ravel()
    of_genes = {
        "n_cells_by_counts": found,
        "mean_counts": totals / max(1, n_cells),
        "pct_dropout_by_counts": (1 - found / max(1, n_cells)) * 100,
        "total_counts": totals,
    }
    return {"n_genes_by_counts": cell_genes, "total_counts": cell_totals}, of_genes


def cells_with_gene(counts: "Counts", batch: "np.ndarray", levels: "np.ndarray") -> "np.ndarray":
    """Return how many cells of every batch have a count of every gene, shape (n_batches, n_genes).

    Parameters
    ----------
    counts
        Shape (n_cells, n_genes).
    batch
        Batch of every cell, shape (n_cells,).
    levels
        The batches, sorted, shape (n_batches,).
    """
    import numpy as np

    codes, n_genes = np.searchsorted(levels, batch), counts.shape[1]
    cells = np.zeros((len(levels), n_genes), dtype=np.int64)
    for place, chunk in counts.chunks():
        for number, genes, _ in stored_by_batch(chunk, codes[place]):
            cells[number] += np.bincount(genes, minlength=n_genes)
    return cells


def stored_by_batch(chunk: "sparse.csr_matrix", codes: "np.ndarray") -> "Iterator[tuple[int, np.ndarray, np.ndarray]]":
    """Yield the number of every batch of a chunk with the genes and the values that its cells have stored.

    Parameters
    ----------
    chunk
        Shape (n_cells, n_genes), CSR.
    codes
        Number of each cell's batch, shape (n_cells,).
    """
    import numpy as np

    of_value = np.repeat(codes, np.diff(chunk.indptr))
    for number in np.unique(codes):
        own = of_value == number
        yield int(number), chunk.indices[own], chunk.data[own]
