"""Leading eigenvectors of a covariance that is only known by its products: no dense matrix of cells x genes is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from scfm.errors import ScfmError

if TYPE_CHECKING:
    import numpy as np

#: components whose variance is below this share of the first one's are rounding noise
MIN_RELATIVE_VARIANCE = 1e-10


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
    Eigenvalues, descending, shape (n,), and orthonormal vectors, shape (size, n), the entry of largest absolute value
    of each is positive; ``n`` is ``wanted``, or fewer where the covariance has a lower rank: what is left is rounding.

    Raises
    ------
    ScfmError
        The covariance is zero.
    """
    import numpy as np
    from scipy.sparse.linalg import LinearOperator, eigsh

    operator = LinearOperator(
        (size, size), matvec=lambda vector: covariance(np.asarray(vector).ravel()), dtype=np.float64
    )
    start = np.random.default_rng(0).uniform(0.5, 1.5, size)
    if not operator.matvec(start).any():
        raise ScfmError(
            f"All cells have the same values of the {size:,} variable genes, so that there are no components of them. "
            "Check the counts, or choose other genes (--n_hvg, --hvg_flavor)."
        )
    values, vectors = eigsh(operator, k=wanted, which="LA", v0=start, ncv=min(size, max(2 * wanted + 1, 20)), tol=0)
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], vectors[:, order]
    kept = values > max(float(values[0]), 0.0) * MIN_RELATIVE_VARIANCE
    values, vectors = values[kept], vectors[:, kept]
    strongest = np.abs(vectors).argmax(axis=0)
    return values, vectors * np.sign(vectors[strongest, np.arange(len(values))])
