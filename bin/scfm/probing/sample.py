"""The training cells of a logistic probe: all of them, or a stratified sample where there are very many."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: cells of a class that a sample keeps, where it has so many
LEAST_CELLS = 100


def sample_sizes(sizes: "np.ndarray", limit: int) -> "np.ndarray":
    """Return how many cells of every class a sample takes: in proportion, but ``LEAST_CELLS`` of each that has them.

    Parameters
    ----------
    sizes
        Cells of every class, shape (n_classes,).
    limit
        Cells of the sample; many small classes may add up to more.
    """
    import numpy as np

    least = np.minimum(sizes, LEAST_CELLS)
    room = max(0, limit - int(least.sum()))
    rest = sizes - least
    return least + np.floor(rest * min(1.0, room / max(1, int(rest.sum())))).astype(int)


def stratified_sample(
    classes: "np.ndarray", n_classes: int, limit: int, rng: "np.random.Generator"
) -> "tuple[np.ndarray, np.ndarray]":
    """Draw training cells, every class by itself.

    Parameters
    ----------
    classes
        Class numbers, shape (n_cells,).
    n_classes
        Number of classes.
    limit
        Cells to draw; 0 or at least as many as there are: all cells, and nothing is drawn.
    rng
        Generator of the draw.

    Returns
    -------
    Positions of the cells, ascending; how many cells each of them stands for (its class over those drawn of it).
    """
    import numpy as np

    if not 0 < limit < len(classes):
        return np.arange(len(classes)), np.ones(len(classes))
    sizes = np.bincount(classes, minlength=n_classes)
    wanted = sample_sizes(sizes, limit)
    chosen = np.sort(
        np.concatenate(
            [rng.choice(np.flatnonzero(classes == j), wanted[j], replace=False) for j in np.flatnonzero(sizes)]
        )
    )
    return chosen, (sizes / np.maximum(wanted, 1))[classes[chosen]]
