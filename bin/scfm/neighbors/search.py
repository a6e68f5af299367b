"""The nearest neighbours of every cell, searched once per embedding and shared by metrics and UMAPs.

Rules, the same for everything that reads ``<id>.knn.npz``: Euclidean distance, cells sorted by id, **self is the
first column** with distance 0 and is counted in k (as in scib-metrics). Neighbours at exactly the same distance are
ordered by a hash of the two cell ids. The order of the rows in a file therefore never matters, and where many cells
share one place (a one-hot control, rounded coordinates) each cell gets its own random-like draw of them: taking
"the first by name" instead would make the same few cells the neighbours of all others.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import NotApplicable, ScfmError

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

#: candidates asked for beyond k, so that the refined order of the first k is almost always settled at once
_MARGIN = 10
#: rounding of a squared distance computed by a matrix product, relative to the squared norms
_ROUNDING = 1e-13
#: up to this many cells all distances are computed at once
_SMALL = 2000
#: largest temporary array, in bytes
_BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Neighbors:
    """Neighbours of n cells.

    Attributes
    ----------
    cell_ids
        Cell ids, shape (n,), sorted.
    indices
        Rows of the neighbours in ``cell_ids``, shape (n, k), int32; column 0 is the cell itself.
    distances
        Euclidean distances, shape (n, k), float32, ascending; column 0 is 0.
    """

    cell_ids: "np.ndarray"
    indices: "np.ndarray"
    distances: "np.ndarray"

    def __post_init__(self) -> None:
        n = len(self.cell_ids)
        if self.indices.shape != self.distances.shape or self.indices.ndim != 2 or len(self.indices) != n:
            raise ScfmError(
                f"Neighbours of {n} cells need two tables of {n} rows; got {self.indices.shape} and"
                f" {self.distances.shape}."
            )

    @property
    def k(self) -> int:
        """Neighbours per cell, self counted."""
        return self.indices.shape[1]

    def first(self, k: int) -> "Neighbors":
        """Return the nearest ``min(k, self.k)`` neighbours, self counted."""
        return Neighbors(self.cell_ids, self.indices[:, :k], self.distances[:, :k])

    def write(self, path: Path | str) -> None:
        """Write ``<id>.knn.npz``."""
        import numpy as np

        ids = np.asarray(self.cell_ids, dtype=str)  # no object arrays: they would need pickle to be read
        np.savez(path, cell_ids=ids, indices=self.indices.astype(np.int32), distances=self.distances.astype(np.float32))


def read_neighbors(path: Path | str) -> Neighbors:
    """Read ``<id>.knn.npz``; raise :class:`ScfmError` where it is not what :meth:`Neighbors.write` leaves."""
    import numpy as np

    with np.load(path, allow_pickle=False) as content:
        missing = {"cell_ids", "indices", "distances"} - set(content.files)
        if missing:
            raise ScfmError(
                f"{path}: arrays missing: {', '.join(sorted(missing))}. Expected a file written by find_neighbors.py."
            )
        found = Neighbors(content["cell_ids"].astype(object), content["indices"], content["distances"])
    rows = np.arange(len(found.cell_ids))
    if not np.array_equal(found.indices[:, 0], rows) or found.distances[:, 0].any():
        raise ScfmError(f"{path}: the first neighbour of every cell must be the cell itself at distance 0.")
    if found.indices.min() < 0 or found.indices.max() >= len(rows):
        raise ScfmError(f"{path}: indices outside 0 to {len(rows) - 1}.")
    return found


def find_neighbors(
    values: "np.ndarray",
    cell_ids: "np.ndarray",
    *,
    k: int = 90,
    exact_max_cells: int = 200_000,
    seed: int = 0,
    cpus: int = 1,
) -> Neighbors:
    """Find the k nearest neighbours of every cell, exact up to ``exact_max_cells`` cells, else by NN-descent.

    Parameters
    ----------
    values
        Coordinates, shape (n_cells, n_dims); any row order.
    cell_ids
        Unique cell ids, shape (n_cells,).
    k
        Neighbours per cell, self counted; with fewer cells every cell is a neighbour.
    exact_max_cells
        Largest number of cells for the exact search.
    seed
        Seed of the approximate search.
    cpus
        Threads of the approximate search (the exact one follows ``OMP_NUM_THREADS``).

    Raises
    ------
    NotApplicable
        With fewer than two cells.
    """
    import numpy as np

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
    k = min(k, len(ids))
    hashes = _hash_ids(ids)
    if len(ids) <= exact_max_cells:
        indices, distances = _exact(values, hashes, k)
    else:
        indices, distances = _approximate(values, hashes, k, seed=seed, cpus=cpus)
    return Neighbors(ids.astype(object), indices.astype(np.int32), distances.astype(np.float32))


def _hash_ids(ids: "np.ndarray") -> "np.ndarray":
    """Return a 64-bit hash per cell id, the same on every machine."""
    import numpy as np

    digests = b"".join(hashlib.blake2b(str(c).encode(), digest_size=8).digest() for c in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _tie_keys(own: "np.ndarray", other: "np.ndarray") -> "np.ndarray":
    """Return the rank of ``other`` among neighbours equally far from ``own`` (the mixing function of SplitMix64)."""
    import numpy as np

    key = own * np.uint64(0x9E3779B97F4A7C15) + other
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


def _blocks(n: int, row_bytes: int) -> Iterator[slice]:
    """Yield slices over n rows whose temporary array stays under the limit."""
    step = max(1, _BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def _sort_candidates(
    values: "np.ndarray",
    hashes: "np.ndarray",
    rows: "np.ndarray",
    candidates: "np.ndarray",
    k: int,
) -> "tuple[np.ndarray, np.ndarray]":
    """Return the k nearest of each row's candidates by distances recomputed from the differences, self first."""
    import numpy as np

    indices = np.empty((len(rows), k), dtype=np.int64)
    distances = np.empty((len(rows), k))
    for part in _blocks(len(rows), candidates.shape[1] * values.shape[1] * 8):
        own, other = rows[part, None], candidates[part]
        difference = values[other].astype(np.float64) - values[own].astype(np.float64)
        distance = np.sqrt(np.einsum("rcd,rcd->rc", difference, difference))
        distance[own == other] = -1.0
        order = np.lexsort((_tie_keys(hashes[own], hashes[other]), distance), axis=1)[:, :k]
        indices[part] = np.take_along_axis(other, order, axis=1)
        distances[part] = np.take_along_axis(distance, order, axis=1)
    distances[:, 0] = np.maximum(distances[:, 0], 0.0)
    return indices, distances


