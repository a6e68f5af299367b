"""A pilot: some cells of a data set, drawn so that every batch, label and tissue stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: columns of the obs table whose combinations are the strata
STRATA = ("batch", "label", "tissue")


def quotas(sizes: "np.ndarray", n_cells: int, floor: int) -> "np.ndarray":
    """Return how many cells each stratum gives.

    Every stratum gives at least ``floor`` cells, or all it has; what is left is shared in proportion to the cells that
    remain (largest remainders). Where the floors together exceed ``n_cells``, the floor is lowered, for all strata
    alike, as far as necessary.

    Parameters
    ----------
    sizes
        Cells of every stratum, shape (n_strata,).
    n_cells
        Cells of the pilot, fewer than there are.
    floor
        Cells that a stratum gives at least.

    Returns
    -------
    Shape (n_strata,), with sum ``n_cells``.

    Examples
    --------
    >>> import numpy as np
    >>> quotas(np.array([800, 180, 20]), 100, 10).tolist()
    [67, 22, 11]
    """
    import numpy as np

    low = _lowered(sizes, n_cells, floor)
    given = np.minimum(sizes, low)
    rest = sizes - given
    share = rest * ((n_cells - given.sum()) / max(rest.sum(), 1))
    extra = np.floor(share).astype(np.int64)
    missing = int(n_cells - given.sum() - extra.sum())
    most = np.argsort(-np.where(rest > extra, share - extra, -1.0), kind="stable")[:missing]
    extra[most] += 1
    return given + extra


def _lowered(sizes: "np.ndarray", n_cells: int, floor: int) -> int:
    """Return the largest floor up to ``floor`` with which the strata do not exceed ``n_cells``."""
    import numpy as np

    while floor > 0 and np.minimum(sizes, floor).sum() > n_cells:
        floor -= 1
    return floor


def draw_cells(table: "pd.DataFrame", n_cells: int, *, floor: int, seed: int) -> "np.ndarray":
    """Return the mask of a pilot's cells.

    A smaller pilot with the same seed draws from the same random order, so its cells are nearly all in a larger one.

    Parameters
    ----------
    table
        ``cell_id``, sorted, and the columns :data:`STRATA`; a missing value is a level of its own.
    n_cells
        Cells to draw; all where there are no more.
    floor
        Cells that every combination of batch, label and tissue gives at least (all where it has fewer).
    seed
        Seed of the order.

    Returns
    -------
    Boolean, shape (len(table),).
    """
    import numpy as np

    if n_cells >= len(table):
        return np.ones(len(table), dtype=bool)
    strata = table.groupby([table[c].fillna("").astype(str) for c in STRATA], sort=True).ngroup().to_numpy()
    order = np.random.default_rng(seed).permutation(len(table))
    order = order[np.argsort(strata[order], kind="stable")]  # stratum by stratum, each in random order
    sizes = np.bincount(strata)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = np.arange(len(table)) - np.repeat(starts, sizes)
    chosen = np.zeros(len(table), dtype=bool)
    chosen[order[place < np.repeat(quotas(sizes, n_cells, floor), sizes)]] = True
    return chosen
