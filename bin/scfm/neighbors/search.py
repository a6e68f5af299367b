"""The nearest neighbours of every cell, searched once per embedding and shared by metrics and UMAPs.

Rules, the same for everything that reads ``<id>.knn.npz``: Euclidean distance, cells sorted by id, **self is the
first column** with distance 0 and is counted in k (as in scib-metrics). Neighbours at exactly the same distance are
ordered by a hash of the two cell ids. The order of the rows in a file therefore never matters, and where many cells
share one place (a one-hot control, rounded coordinates) each cell gets its own random-like draw of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scfm.errors import NotApplicable, ScfmError
from scfm.neighbors.exact import TieRule, by_hash, nearest
from scfm.neighbors.inverted import nearest_of_many, nearly_nearest
from scfm.neighbors.table import Neighbors, Search
from scfm.task.device import CPU

#: up to this many cells every search is exact; on a GPU every search is
EXACT_MAX_CELLS = 50_000


def find_neighbors(
    values: np.ndarray,
    cell_ids: np.ndarray,
    *,
    k: int = 90,
    exact_max_cells: int = EXACT_MAX_CELLS,
    seed: int = 0,
    device: str = CPU,
) -> Neighbors:
    """Find the k nearest neighbours of every cell, exact up to ``exact_max_cells`` cells and on a GPU, else at least
    99 % of them.

    Parameters
    ----------
    values
        Coordinates, shape (n_cells, n_dims); any row order.
    cell_ids
        Unique cell ids, shape (n_cells,).
    k
        Neighbours per cell, self counted; with fewer cells every cell is a neighbour.
    exact_max_cells
        Largest number of cells for the exact search on the processor.
    seed
        Seed of the approximate search (:mod:`scfm.neighbors.inverted`). Threads follow ``OMP_NUM_THREADS`` and change
        no number.
    device
        Where distances are computed (:mod:`scfm.task.device`).

    Raises
    ------
    NotApplicable
        With fewer than two cells.
    ScfmError
        Ids and rows differ in number, ids occur twice, or coordinates are not finite.
    """
    if len(cell_ids) != len(values):
        raise ScfmError(f"{len(cell_ids)} cell ids for {len(values)} rows of coordinates.")
    if len(values) < 2:
        raise NotApplicable(f"Neighbours need at least two cells; there are {len(values)}.", "too_few_cells")
    ids = np.asarray(cell_ids, dtype=object).astype(str)
    order = np.argsort(ids, kind="stable")
    ids, values = ids[order], np.ascontiguousarray(np.asarray(values)[order])
    if (ids[1:] == ids[:-1]).any():
        raise ScfmError(
            f"{int((ids[1:] == ids[:-1]).sum())} cell ids occur twice; neighbours are keyed by unique cell ids."
        )
    if not np.isfinite(values).all():
        raise ScfmError("The embedding has coordinates that are not finite; it must pass validate_embedding.py first.")
    k, ties = min(k, len(ids)), by_hash(ids)
    indices, distances, search = _among_all(values, k, ties, exact_max_cells=exact_max_cells, seed=seed, device=device)
    return Neighbors(ids.astype(object), indices.astype(np.int32), distances.astype(np.float32), search)


def _among_all(
    values: np.ndarray, k: int, ties: TieRule, *, exact_max_cells: int, seed: int, device: str
) -> tuple[np.ndarray, np.ndarray, Search]:
    """Search by the way that the number of cells and the device allow."""
    if len(values) <= exact_max_cells:
        return *nearest(values, k, ties=ties, device=device), Search()
    if device != CPU:
        return *nearest_of_many(values, k, ties=ties, device=device), Search()
    return nearly_nearest(values, k, ties=ties, seed=seed)


def restrict_neighbors(
    found: Neighbors, values: np.ndarray, chosen: np.ndarray, *, k: int, device: str = CPU
) -> Neighbors:
    """Return the k nearest cells among chosen cells, as exact as the given neighbours among all cells.

    A cell's neighbours that are chosen are its nearest chosen cells; only cells with fewer than k of them are searched
    again.

    Parameters
    ----------
    found
        Neighbours among all cells.
    values
        Coordinates of the chosen cells, shape (n_chosen, n_dims).
    chosen
        Their rows in ``found``, ascending, shape (n_chosen,).
    k
        Neighbours per cell, self counted; at most n_chosen are returned.
    device
        Where distances are computed.
    """
    k, ids = min(k, len(chosen)), found.cell_ids[chosen]
    rank = np.full(len(found.cell_ids), -1)
    rank[chosen] = np.arange(len(chosen))
    near = rank[found.indices[chosen]]
    first, complete = _first_allowed(near >= 0, k)
    indices = np.zeros((len(chosen), k), dtype=np.int32)
    distances = np.zeros((len(chosen), k), dtype=np.float32)
    indices[:, : first.shape[1]] = np.take_along_axis(near, first, axis=1)
    distances[:, : first.shape[1]] = np.take_along_axis(found.distances[chosen], first, axis=1)
    short = np.flatnonzero(~complete)
    if len(short):
        indices[short], distances[short] = nearest(values, k, ties=by_hash(ids), rows=short, device=device)
    return Neighbors(ids, indices, distances)


def find_outside(
    values: np.ndarray,
    partitions: Sequence[np.ndarray],
    k: int,
    *,
    ties: TieRule,
    near: np.ndarray | None = None,
    device: str = CPU,
) -> list[np.ndarray]:
    """Find, for every cell, its k nearest cells outside its own group, for several partitions into groups.

    One search among all cells serves all partitions: the allowed ones among a cell's neighbours are its nearest
    allowed cells. Only cells with fewer than k of them are searched again, group by group.

    Parameters
    ----------
    values
        Coordinates, shape (n_cells, n_dims).
    partitions
        Group numbers of each partition, each of shape (n_cells,); -1 for a cell outside the partition, which is
        no cell's neighbour.
    k
        Number of neighbours.
    ties
        Order of cells at the same distance.
    near
        Nearest cells among all, where they are known: positions, nearest first, shape (n_cells, n_near).
    device
        Where distances are computed.

    Returns
    -------
    Per partition the positions, nearest first, shape (n_cells, k); -1 where a cell has fewer than k.
    """
    if near is None:  # the share of a cell's own group among its neighbours may be large
        wide = min(4 * k + 5, len(values))
        near, *_ = _among_all(values, wide, ties, exact_max_cells=EXACT_MAX_CELLS, seed=0, device=device)
    results = []
    for group in partitions:
        allowed = (group[near] != group[:, None]) & (group[near] >= 0)
        first, complete = _first_allowed(allowed, k)
        result = np.full((len(values), k), -1)
        result[:, : first.shape[1]] = np.where(
            np.take_along_axis(allowed, first, axis=1), np.take_along_axis(near, first, axis=1), -1
        )
        short = np.flatnonzero(~complete) if near.shape[1] < len(values) else near[:0, 0]
        for own in np.unique(group[short]):
            rows, columns = short[group[short] == own], np.flatnonzero((group != own) & (group >= 0))
            if len(columns):
                again, _ = nearest(values, k, ties=ties, rows=rows, columns=columns, device=device)
                result[rows, : again.shape[1]] = again
        results.append(result)
    return results


def _first_allowed(allowed: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of the first k allowed entries of every row, then of others, and which rows have k."""
    return np.argsort(~allowed, axis=1, kind="stable")[:, :k], allowed.sum(axis=1) >= k
