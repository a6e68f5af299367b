"""Distances between a few fixed cells: the same in a copy or rotation of an embedding, and in no other embedding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from scfm.keyed import id_hashes

if TYPE_CHECKING:
    import numpy as np

#: cells whose pairs are measured: 24 cells are 276 distances
N_CELLS = 24
#: fewer common distances are no ground for a statement
MIN_DISTANCES = 60


def chosen_cells(cell_ids: Iterable[str], n: int = N_CELLS) -> list[str]:
    """Return n cells of a data set, the same in every embedding: those whose hashed ids come first."""
    ids = sorted(map(str, cell_ids))
    return [ids[i] for i in id_hashes(ids).argsort(kind="stable")[:n]]


def fingerprint(cell_ids: "np.ndarray", values: "np.ndarray", chosen: Sequence[str]) -> list[float | None]:
    """Return the Euclidean distances between all pairs of the chosen cells.

    Parameters
    ----------
    cell_ids, values
        The embedding, shapes (n_cells,) and (n_cells, n_dims).
    chosen
        Cells of :func:`chosen_cells`.

    Returns
    -------
    n (n - 1) / 2 distances, six digits; None where the embedding lacks one of the two cells.
    """
    import numpy as np
    from scipy.spatial.distance import pdist

    row = {c: i for i, c in enumerate(cell_ids)}
    points = np.full((len(chosen), values.shape[1]), np.nan)
    for place, cell in enumerate(chosen):
        if cell in row:
            points[place] = values[row[cell]]
    return [float(f"{d:.6g}") if np.isfinite(d) else None for d in pdist(points)]


def difference(first: Sequence[float | None], second: Sequence[float | None]) -> float | None:
    """Return how far two embeddings are from being rotations, shifts or rescalings of each other.

    Returns
    -------
    Root mean square difference of the distances, after the best common scale, relative to the second's: 0 for the same
    shape, about 0.3 and more for unrelated embeddings; None with fewer than ``MIN_DISTANCES`` common distances or where
    all cells of one lie in one place.
    """
    import numpy as np

    a, b = np.array(first, dtype=float), np.array(second, dtype=float)
    if a.shape != b.shape:
        return None
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    if known.sum() < MIN_DISTANCES or not a.any() or not b.any():
        return None
    scale = a @ b / (a @ a)
    return float(np.sqrt(np.square(scale * a - b).sum() / np.square(b).sum()))
