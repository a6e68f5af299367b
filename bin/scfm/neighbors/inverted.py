"""The searches of large data sets: among all pairs where a GPU can afford them, else by an inverted file.

The recall of the inverted file is set before and measured after the search. K-means puts every cell into a list. The
cells of a list are searched among the members of the nearest lists, by :func:`scfm.neighbors.exact.nearest`: one matrix
product per list, exact distances, the same order of ties. How many lists are read is the smallest number with which a
sample of cells finds at least 99 % of its exact neighbours. One thread makes the lists, and each list is searched on
its own, so the number of threads changes no result.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scfm.keyed import keyed_bits
from scfm.neighbors.exact import MARGIN, TieRule, by_position, nearest
from scfm.neighbors.table import Search

#: share of the exact neighbours that the search finds at least
MIN_RECALL = 0.99
#: cells whose exact neighbours set the number of lists, and as many others that measure the recall
SAMPLE = 1000
#: lists per square root of the number of cells
LISTS = 1.0
#: cells per list that k-means is trained on at most, and its rounds
_TRAIN, _ROUNDS = 64, 10
#: where more than this share of all pairs would be computed, the exact search is as cheap
_MAX_SHARE = 0.5
#: cells in one place, as multiple of k, above which each draws its neighbours instead of comparing all
_HEAP = 20


def nearly_nearest(values: np.ndarray, k: int, *, ties: TieRule, seed: int) -> tuple[np.ndarray, np.ndarray, Search]:
    """Find at least 99 % of the k nearest cells of every cell, itself first, by Euclidean distance.

    Parameters
    ----------
    values
        Coordinates, shape (n_cells, n_dims), finite.
    k
        Neighbours per cell, self counted, at most n_cells.
    ties
        Order of cells at the same distance.
    seed
        Seed of k-means and of the samples.

    Returns
    -------
    Positions and distances as :func:`scfm.neighbors.exact.nearest` returns them, and how they were found: by the exact
    search where the lists would save too little.
    """
    n = len(values)
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(n, min(n, 2 * SAMPLE), replace=False))
    heaps = _heaps(values, _HEAP * k)
    lists = _Lists.make(values, rng)
    truth, far = nearest(values, k, ties=ties, rows=sample)
    tuning = np.arange(len(sample)) % 2 == 0
    loose = tuning & (heaps[sample] < 0)
    n_read = lists.enough(sample[loose], truth[loose])
    if lists.share(n_read, heaps < 0) > _MAX_SHARE:
        return *nearest(values, k, ties=ties), Search()
    indices, distances = np.empty((n, k), dtype=np.int64), np.zeros((n, k))
    for rows, columns in lists.blocks(n_read, heaps < 0, k + MARGIN):
        indices[rows], distances[rows] = nearest(values, k, ties=ties, rows=rows, columns=columns)
    _draw_heaps(indices, heaps, k, ties)
    held_out = sample[~tuning]
    found = distances[held_out] <= far[~tuning, -1:] * (1 + 1e-9)
    return indices, distances, Search(float(found.mean()), len(lists.starts) - 1, n_read)


def nearest_of_many(values: np.ndarray, k: int, *, ties: TieRule, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest cells of every cell, itself first, on a device that can afford all pairs.

    Every neighbour is exact. Cells of a large heap draw theirs as in :func:`nearly_nearest`, as there are too many
    pairs of them to rank.

    Parameters
    ----------
    values, k, ties
        As in :func:`nearly_nearest`.
    device
        PyTorch's name of a device.
    """
    heaps = _heaps(values, _HEAP * k)
    indices, distances = np.empty((len(values), k), dtype=np.int64), np.zeros((len(values), k))
    rows = np.flatnonzero(heaps < 0)
    if len(rows):
        indices[rows], distances[rows] = nearest(values, k, ties=ties, rows=rows, device=device)
    _draw_heaps(indices, heaps, k, ties)
    return indices, distances


