"""Library-size normalisation and QC numbers of a count matrix, sparse throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse

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


def cell_qc(counts: "sparse.csr_matrix") -> "dict[str, np.ndarray]":
    """Return ``total_counts`` and ``n_genes_by_counts`` per cell (scanpy's names)."""
    import numpy as np

    return {
        "n_genes_by_counts": np.diff(counts.indptr).astype(np.int64),
        "total_counts": np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel(),
    }


def gene_qc(counts: "sparse.csr_matrix") -> "dict[str, np.ndarray]":
    """Return the QC numbers per gene (scanpy's names): cells, mean, dropout in percent, total."""
    import numpy as np

    n_cells = max(1, counts.shape[0])
    found = np.bincount(counts.indices, minlength=counts.shape[1]).astype(np.int64)
    totals = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel()
    return {
        "n_cells_by_counts": found,
        "mean_counts": totals / n_cells,
        "pct_dropout_by_counts": (1 - found / n_cells) * 100,
        "total_counts": totals,
    }
