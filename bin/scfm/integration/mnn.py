"""Mutual nearest neighbours and the correction that follows from them (Haghverdi et al. 2018, doi 10.1038/nbt.4091).

The parts of fastMNN, each a pure function of coordinates. Written after the paper and the documentation of the
Bioconductor package batchelor, because no maintained Python package has them: mnnpy is the older algorithm, in gene
space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from scfm.neighbors.exact import TieRule


def mutual_pairs(
    values: "np.ndarray", left: "np.ndarray", right: "np.ndarray", k: int, *, ties: "TieRule"
) -> tuple["np.ndarray", "np.ndarray"]:
    """Return the pairs of cells that are among each other's k nearest cells of the other side.

    Parameters
    ----------
    values
        Coordinates, shape (n_cells, n_dims).
    left, right
        Positions of the cells of the two sides, without overlap.
    k
        Neighbours looked for in the other side.
    ties
        Order of cells at the same distance.

    Returns
    -------
    Positions of the left and of the right cells, one entry per pair, sorted by both. There is at least one pair: the
    two cells that are closest.
    """
    import numpy as np

    from scfm.neighbors.exact import nearest

    forward, _ = nearest(values, k, ties=ties, rows=left, columns=right)
    backward, _ = nearest(values, k, ties=ties, rows=right, columns=left)
    n = len(values)
    there = (left[:, None] * n + forward).ravel()
    back = (backward * n + right[:, None]).ravel()
    both = np.intersect1d(there, back, assume_unique=True)
    return both // n, both % n


def average_vectors(
    values: "np.ndarray", first: "np.ndarray", second: "np.ndarray"
) -> tuple["np.ndarray", "np.ndarray"]:
    """Return the mean vector from each paired cell of the second side to its partners.

    Parameters
    ----------
    values
        Coordinates, shape (n_cells, n_dims).
    first, second
        Positions of the pairs, shape (n_pairs,).

    Returns
    -------
    Positions of the paired cells of the second side, ascending, shape (n_paired,); their vectors, shape
    (n_paired, n_dims).
    """
    import numpy as np

    paired, which, counts = np.unique(second, return_inverse=True, return_counts=True)
    vectors = np.zeros((len(paired), values.shape[1]))
    np.add.at(vectors, which, values[first] - values[second])
    return paired, vectors / counts[:, None]


def flatten_along(values: "np.ndarray", vector: "np.ndarray") -> "np.ndarray":
    """Move cells along a vector so that all lie at the mean of their coordinates along it.

    Parameters
    ----------
    values
        Coordinates of the cells of one side, shape (n_cells, n_dims).
    vector
        Direction, shape (n_dims,); a vector of zeros moves nothing.

    Returns
    -------
    New coordinates, shape (n_cells, n_dims).
    """
    import numpy as np

    length = np.linalg.norm(vector)
    if length == 0:
        return values
    unit = vector / length
    along = values @ unit
    return values + np.outer(along.mean() - along, unit)


def smoothed_vectors(
    values: "np.ndarray",
    cells: "np.ndarray",
    paired: "np.ndarray",
    vectors: "np.ndarray",
    *,
    k: int,
    width: float,
    ties: "TieRule",
) -> "np.ndarray":
    """Return a correction vector per cell: the tricube-weighted mean of those of its nearest paired cells.

    Parameters
    ----------
    values
        Coordinates, shape (n_cells, n_dims).
    cells
        Positions of the cells to correct.
    paired
        Positions of the cells with a vector, shape (n_paired,), all among ``cells``.
    vectors
        Their vectors, shape (n_paired, n_dims).
    k
        Nearest paired cells that are used.
    width
        Bandwidth of the kernel in distances to the middle one of a cell's neighbours; one at or beyond it has no
        weight.
    ties
        Order of cells at the same distance.
    """
    import numpy as np

    from scfm.neighbors.exact import nearest

    found, distances = nearest(values, k, ties=ties, rows=cells, columns=paired)
    row = np.full(len(values), -1)
    row[paired] = np.arange(len(paired))
    middle = distances[:, [(distances.shape[1] - 1) // 2]]  # of an even number the lower one, as in batchelor
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(middle > 0, distances / (width * middle), np.where(distances > 0, 1.0, 0.0))
    weights = (1 - np.minimum(relative, 1.0) ** 3) ** 3
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("ck,ckd->cd", weights, vectors[row[found]])


def variance(values: "np.ndarray") -> float:
    """Return the total variance of coordinates, shape (n_cells, n_dims): the sum over dimensions, at least 0."""
    return float(values.var(axis=0).sum())
