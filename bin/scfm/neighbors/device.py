"""The exact search by PyTorch on a device: what :func:`scfm.neighbors.exact.nearest` does there, but for ties.

Squared distances of a tile of rows to all columns are one matrix product in double precision. Of these the smallest are
taken, and ordered by distances in double precision that are computed again from the differences. Where rounding could
turn the order of two cells around, or they are at exactly the same distance, the row is handed back as unsure: these
distances are computed again and the row is sorted by the rule of ties, with NumPy, so that neighbours do not depend on
the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scfm.task.device import on_device

if TYPE_CHECKING:
    import torch

#: largest temporary arrays together, in bytes
TILE_BYTES = 2 * 2**30
#: squared distance of a column that only fills the last block
_FAR = 1e300
#: columns per candidate from which on the smallest are sought by blocks
_MANY = 16


@dataclass(frozen=True)
class Found:
    """Neighbours as a device orders them.

    Attributes
    ----------
    indices, distances
        As :func:`scfm.neighbors.exact.nearest` returns them, shape (n_rows, k).
    beyond
        Squared distance of the last candidate as the matrix product rounds, shape (n_rows,).
    unsure
        Rows whose order is for the rule of ties to settle, ascending, shape (n_unsure,).
    candidates
        Their candidates, places in the columns, shape (n_unsure, n_asked).
    far
        Distances of these, ascending, -1 for the row itself, shape (n_unsure, n_asked).
    close
        Which of these rounding can't tell from the one before or after, shape (n_unsure, n_asked).
    """

    indices: np.ndarray
    distances: np.ndarray
    beyond: np.ndarray
    unsure: np.ndarray
    candidates: np.ndarray
    far: np.ndarray
    close: np.ndarray


class Columns:
    """The columns of a search on a device.

    Parameters
    ----------
    values
        Their coordinates, shape (n_columns, n_dims).
    device
        PyTorch's name of a device.
    multiple
        The number of columns is filled up to a multiple of this with columns that are far from everything.
    """

    def __init__(self, values: np.ndarray, device: str, multiple: int = 1) -> None:
        import torch

        self.n_dims = d = values.shape[1]
        points = on_device(values, device)
        # with these two further columns one product gives |x|^2 + |y|^2 - 2xy
        self.extended = torch.zeros(-(-len(values) // multiple) * multiple, d + 2, dtype=torch.float64, device=device)
        self.extended[: len(values), :d] = points
        self.extended[:, d] = self.extended[:, :d].square().sum(dim=1)
        self.extended[len(values) :, d] = _FAR
        self.extended[:, d + 1] = 1

    @property
    def points(self) -> torch.Tensor:
        """Coordinates in double precision, shape (n_columns and those that fill up, n_dims)."""
        return self.extended[:, : self.n_dims]

    def squared_distances(self, some: torch.Tensor) -> torch.Tensor:
        """Return all squared distances of some points, float64, shape (n_some, n_columns and those that fill up)."""
        import torch

        norms = some.square().sum(dim=1, keepdim=True)
        return torch.cat([-2 * some, torch.ones_like(norms), norms], dim=1) @ self.extended.T


def tiles(n: int, row_values: int, share: float = 1.0) -> Iterator[slice]:
    """Yield slices over n rows, at least one slice, whose arrays of so many numbers a row take a share of
    :data:`TILE_BYTES`.
    """
    step = max(1, int(TILE_BYTES * share) // (8 * row_values))
    for start in range(0, max(n, 1), step):
        yield slice(start, min(n, start + step))


def search(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, *, k: int, asked: int, device: str) -> Found:
    """Find the k nearest columns of every row, a row that is a column itself first.

    Parameters
    ----------
    values
        Coordinates, shape (n_cells, n_dims).
    rows, columns
        Positions in them, shapes (n_rows,) and (n_columns,).
    k, asked
        Neighbours, and candidates among which they are sought, at most n_columns.
    device
        PyTorch's name of a device.
    """
    import torch

    per_block = 1 if len(columns) < _MANY * asked else int((len(columns) / asked) ** 0.5)
    among = Columns(values[columns], device, per_block)
    points, own, where = (on_device(array, device) for array in (values[rows], rows, columns))
    indices, distances = np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k))
    beyond = np.empty(len(rows))
    unsure: list[tuple[np.ndarray, ...]] = []
    # differences of the refinement are as exact as on the processor; their sums are rounded in another order
    tolerance = 4 * (among.n_dims + 2) * np.finfo(np.float64).eps
    for part in tiles(len(rows), 2 * len(among.extended) + asked * (3 * among.n_dims + 3 * per_block)):
        some = points[part].double()
        squared, near = _smallest(among.squared_distances(some), asked, per_block)
        distance = (among.points[near] - some[:, None]).square().sum(dim=2).sqrt()
        distance[where[near] == own[part, None]] = -1
        distance, order = distance.sort(dim=1)
        near = near.gather(1, order)
        same = (distance[:, 1:] - distance[:, :-1]) <= tolerance * distance[:, 1:]
        beyond[part] = squared.amax(dim=1).cpu().numpy()
        indices[part] = where[near[:, :k]].cpu().numpy()
        distances[part] = distance[:, :k].clamp(min=0).cpu().numpy()
        tied = torch.nonzero(same[:, :k].any(dim=1)).ravel()
        pairs = torch.nn.functional.pad(same[tied], (1, 1))
        found = (tied + part.start, near[tied], distance[tied], pairs[:, 1:] | pairs[:, :-1])
        unsure.append(tuple(array.cpu().numpy() for array in found))
    return Found(indices, distances, beyond, *(np.concatenate(arrays) for arrays in zip(*unsure, strict=True)))


def within_reach(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, slack: np.ndarray, *, k: int, device: str
) -> Iterator[np.ndarray]:
    """Yield for every row all columns that may be among its k nearest: those up to the k-th, and rounding.

    Parameters
    ----------
    values, rows, columns, k, device
        As in :func:`search`.
    slack
        How far rounding may move a squared distance, shape (n_rows,).
    """
    import torch

    among = Columns(values[columns], device)
    points, more = on_device(values[rows], device), on_device(2 * slack, device)
    for part in tiles(len(rows), 4 * len(columns)):
        squared = among.squared_distances(points[part].double())
        limit = squared.topk(k, dim=1, largest=False, sorted=False).values.amax(dim=1) + more[part]
        close = squared <= limit[:, None]
        ends = close.sum(dim=1).cumsum(dim=0).cpu().numpy()
        yield from np.split(torch.nonzero(close)[:, 1].cpu().numpy(), ends[:-1])


def _smallest(squared: torch.Tensor, asked: int, per_block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the smallest numbers of every row, in no order, and their columns; both of shape (n_rows, asked).

    The ``asked`` smallest lie in the ``asked`` blocks with the smallest minima: one pass over all columns, where a
    selection among them takes a dozen. Column j is in block ``j % n_blocks``.
    """
    import torch

    if per_block == 1:
        found = squared.topk(asked, dim=1, largest=False, sorted=False)
        return found.values, found.indices
    n_blocks = squared.shape[1] // per_block
    minima = squared.view(len(squared), per_block, n_blocks).amin(dim=1)
    blocks = minima.topk(asked, dim=1, largest=False, sorted=False).indices
    members = torch.arange(0, squared.shape[1], n_blocks, device=squared.device)
    places = (blocks[:, :, None] + members).flatten(1)
    kept = squared.gather(1, places).topk(asked, dim=1, largest=False, sorted=False)
    return kept.values, places.gather(1, kept.indices)
