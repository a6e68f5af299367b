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
    eigenvectors come from ARPACK in double precision from a fixed start vector in gene space. So the order of the cells
    acts through rounding only. The sign is fixed by the loadings.

    Parameters
    ----------
    values
        Shape (n_cells, n_genes), CSR; at least 2 cells and 2 genes.
    n_pcs
        Components wanted; fewer come back where the data have a lower rank.
    """
    import numpy as np
    from scipy.sparse.linalg import LinearOperator, eigsh

    matrix = values.astype(np.float64).tocsr()
    n_cells, n_genes = matrix.shape
    transposed = matrix.T  # CSC of the same memory
    mean = np.asarray(matrix.sum(axis=0)).ravel() / n_cells

    def covariance(vector: "np.ndarray") -> "np.ndarray":
        vector = np.asarray(vector).ravel()
        centred = matrix @ vector - mean @ vector
        return (transposed @ centred - mean * centred.sum()) / (n_cells - 1)

    wanted = max(1, min(n_pcs, n_cells - 1, n_genes - 1))
    operator = LinearOperator((n_genes, n_genes), matvec=covariance, dtype=np.float64)
    start = np.random.default_rng(0).uniform(0.5, 1.5, n_genes)
    size = min(n_genes, max(2 * wanted + 1, 20))
    variance, vectors = eigsh(operator, k=wanted, which="LA", v0=start, ncv=size, tol=0)
    order = np.argsort(-variance, kind="stable")
    variance, vectors = variance[order], vectors[:, order]
    kept = variance > max(float(variance[0]), 0.0) * MIN_RELATIVE_VARIANCE
    variance, vectors = variance[kept], vectors[:, kept]
    strongest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[strongest, np.arange(vectors.shape[1])])
    total = ((matrix.data @ matrix.data) - n_cells * (mean @ mean)) / (n_cells - 1)
    return Components(matrix @ vectors - mean @ vectors, vectors, mean, variance, variance / total)
