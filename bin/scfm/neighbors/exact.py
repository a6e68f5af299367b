"""The exact search: candidates by matrix products, then order and ties settled in double precision.

:func:`nearest` serves every search of the package. What differs between them is who is searched for (``rows``), among
whom (``columns``), and how neighbours at exactly the same distance are ordered (a :data:`TieRule`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypedDict

import numpy as np

from scfm.keyed import id_hashes, pair_bits
from scfm.neighbors.products import candidates_of_single, norms, squared_distances
from scfm.task.device import CPU

#: gives for positions of cells (own, other; broadcast) the uint64 rank of ``other`` among those equally far from
#: ``own``, at least 1; different for different ``other``
TieRule = Callable[[np.ndarray, np.ndarray], np.ndarray]

#: candidates asked for beyond k, so that the refined order of the first k is almost always settled at once
MARGIN = 10
#: rounding of a squared distance computed by a matrix product, relative to the squared norms
_ROUNDING = 1e-13
#: up to this many cells all distances are computed at once
_SMALL = 2000
#: bytes of temporary arrays that the processor's cache holds
_CACHED_BYTES = 2**20
#: largest temporary array, in bytes
_BLOCK_BYTES = 64 * 2**20

log = logging.getLogger(__name__)


class _How(TypedDict):
    """How tied rows are settled."""

    k: int
    ties: TieRule
    device: str


def by_hash(cell_ids: np.ndarray) -> TieRule:
    """Return the tie rule that draws neighbours at the same distance by a hash of the two cell ids.

    Every cell gets its own random-like draw: "the first by name" would make the same few cells the neighbours of all.
    """
    hashes = id_hashes(cell_ids)
    return lambda own, other: pair_bits(hashes[own], hashes[other])


def by_position(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Order neighbours at the same distance by their position."""
    return np.broadcast_to(other, np.broadcast_shapes(np.shape(own), np.shape(other))).astype(np.uint64) + np.uint64(1)


