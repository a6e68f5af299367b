"""PCA of sparse data, exact and independent of the order of the cells.

Data in memory: the covariance is an operator. Data on disk: it is summed up chunk by chunk, in one pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.preparation.normalize import log_cp10k

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse

    from scfm.preparation.counts import Counts

#: cells that are dense at once
DENSE_CELLS = 2048
#: genes of a covariance in memory (0.5 GB)
MAX_GENES = 8000


@dataclass(frozen=True, slots=True)
class Components:
    """Principal components.

    Attributes
    ----------
    scores
        Shape (n_cells, n_pcs), float64: coordinates of the cells.
    loadings
        Shape (n_genes, n_pcs), orthonormal columns; the entry of largest absolute value is positive.
    mean
        Shape (n_genes,): what was subtracted.
    variance, variance_ratio
        Shape (n_pcs,): variance per component (denominator n - 1), and its share of the total.
    """

    scores: "np.ndarray"
    loadings: "np.ndarray"
    mean: "np.ndarray"
    variance: "np.ndarray"
    variance_ratio: "np.ndarray"


def principal_components(values: "sparse.csr_matrix", n_pcs: int) -> Components:
    """Return the leading principal components, centred and not scaled.

    The covariance of the genes is an operator (two sparse products), never a dense cells x genes matrix, and its
    eigenvectors come from :func:`scfm.preparation.eigen.leading_eigenvectors`. So the order of the cells acts through
    rounding only, and the sign is fixed by the loadings.

    Parameters
    ----------
    values
        Shape (n_cells, n_genes), CSR; at least 2 cells and 2 genes.
    n_pcs
        Components wanted; fewer come back where the data have a lower rank.
    """
    import numpy as np

    from scfm.preparation.eigen import leading_eigenvectors

    matrix = values.astype(np.float64).tocsr()
    n_cells, n_genes = matrix.shape
    transposed = matrix.T  # CSC of the same memory
    mean = np.asarray(matrix.sum(axis=0)).ravel() / n_cells

    def covariance(vector: "np.ndarray") -> "np.ndarray":
        centred = matrix @ vector - mean @ vector
        return (transposed @ centred - mean * centred.sum()) / (n_cells - 1)

    variance, vectors = leading_eigenvectors(covariance, n_genes, max(1, min(n_pcs, n_cells - 1, n_genes - 1)))
    total = ((matrix.data @ matrix.data) - n_cells * (mean @ mean)) / (n_cells - 1)
    return Components(matrix @ vectors - mean @ vectors, vectors, mean, variance, variance / total)


def chunked_components(counts: "Counts", genes: "np.ndarray", n_pcs: int) -> Components:
    """Return the leading principal components of log1p(CP10k) of some genes, from counts on disk.

    The same components as :func:`principal_components` up to rounding. No more than ``DENSE_CELLS`` cells are dense at
    a time, and the data are read twice: for the covariance, which is centred afterwards, and for the scores.

    Parameters
    ----------
    counts
        Shape (n_cells, n_genes).
    genes
        Mask of the genes, shape (n_genes,).
    n_pcs
        Components wanted; fewer come back where the data have a lower rank.

    Raises
    ------
    ScfmError
        There are more than ``MAX_GENES`` genes.
    """
    import numpy as np

    from scfm.preparation.eigen import leading_eigenvectors

    n_genes, n_cells = int(genes.sum()), counts.shape[0]
    if n_genes > MAX_GENES:
        raise ScfmError(
            f"{n_genes:,} variable genes (--n_hvg) of a data set that is read from disk ({n_cells:,} cells) need a"
            f" covariance that does not fit in memory; choose {MAX_GENES:,} or fewer."
        )
    sums, products = np.zeros(n_genes), np.zeros((n_genes, n_genes))
    for dense in _dense_parts(counts, genes):
        sums += dense.sum(axis=0)
        products += dense.T @ dense
    mean = sums / n_cells
    products -= n_cells * np.outer(mean, mean)
    products /= n_cells - 1
    total = float(np.trace(products))
    wanted = max(1, min(n_pcs, n_cells - 1, n_genes - 1))
    variance, vectors = leading_eigenvectors(lambda vector: products @ vector, n_genes, wanted)
    scores = np.concatenate([dense @ vectors - mean @ vectors for dense in _dense_parts(counts, genes)])
    return Components(scores, vectors, mean, variance, variance / total)


def _dense_parts(counts: "Counts", genes: "np.ndarray") -> "Iterator[np.ndarray]":
    """Yield the log data of some genes, dense, float64, shapes (<= DENSE_CELLS, n_genes)."""
    import numpy as np

    for _, chunk in counts.chunks():
        logged = log_cp10k(chunk)[:, genes]
        for start in range(0, logged.shape[0], DENSE_CELLS):
            yield logged[start : start + DENSE_CELLS].toarray().astype(np.float64)