def _candidates(values: "np.ndarray", asked: int) -> "tuple[np.ndarray, np.ndarray]":
    """Return candidates for the nearest neighbours of every cell and the squared distance of the last, both as matrix
    products round.

    Few cells need no library: importing scikit-learn takes longer than searching among them.
    """
    import numpy as np

    if len(values) > _SMALL:
        from sklearn.neighbors import NearestNeighbors

        distances, candidates = NearestNeighbors(n_neighbors=asked, algorithm="brute").fit(values).kneighbors(values)
        return candidates, distances[:, -1] ** 2
    wide = values.astype(np.float64)
    norms = np.einsum("ij,ij->i", wide, wide)
    squared = norms[:, None] + norms[None, :] - 2 * (wide @ wide.T)
    candidates = np.argpartition(squared, asked - 1, axis=1)[:, :asked]
    return candidates, np.take_along_axis(squared, candidates[:, -1:], axis=1).ravel()


def _exact(values: "np.ndarray", hashes: "np.ndarray", k: int) -> "tuple[np.ndarray, np.ndarray]":
    """Exact search: candidates by matrix products, then order and ties settled in double precision."""
    import numpy as np

    n = len(values)
    asked = min(n, k + _MARGIN)
    candidates, last = _candidates(values, asked)
    rows = np.arange(n)
    indices, distances = _sort_candidates(values, hashes, rows, candidates, k)
    if asked < n:
        norms = np.einsum("ij,ij->i", values, values, dtype=np.float64)
        slack = _ROUNDING * (norms + norms.max())
        unsettled = np.flatnonzero((last <= distances[:, -1] ** 2 + 2 * slack) | (indices[:, 0] != rows))
        if len(unsettled):
            indices[unsettled], distances[unsettled] = _settle_ties(values, hashes, unsettled, slack, k)
    return indices, distances