def nearest(
    values: np.ndarray,
    k: int,
    *,
    ties: TieRule,
    rows: np.ndarray | None = None,
    columns: np.ndarray | None = None,
    device: str = CPU,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest cells exactly, by Euclidean distance; a cell that is searched among is its own first one.

    Parameters
    ----------
    values
        Coordinates, shape (n_cells, n_dims), float32 or float64, finite.
    k
        Cells to find, at least 1; all where there are fewer.
    ties
        Order of cells at the same distance.
    rows
        Positions of the cells to find neighbours for, shape (n_rows,); all cells by default.
    columns
        Positions of the cells to search among, different, shape (n_columns,); all cells by default.
    device
        Where distances are computed (:mod:`scfm.task.device`); neighbours are the same everywhere.

    Returns
    -------
    Positions in ``values`` and distances in double precision, ascending, both shape (n_rows, min(k, n_columns)).
    """
    everyone = np.arange(len(values))
    rows, columns = (everyone if chosen is None else chosen for chosen in (rows, columns))
    how: _How = {"k": min(k, len(columns)), "ties": ties, "device": device}
    if device == CPU and values.dtype == np.float32 and max(len(rows), len(columns)) > _SMALL:
        indices, distances, unsettled = _nearest_by_single(values, rows, columns, how["k"], ties)
        if len(unsettled):
            log.debug("%d of %d cells need distances of double precision", len(unsettled), len(rows))
            indices[unsettled], distances[unsettled] = _nearest_by_double(values, rows[unsettled], columns, **how)
        return indices, distances
    return _nearest_by_double(values, rows, columns, **how)


def _nearest_by_single(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, k: int, ties: TieRule
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what :func:`nearest` does, and the rows for which products of single precision are not enough."""
    some, among = values[rows], values[columns]
    asked = min(len(columns), k + MARGIN)
    candidates, slack = candidates_of_single(some, among, asked)
    last = norms(some.astype(np.float64) - among[candidates[:, -1]])
    indices, distances = sort_candidates(values, rows, columns[candidates], k, ties)
    if asked == len(columns):
        return indices, distances, rows[:0]
    may_be_nearer = last <= distances[:, -1] ** 2 + 2 * slack  # a cell beyond the candidates than the k-th
    return indices, distances, np.flatnonzero(may_be_nearer | _is_lost(rows, columns, indices))


def _nearest_by_double(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, *, k: int, ties: TieRule, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return what :func:`nearest` does, candidates chosen in double precision."""
    some, among = values[rows], values[columns]
    asked = min(len(columns), k + MARGIN)
    if device == CPU:
        candidates, last = _candidates(some, among, asked)
        indices, distances = sort_candidates(values, rows, columns[candidates], k, ties)
    else:
        indices, distances, last = _on_device(values, rows, columns, k, asked, ties=ties, device=device)
    if asked < len(columns):
        slack = _slack(some, among)
        may_be_nearer = last <= distances[:, -1] ** 2 + 2 * slack
        unsettled = np.flatnonzero(may_be_nearer | _is_lost(rows, columns, indices))
        if len(unsettled):
            log.debug("%d of %d cells have ties at the last neighbour", len(unsettled), len(rows))
            heaped = distances[unsettled, -1] == 0
            how: _How = {"k": k, "ties": ties, "device": device}
            for part, settle in ((unsettled[heaped], _settle_heaps), (unsettled[~heaped], _settle_rows)):
                if len(part):
                    indices[part], distances[part] = settle(values, rows[part], columns, slack[part], **how)
    return indices, distances


def _is_lost(rows: np.ndarray, columns: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return which rows are searched among and not their own first neighbour."""
    return np.isin(rows, columns, kind="table") & (indices[:, 0] != rows)


def sort_candidates(
    values: np.ndarray, rows: np.ndarray, candidates: np.ndarray, k: int, ties: TieRule
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest of each row's candidates by distances recomputed from the differences, self first.

    Parameters
    ----------
    values
        Coordinates, shape (n_cells, n_dims).
    rows
        Positions, shape (n_rows,).
    candidates
        Positions, shape (n_rows, n_candidates).
    k
        At most n_candidates.
    ties
        Order of candidates at the same distance.
    """
    indices = np.empty((len(rows), k), dtype=np.int64)
    distances = np.empty((len(rows), k))
    for part in _blocks(len(rows), candidates.shape[1] * values.shape[1] * 8, _CACHED_BYTES):
        own, other = rows[part, None], candidates[part]
        difference = values[other].astype(np.float64)
        difference -= values[own]
        distance = np.sqrt(np.einsum("rcd,rcd->rc", difference, difference))
        distance[own == other] = -1.0
        order = np.argsort(distance, axis=1)
        ranked = np.take_along_axis(distance, order, axis=1)
        tied = np.flatnonzero((ranked[:, 1:] == ranked[:, :-1]).any(axis=1))
        if len(tied):
            order[tied] = np.lexsort((ties(own[tied], other[tied]), distance[tied]), axis=1)
        indices[part] = np.take_along_axis(other, order[:, :k], axis=1)
        distances[part] = ranked[:, :k]
    distances[:, 0] = np.maximum(distances[:, 0], 0.0)
    return indices, distances


def _on_device(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, k: int, asked: int, *, ties: TieRule, device: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what :func:`sort_candidates` makes of the candidates, and the squared distance of the last of them.

    Of rows that the device is unsure of, the distances that it can't tell apart are computed as there.
    """
    from scfm.neighbors.device import search

    found = search(values, rows, columns, k=k, asked=asked, device=device)
    for part in _blocks(len(found.unsure), asked * 32):
        row, distance = found.unsure[part], found.far[part]
        own, other = rows[row, None], columns[found.candidates[part]]
        line, place = np.nonzero(found.close[part] & (own != other))
        difference = values[other[line, place]].astype(np.float64) - values[own[line, 0]].astype(np.float64)
        distance[line, place] = np.sqrt(np.einsum("pd,pd->p", difference, difference))
        order = np.lexsort((ties(own, other), distance), axis=1)[:, :k]
        found.indices[row] = np.take_along_axis(other, order, axis=1)
        found.distances[row] = np.take_along_axis(distance, order, axis=1).clip(min=0)
    return found.indices, found.distances, found.beyond


def _blocks(n: int, row_bytes: int, limit: int | None = None) -> Iterator[slice]:
    """Yield slices over n rows whose temporary array stays under a limit, by default the largest allowed."""
    step = max(1, (limit or _BLOCK_BYTES) // max(1, row_bytes))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def _slack(some: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return how far rounding may move a squared distance computed by a matrix product, for every row of ``some``."""
    return _ROUNDING * (norms(some) + norms(among).max())


def _candidates(some: np.ndarray, among: np.ndarray, asked: int) -> tuple[np.ndarray, np.ndarray]:
    """Return candidates for the nearest of every row, chosen by matrix products, and the squared distance of the last.

    Few cells need no library: importing scikit-learn takes longer than searching among them. Distances that
    scikit-learn returns are rounded to single precision where the coordinates are, which would hide a tie.
    """
    if max(len(some), len(among)) > _SMALL:
        from sklearn.neighbors import NearestNeighbors

        model = NearestNeighbors(n_neighbors=asked, algorithm="brute").fit(among)
        candidates = model.kneighbors(some, return_distance=False)
        return candidates, norms(some.astype(np.float64) - among[candidates[:, -1]])
    squared = squared_distances(some.astype(np.float64), among.astype(np.float64))
    candidates = np.argpartition(squared, asked - 1, axis=1)[:, :asked]
    return candidates, np.take_along_axis(squared, candidates[:, -1:], axis=1).ravel()


def _settle_rows(
    values: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    slack: np.ndarray,
    *,
    k: int,
    ties: TieRule,
    device: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Search among all columns, for rows whose k-th neighbour is tied with cells beyond the candidates."""
    indices, distances = np.empty((len(rows), k), dtype=np.int64), np.zeros((len(rows), k))
    listed = np.isin(rows, columns)
    if device == CPU:
        close = _within_reach(values, rows, columns, k, slack)
    else:
        from scfm.neighbors.device import within_reach

        close = within_reach(values, rows, columns, slack, k=k, device=device)
    for target, near in enumerate(close):
        own = rows[target : target + 1]
        candidates = np.union1d(columns[near], own[listed[target : target + 1]])[None, :]
        found = sort_candidates(values, own, candidates, k, ties)
        indices[target], distances[target] = found[0][0], found[1][0]
    return indices, distances


def _within_reach(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, k: int, slack: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield for every row all columns that may be among its k nearest: those up to the k-th, and rounding."""
    among = values[columns].astype(np.float64)
    for part in _blocks(len(rows), len(columns) * 8):
        squared = squared_distances(values[rows[part]].astype(np.float64), among)
        limit = np.partition(squared, k - 1, axis=1)[:, k - 1] + 2 * slack[part]
        yield from (np.flatnonzero(line <= top) for line, top in zip(squared, limit, strict=True))


def _settle_heaps(
    values: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    slack: np.ndarray,
    *,
    k: int,
    ties: TieRule,
    device: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the neighbours of rows that share their place with at least k columns: all are at distance 0."""
    indices, distances = np.empty((len(rows), k), dtype=np.int64), np.zeros((len(rows), k))
    points, place = np.unique(values[rows], axis=0, return_inverse=True)
    place = place.ravel()
    for heap, point in enumerate(points):
        mine = np.flatnonzero(place == heap)
        members = columns[(values[columns] == point).all(axis=1)]
        if len(members) < k:  # differences that rounding can't separate from 0
            how: _How = {"k": k, "ties": ties, "device": device}
            indices[mine], distances[mine] = _settle_rows(values, rows[mine], columns, slack[mine], **how)
            continue
        for part in _blocks(len(mine), len(members) * 24):
            own = rows[mine[part], None]
            keys = np.where(own == members, np.uint64(0), ties(own, members[None]))
            first = np.argpartition(keys, k - 1, axis=1)[:, :k]
            order = np.argsort(np.take_along_axis(keys, first, axis=1), axis=1)
            indices[mine[part]] = members[np.take_along_axis(first, order, axis=1)]
    return indices, distances