@dataclass(frozen=True)
class _Lists:
    """Lists of cells.

    Attributes
    ----------
    of_cell
        List of every cell, shape (n_cells,).
    order
        For every list all lists, nearest centre first, itself first; shape (n_lists, n_lists).
    members
        Cells sorted by list, shape (n_cells,); list i has ``members[starts[i]:starts[i + 1]]``.
    starts
        Shape (n_lists + 1,).
    """

    of_cell: np.ndarray
    order: np.ndarray
    members: np.ndarray
    starts: np.ndarray

    @classmethod
    def make(cls, values: np.ndarray, rng: np.random.Generator) -> _Lists:
        """Make lists of cells by k-means on a sample; in one thread, as sums of several threads differ in rounding."""
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.metrics import pairwise_distances_argmin
        from threadpoolctl import threadpool_limits

        n = len(values)
        n_lists = min(n, max(1, round(LISTS * n**0.5)))
        some = np.sort(rng.choice(n, min(n, _TRAIN * n_lists), replace=False))
        start = np.unique(values[rng.choice(some, n_lists, replace=False)], axis=0)
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # ten rounds are enough for lists
            means = KMeans(len(start), init=start, n_init=1, max_iter=_ROUNDS).fit(values[some]).cluster_centers_
            of_cell = pairwise_distances_argmin(values, means.astype(values.dtype, copy=False))
        used, of_cell = np.unique(of_cell, return_inverse=True)
        order, _ = nearest(means[used], len(used), ties=by_position)
        starts = np.concatenate([[0], np.cumsum(np.bincount(of_cell))])
        return cls(of_cell, order, np.argsort(of_cell, kind="stable"), starts)

    def enough(self, cells: np.ndarray, truth: np.ndarray) -> int:
        """Return the smallest number of lists in which cells find :data:`MIN_RECALL` of their true neighbours.

        Counted on a sample, so the lower end of a 99.7 % interval must reach it.
        """
        if not len(cells):
            return 1
        rank = np.argsort(self.order[self.of_cell[cells]], axis=1)
        depth = np.take_along_axis(rank, self.of_cell[truth], axis=1)
        low, high = 1, len(self.order)
        while low < high:
            middle = (low + high) // 2
            recall = (depth < middle).mean(axis=1)
            reached = recall.mean() - 3 * recall.std() / len(cells) ** 0.5 >= MIN_RECALL
            low, high = (low, middle) if reached else (middle + 1, high)
        return low

    def share(self, n_read: int, wanted: np.ndarray) -> float:
        """Return the share of all pairs of cells that are computed when the wanted cells read ``n_read`` lists."""
        sizes = np.diff(self.starts)
        rows = np.bincount(self.of_cell[wanted], minlength=len(sizes))
        return float((sizes[self.order[:, :n_read]].sum(axis=1) * rows).sum() / len(self.of_cell) ** 2)

    def blocks(self, n_read: int, wanted: np.ndarray, at_least: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the wanted cells of every list and the cells of the nearest lists to search them among."""
        sizes = np.diff(self.starts)
        for order in self.order:
            rows = self.members[self.starts[order[0]] : self.starts[order[0] + 1]]
            rows = rows[wanted[rows]]
            if not len(rows):
                continue
            reach = max(n_read, int(np.searchsorted(np.cumsum(sizes[order]), at_least)) + 1)
            yield rows, np.concatenate([self.members[self.starts[i] : self.starts[i + 1]] for i in order[:reach]])


def _heaps(values: np.ndarray, size: int) -> np.ndarray:
    """Number the places that at least ``size`` cells share; -1 for all other cells, shape (n_cells,)."""
    rows = np.ascontiguousarray(values + 0)  # -0.0 is 0.0
    rows = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, place, counts = np.unique(rows, return_inverse=True, return_counts=True)
    number = np.full(len(counts), -1)
    large = counts >= size
    number[large] = np.arange(large.sum())
    return number[place.ravel()]


def _draw_heaps(indices: np.ndarray, heaps: np.ndarray, k: int, ties: TieRule) -> None:
    """Write the neighbours of all cells of heaps, numbered as :func:`_heaps` does."""
    for heap in range(heaps.max() + 1):
        members = np.flatnonzero(heaps == heap)
        indices[members] = _draw(members, k, ties)


def _draw(members: np.ndarray, k: int, ties: TieRule) -> np.ndarray:
    """Return k cells of a heap for each of its members, itself first.

    The members are put in an order drawn by ``ties``; every one takes the first by ``ties`` of a stretch of that order
    that begins at a place of its own. The cost is linear in the members.
    """
    m, stretch = len(members), 4 * k
    own = ties(members, members)
    drawn = members[np.argsort(own, kind="stable")]
    place = keyed_bits(own, np.zeros(m, dtype=np.uint64)) % np.uint64(m)
    found = np.empty((m, k), dtype=np.int64)
    for part in range(0, m, 4096):
        rows = slice(part, min(m, part + 4096))
        other = drawn[(place[rows, None].astype(np.int64) + np.arange(stretch)) % m]
        keys = np.where(other == members[rows, None], np.uint64(2**64 - 1), ties(members[rows, None], other))
        first = np.argsort(keys, axis=1)[:, : k - 1]
        found[rows, 0] = members[rows]
        found[rows, 1:] = np.take_along_axis(other, first, axis=1)
    return found
