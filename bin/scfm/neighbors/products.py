"""Distances by matrix products, and the candidates that products of single precision give in half the time.

Which candidates are the nearest is settled in :mod:`scfm.neighbors.exact`, from how far rounding may move a distance.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

#: rows and columns of the products computed at once, few enough for the processor's cache
_TILE = (256, 8192)


def norms(values: np.ndarray) -> np.ndarray:
    """Return the squared norms of rows in double precision."""
    return np.einsum("ij,ij->i", values, values, dtype=np.float64)


def squared_distances(some: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return all squared distances by a matrix product, shape (n_some, n_among)."""
    return norms(some)[:, None] + norms(among)[None, :] - 2 * (some @ among.T)


def candidates_of_single(some: np.ndarray, among: np.ndarray, asked: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest of every row by matrix products of single precision, and how far rounding may move them.

    scikit-learn's search computes in double precision whatever it is given; this takes half its time or less. Blocks of
    rows are spread over ``OMP_NUM_THREADS`` threads and don't depend on each other.

    Parameters
    ----------
    some, among
        Shapes (n_rows, n_dims) and (n_columns, n_dims), float32.
    asked
        Candidates per row, at most n_columns.

    Returns
    -------
    Columns, shape (n_rows, asked), the farthest one last; for every row the largest error of a squared distance.
    """
    from concurrent.futures import ThreadPoolExecutor

    n, d = among.shape
    single = np.finfo(np.float32)
    center = among.mean(axis=0, dtype=np.float64).astype(np.float32)
    # with the extra column one product gives |y|^2 - 2xy, which orders the columns of a row
    right = np.empty((n, d + 1), dtype=np.float32)
    np.subtract(among, center, out=right[:, :d])
    squared = norms(right[:, :d])
    right[:, d] = squared
    found = np.empty((len(some), asked), dtype=np.int64)
    slack = np.empty(len(some))

    def search(part: slice) -> None:
        left = np.empty((part.stop - part.start, d + 1), dtype=np.float32)
        np.subtract(some[part], center, out=left[:, :d])
        largest = norms(left[:, :d]) + squared.max()
        # what underflows is lost as well; where a product may overflow nothing is known
        slack[part] = (d + 8) * (single.eps * largest + single.tiny)
        slack[part][largest > single.max / 8] = np.inf
        left[:, :d] *= -2
        left[:, d] = 1
        found[part] = _smallest_products(left, right, asked)

    n_threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    parts = [slice(start, min(start + _TILE[0], len(some))) for start in range(0, len(some), _TILE[0])]
    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(search, parts))
    return found, slack


@cache
def _libraries() -> ThreadpoolController:
    """Return what sets the threads of linear algebra; finding the libraries takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _smallest_products(left: np.ndarray, right: np.ndarray, asked: int) -> np.ndarray:
    """Return, for every row of ``left``, the rows of ``right`` with the smallest products, the largest of them last.

    Products are computed for some columns at a time. What is kept of a row are those below a bound, the largest of the
    ``asked`` smallest ones so far; it is lowered whenever there is no more room.

    Parameters
    ----------
    left, right
        Shapes (n_rows, n_dims) and (n_columns, n_dims).
    asked
        How many, at most n_columns.

    Returns
    -------
    Shape (n_rows, asked).
    """
    width = max(_TILE[1], asked)
    table = left @ right[:width].T
    found = _smallest(table, asked)
    if len(right) <= width:
        return found
    kept = _Kept(found, np.take_along_axis(table, found, axis=1), room=4 * asked)
    for start in range(width, len(right), width):
        part = right[start : start + width]
        kept.add(np.matmul(left, part.T, out=table[:, : len(part)] if len(part) == width else None), start)
    kept.tighten()
    return kept.columns[:, :asked]


class _Kept:
    """The smallest values of every row of a table that is seen part by part.

    Parameters
    ----------
    columns, values
        The smallest of the first part, the largest of them last, shape (n_rows, asked).
    room
        Values to keep before the bound is lowered.
    """

    def __init__(self, columns: np.ndarray, values: np.ndarray, room: int) -> None:
        self.asked = columns.shape[1]
        self.columns, self.values = columns, values
        self._widen(room)
        self.counts = np.full(len(columns), self.asked)
        self.bound = values[:, -1].copy()

    def add(self, table: np.ndarray, start: int) -> None:
        """Keep what is below the bounds in a part whose first column is ``start``."""
        place = np.flatnonzero(table < self.bound[:, None])
        row = place // table.shape[1]
        new = np.bincount(row, minlength=len(table))
        if (self.counts + new).max() > self.values.shape[1]:
            self.tighten()
            still = table.ravel()[place] < self.bound[row]
            place, row = place[still], row[still]
            new = np.bincount(row, minlength=len(table))
            self._widen(self.asked + int(new.max()))
        own = self.counts[row] + _rank_in_row(row, new)
        self.values[row, own], self.columns[row, own] = table.ravel()[place], start + place - row * table.shape[1]
        self.counts += new

    def tighten(self) -> None:
        """Keep the smallest ones only, the largest of them last, and lower the bounds to it."""
        smallest = np.argpartition(self.values, self.asked - 1, axis=1)[:, : self.asked]
        self.columns[:, : self.asked] = np.take_along_axis(self.columns, smallest, axis=1)
        self.values[:, : self.asked] = np.take_along_axis(self.values, smallest, axis=1)
        self.values[:, self.asked :] = np.inf
        self.counts[:] = self.asked
        self.bound = self.values[:, self.asked - 1].copy()

    def _widen(self, room: int) -> None:
        """Make room for so many values of every row."""
        more = ((0, 0), (0, max(0, room - self.values.shape[1])))
        self.values = np.pad(self.values, more, constant_values=np.inf)
        self.columns = np.pad(self.columns, more)


def _rank_in_row(row: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return how many entries of the same row are before each; rows ascend, ``counts`` has the entries of every row."""
    return np.arange(len(row)) - (np.cumsum(counts) - counts)[row]


def _smallest(table: np.ndarray, asked: int) -> np.ndarray:
    """Return the columns of the smallest values of every row, the largest of them last; shape (n_rows, asked).

    Of many columns every eighth one gives a bound that more than ``asked`` values are below, with few exceptions.
    """
    if table.shape[1] < 16 * asked:
        return np.argpartition(table, asked - 1, axis=1)[:, :asked]
    some = table[:, ::8]
    expected = asked // 5 + 8  # 1.6 times as many in all columns, and more of few
    bound = np.partition(some, expected, axis=1)[:, expected]
    place = np.flatnonzero(table <= bound[:, None])
    row = place // table.shape[1]
    counts = np.bincount(row, minlength=len(table))
    # those of every row, side by side and filled up
    values = np.full((len(table), max(asked, counts.max())), np.inf, dtype=table.dtype)
    columns = np.zeros(values.shape, dtype=np.int64)
    own = _rank_in_row(row, counts)
    values[row, own], columns[row, own] = table.ravel()[place], place - row * table.shape[1]
    found = np.take_along_axis(columns, np.argpartition(values, asked - 1, axis=1)[:, :asked], axis=1)
    few = np.flatnonzero(counts < asked)
    found[few] = np.argpartition(table[few], asked - 1, axis=1)[:, :asked]
    return found
