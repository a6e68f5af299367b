"""PCA of sparse data, exact and independent of the order of the cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse

#: components whose variance is below this share of the first one's are rounding noise
MIN_RELATIVE_VARIANCE = 1e-10


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
    kept = variance > max(float(variance[0]), 0.0) * MIN_RELATIVE_VARIANCE
    variance, vectors = variance[kept], vectors[:, kept]
    total = ((matrix.data @ matrix.data) - n_cells * (mean @ mean)) / (n_cells - 1)
    return Components(matrix @ vectors - mean @ vectors, vectors, mean, variance, variance / total)
