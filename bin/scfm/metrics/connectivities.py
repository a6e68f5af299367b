"""The weighted neighbour graph of UMAP (McInnes et al. 2018, arXiv 1802.03426): fuzzy sets of each cell, joined by
their union.

The search for the bandwidth is the published one, for all cells at once; single precision in the same places as in
umap-learn, so that the weights, and with them a seeded clustering of the graph, come out the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp

_TOLERANCE = 1e-5
_ROUNDS = 64
#: smallest bandwidth, relative to the mean distance
_SMALLEST = 1e-3


def smooth_distances(distances: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Return bandwidth and distance to the nearest distinct neighbour of every cell.

    The bandwidth s of a cell solves sum_j exp(-max(0, d_j - rho) / s) = log2(k) over its neighbours without itself.

    Parameters
    ----------
    distances
        Shape (n_cells, k), ascending, self first.

    Returns
    -------
    Bandwidths and nearest distances, both shape (n_cells,), float32.
    """
    import numpy as np

    distances = np.asarray(distances, dtype=np.float32)
    n, k = distances.shape
    positive = distances > 0
    first = positive.argmax(axis=1)
    rho = np.where(positive.any(axis=1), distances[np.arange(n), first], np.float32(0)).astype(np.float32)
    beyond = distances[:, 1:] - rho[:, None]
    sigma = _bisect(np.maximum(beyond, 0), np.log2(k))
    floor = np.where(rho > 0, distances.mean(axis=1), distances.mean())
    return np.maximum(sigma, (_SMALLEST * floor).astype(np.float32)), rho


def _bisect(beyond: "np.ndarray", target: float) -> "np.ndarray":
    """Find for every row the bandwidth whose memberships sum to ``target``; bisection, doubling until bracketed."""
    import numpy as np

    n = len(beyond)
    highest = np.finfo(np.float32).max
    low, high, middle = np.zeros(n, np.float32), np.full(n, highest, np.float32), np.ones(n, np.float32)
    active = np.arange(n)
    for _ in range(_ROUNDS):
        total = (
            np.exp(-(beyond[active] / middle[active, None])).cumsum(axis=1, dtype=np.float32)[:, -1].astype(np.float64)
        )
        open_ = np.abs(total - target) >= _TOLERANCE
        active, total = active[open_], total[open_]
        if not len(active):
            break
        above = total > target
        high[active[above]] = middle[active[above]]
        low[active[~above]] = middle[active[~above]]
        unbounded = high[active] >= highest
        with np.errstate(over="ignore"):
            halved = (low[active] + high[active]) / np.float32(2)
            middle[active] = np.where(unbounded & ~above, middle[active] * np.float32(2), halved)
    return middle


def umap_connectivities(indices: "np.ndarray", distances: "np.ndarray") -> "sp.csr_array":
    """Return the symmetric graph of membership strengths.

    Parameters
    ----------
    indices, distances
        Neighbours, shape (n_cells, k), self first.

    Returns
    -------
    Shape (n_cells, n_cells), float32, weights in (0, 1], no self loops.
    """
    import numpy as np
    import scipy.sparse as sp

    n, k = indices.shape
    distances = np.asarray(distances, dtype=np.float32)
    sigma, rho = smooth_distances(distances)
    beyond = distances - rho[:, None]
    weights = np.where(beyond <= 0, np.float32(1), np.exp(-(np.maximum(beyond, 0) / sigma[:, None])))
    weights[indices == np.arange(n)[:, None]] = 0
    directed = sp.csr_array((weights.ravel(), (np.repeat(np.arange(n), k), indices.ravel())), shape=(n, n))
    directed.eliminate_zeros()
    product = directed.multiply(directed.T)
    union = sp.csr_array(directed + directed.T - product)
    union.eliminate_zeros()
    union.sort_indices()
    return union