def _settle_ties(
    values: "np.ndarray",
    hashes: "np.ndarray",
    rows: "np.ndarray",
    slack: "np.ndarray",
    k: int,
) -> "tuple[np.ndarray, np.ndarray]":
    """Search among all cells, for rows whose k-th neighbour is tied with cells beyond the candidates."""
    import numpy as np

    log.debug("%d of %d cells have ties at the last neighbour", len(rows), len(values))
    indices, distances = np.empty((len(rows), k), dtype=np.int64), np.zeros((len(rows), k))
    points, place, sizes = np.unique(values[rows], axis=0, return_inverse=True, return_counts=True)
    place = place.ravel()
    for heap in np.flatnonzero(sizes >= k):
        members = np.flatnonzero((values == points[heap]).all(axis=1))
        mine = np.flatnonzero(place == heap)
        indices[mine] = _draw_from_heap(members, hashes, k)[np.searchsorted(members, rows[mine])]
    rest = np.flatnonzero(sizes[place] < k)
    if not len(rest):
        return indices, distances
    wide = values.astype(np.float64)
    norms = np.einsum("ij,ij->i", wide, wide)
    for part in _blocks(len(rest), len(values) * 8):
        own = rows[rest[part]]
        squared = norms[own, None] + norms[None, :] - 2 * (wide[own] @ wide.T)
        limit = np.partition(squared, k - 1, axis=1)[:, k - 1] + 2 * slack[own]
        for target, row, line, top in zip(rest[part], own, squared, limit, strict=True):
            candidates = np.union1d(np.flatnonzero(line <= top), [row])[None, :]
            found = _sort_candidates(values, hashes, np.array([row]), candidates, k)
            indices[target], distances[target] = found[0][0], found[1][0]
    return indices, distances


def _draw_from_heap(members: "np.ndarray", hashes: "np.ndarray", k: int) -> "np.ndarray":
    """Return k of a heap of cells in one place for each of them, self first, the others by the hash of the pair."""
    import numpy as np

    chosen = np.empty((len(members), k), dtype=np.int64)
    for part in _blocks(len(members), len(members) * 24):
        keys = _tie_keys(hashes[members[part], None], hashes[None, members])
        keys[np.arange(keys.shape[0]), np.arange(part.start, part.stop)] = 0
        nearest = np.argpartition(keys, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(keys, nearest, axis=1), axis=1)
        chosen[part] = members[np.take_along_axis(nearest, order, axis=1)]
    return chosen


def _approximate(
    values: "np.ndarray", hashes: "np.ndarray", k: int, *, seed: int, cpus: int
) -> "tuple[np.ndarray, np.ndarray]":
    """NN-descent with the settings that UMAP and scib-metrics use; distances and order settled as in the exact
    search.
    """
    import numpy as np
    from pynndescent import NNDescent

    n = len(values)
    asked = min(n, k + _MARGIN)
    index = NNDescent(
        values,
        n_neighbors=asked,
        random_state=seed,
        n_jobs=cpus,
        low_memory=True,
        compressed=False,
        max_candidates=60,
        n_trees=min(64, 5 + round(n**0.5 / 20)),
        n_iters=max(5, round(np.log2(n))),
    )
    candidates = index.neighbor_graph[0].astype(np.int64)
    rows = np.arange(n)
    lost = ~(candidates == rows[:, None]).any(axis=1)
    candidates[lost, -1] = rows[lost]
    short = int((candidates < 0).sum())
    if short:
        raise ScfmError(
            f"The approximate search found too few neighbours for {int((candidates < 0).any(axis=1).sum())} cells."
            " Raise --exact_max_cells above the number of cells to search exactly."
        )
    return _sort_candidates(values, hashes, rows, candidates, k)
