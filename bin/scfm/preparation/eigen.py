"""Leading eigenvectors of a covariance that is only known by its products: no dense matrix of cells x genes is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def leading_eigenvectors(
    covariance: "Callable[[np.ndarray], np.ndarray]", size: int, wanted: int
) -> tuple["np.ndarray", "np.ndarray"]:
    """Return the largest eigenvalues and their vectors, by ARPACK in double precision.

    The start vector is fixed and lies in gene space, so that the order of the cells acts through rounding only.

    Parameters
    ----------
    covariance
        Product of the symmetric matrix with a vector of shape (size,).
    size
        Genes.
    wanted
        Vectors, from 1 to ``size - 1``.

    Returns
    -------
    Eigenvalues, descending, shape (wanted,); orthonormal vectors, shape (size, wanted), the entry of largest absolute
    value of each is positive.
    """
    import numpy as np
    from scipy.sparse.linalg import LinearOperator, eigsh

    operator = LinearOperator(
        (size, size), matvec=lambda vector: covariance(np.asarray(vector).ravel()), dtype=np.float64
    )
    start = np.random.default_rng(0).uniform(0.5, 1.5, size)
    values, vectors = eigsh(operator, k=wanted, which="LA", v0=start, ncv=min(size, max(2 * wanted + 1, 20)), tol=0)
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], vectors[:, order]
    strongest = np.abs(vectors).argmax(axis=0)
    return values, vectors * np.sign(vectors[strongest, np.arange(wanted)])
