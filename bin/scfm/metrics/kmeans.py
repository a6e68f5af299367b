"""K-means clusters (as many as labels) against the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import NotApplicable
from scfm.metrics import threefry
from scfm.metrics.agreement import adjusted_rand_index, normalized_mutual_information
from scfm.metrics.inputs import MetricInputs
from scfm.metrics.results import MetricResult, Score

if TYPE_CHECKING:
    import numpy as np

#: scib-metrics leaves its k-means at seed 0, whatever the seed of Leiden
SEED = 0
_MAX_ROUNDS = 300
#: squared distances up to this share of the squared norms are rounding of a zero
_ROUNDING = 1e-13


def _squared_distances(values: "np.ndarray", norms: "np.ndarray", centers: "np.ndarray") -> "np.ndarray":
    """Squared Euclidean distances of cells to centres, shape (n_cells, n_centers); 0 where it is rounding only."""
    import numpy as np

    both = norms[:, None] + np.einsum("cd,cd->c", centers, centers)
    squared = both - 2 * (values @ centers.T)
    return np.where(squared > _ROUNDING * both, squared, 0)


def _first_centers(values: "np.ndarray", norms: "np.ndarray", k: int, seed: int) -> "np.ndarray":
    """Greedy k-means++ (Arthur & Vassilvitskii 2007): of a few candidates take the one that lowers the cost most."""
    import numpy as np

    key = threefry.split(threefry.key_of(seed), 1)[0]
    key, used = threefry.split(key)
    centers = [int(threefry.permutation(used, len(values))[0])]
    nearest = _squared_distances(values, norms, values[centers])[:, 0]
    nearest[centers] = 0
    for _ in range(k - 1):
        if not nearest.any():
            raise NotApplicable(f"Fewer than {k} different points: k-means has no {k} centres.", "constant")
        key, used = threefry.split(key)
        candidates = threefry.weighted_choice(used, nearest / nearest.sum(), 2 + int(np.log(k)))
        reduced = np.minimum(nearest[None, :], _squared_distances(values, norms, values[candidates]).T)
        best = int(reduced.sum(axis=1).argmin())
        centers.append(int(candidates[best]))
        nearest = reduced[best]
        nearest[centers[-1]] = 0
    return values[centers]


def kmeans_clusters(values: "np.ndarray", k: int, seed: int = SEED) -> "np.ndarray":
    """Cluster by Lloyd's rounds from one greedy k-means++ start, until no cell moves.

    Parameters
    ----------
    values
        Shape (n_cells, n_dims). The start depends on the row order; callers sort rows by cell id.
    k
        Number of clusters; one may stay empty.
    seed
        Seed of the start.

    Returns
    -------
    Cluster of every cell, shape (n_cells,).
    """
    import numpy as np

    values = np.array(values, dtype=np.float64)
    values -= values.mean(axis=0)
    norms = np.einsum("ij,ij->i", values, values)
    clusters = _nearest_centers(values, _first_centers(values, norms, k, seed))
    sums = _sums(values, clusters, k)
    for _ in range(_MAX_ROUNDS - 1):
        centers = sums / np.maximum(np.bincount(clusters, minlength=k), 1)[:, None]  # an empty one goes to the mean
        moved = _nearest_centers(values, centers)
        changed = np.flatnonzero(moved != clusters)
        if not len(changed):
            break
        sums += _sums(values[changed], moved[changed], k) - _sums(values[changed], clusters[changed], k)
        clusters = moved
    return clusters


def _nearest_centers(values: "np.ndarray", centers: "np.ndarray") -> "np.ndarray":
    """Return the nearest centre of every cell, shape (n_cells,)."""
    import numpy as np

    # |x - c|^2 = |x|^2 - 2 (xc - |c|^2 / 2), and |x| is the same for all centres
    return (values @ centers.T - np.einsum("cd,cd->c", centers, centers) / 2).argmax(axis=1)


def _sums(values: "np.ndarray", clusters: "np.ndarray", k: int) -> "np.ndarray":
    """Return the sum of the cells of every cluster, shape (k, n_dims)."""
    import numpy as np
    import scipy.sparse as sp

    cells = np.arange(len(values))
    return sp.csr_array((np.ones(len(values)), (clusters, cells)), shape=(k, len(values))) @ values


def _kmeans(data: MetricInputs) -> list[tuple[float, float]]:
    """Cluster once per seed for NMI and ARI."""
    data.need_labels()
    values, labels = data.values(), data.labels

    def compute() -> list[tuple[float, float]]:
        found = [kmeans_clusters(values, len(labels.names), SEED + i) for i in range(data.n_seeds)]
        return [(normalized_mutual_information(labels.codes, c), adjusted_rand_index(labels.codes, c)) for c in found]

    return data.keep("kmeans", compute, of=("labels",))


def kmeans_nmi(data: MetricInputs) -> MetricResult:
    """NMI of k-means clusters, k = number of labels, median over seeds; 0 to 1, higher is better."""
    return MetricResult(Score.of_seeds([nmi for nmi, _ in _kmeans(data)], data.n_cells))


def kmeans_ari(data: MetricInputs) -> MetricResult:
    """ARI of k-means clusters, k = number of labels, median over seeds; -0.5 to 1, higher is better."""
    return MetricResult(Score.of_seeds([ari for _, ari in _kmeans(data)], data.n_cells))
