"""Neighbours of cells and their file ``<id>.knn.npz``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scfm.errors import MADE_AGAIN, ScfmError
from scfm.io.arrays import read_arrays


@dataclass(frozen=True)
class Search:
    """How a search was done; by default exactly.

    Attributes
    ----------
    recall
        Share of the exact neighbours found, measured on a sample of cells; 1 for the exact search.
    n_lists
        Lists of the inverted file; 0 for the exact search.
    n_read
        Lists read for every cell; 0 for the exact search.
    """

    recall: float = 1.0
    n_lists: int = 0
    n_read: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether every neighbour is exact."""
        return self.n_lists == 0


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
    search
        How they were found; not in the file, the status of the step records it.
    """

    cell_ids: np.ndarray
    indices: np.ndarray
    distances: np.ndarray
    search: Search = field(default_factory=Search)

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

    def is_of(self, cell_ids: np.ndarray) -> bool:
        """Return whether these are the neighbours of just these cells, in this order."""
        return np.array_equal(self.cell_ids, cell_ids)

    def first(self, k: int) -> Neighbors:
        """Return the nearest ``min(k, self.k)`` neighbours, self counted."""
        return Neighbors(self.cell_ids, self.indices[:, :k], self.distances[:, :k])

    def write(self, path: Path | str) -> None:
        """Write ``<id>.knn.npz``."""
        ids = np.asarray(self.cell_ids, dtype=str)  # no object arrays: they would need pickle to be read
        np.savez(path, cell_ids=ids, indices=self.indices.astype(np.int32), distances=self.distances.astype(np.float32))


def read_neighbors(path: Path | str) -> Neighbors:
    """Read ``<id>.knn.npz`` with its cells sorted by id, whatever their order in the file.

    Raises
    ------
    ScfmError
        The file is damaged, arrays are missing, the first neighbour of a cell is not the cell itself, or an index has
        no row.
    """
    arrays = read_arrays(
        path,
        ("cell_ids", "indices", "distances"),
        expected="Expected a file written by find_neighbors.py.",
        damaged="{path} can't be read ({error}): it is damaged or no file of neighbours. " + MADE_AGAIN,
    )
    found = Neighbors(arrays["cell_ids"].astype(object), arrays["indices"], arrays["distances"])
    rows = np.arange(len(found.cell_ids))
    if not np.array_equal(found.indices[:, 0], rows) or found.distances[:, 0].any():
        raise ScfmError(f"{path}: the first neighbour of every cell must be the cell itself at distance 0.")
    if found.indices.min() < 0 or found.indices.max() >= len(rows):
        raise ScfmError(f"{path}: indices outside 0 to {len(rows) - 1}.")
    order = np.argsort(found.cell_ids.astype(str), kind="stable")
    if np.array_equal(order, rows):
        return found
    rank = np.empty_like(order)
    rank[order] = rows
    return Neighbors(found.cell_ids[order], rank[found.indices[order]].astype(np.int32), found.distances[order])
