"""The approximate search of large data sets."""

from __future__ import annotations

import numpy as np

from scfm.errors import ScfmError
from scfm.neighbors.exact import MARGIN, TieRule, sort_candidates


def nearly_nearest(values: np.ndarray, k: int, *, ties: TieRule, seed: int, cpus: int) -> tuple[np.ndarray, np.ndarray]:
    """NN-descent with the settings that UMAP and scib-metrics use; distances and order settled as in the exact search.

    Parameters
    ----------
    values
        Coordinates, shape (n_cells, n_dims).
    k
        Neighbours per cell, self counted.
    ties
        Order of cells at the same distance.
    seed
        Seed of the search.
    cpus
        Threads.

    Returns
    -------
    Positions and distances, as :func:`scfm.neighbors.exact.nearest` returns them.

    Raises
    ------
    ScfmError
        The search found too few neighbours for some cells.
    """
    from pynndescent import NNDescent

    n = len(values)
    index = NNDescent(
        values,
        n_neighbors=min(n, k + MARGIN),
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
    short = int((candidates < 0).any(axis=1).sum())
    if short:
        raise ScfmError(
            f"The approximate search found too few neighbours for {short} cells. Raise --exact_neighbors_max_cells"
            " above the number of cells to search exactly."
        )
    return sort_candidates(values, rows, candidates, k, ties)
