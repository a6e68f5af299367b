"""What a classifier scores without information: the floor beside every number."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def generator_for(seed: int, *parts: object) -> "np.random.Generator":
    """Return a generator for a named place (target, scheme, fold, repeat), the same for every embedding."""
    import numpy as np

    return np.random.default_rng([seed, *(zlib.crc32(str(part).encode()) for part in parts)])


def majority_class(train: "np.ndarray", n_classes: int) -> int:
    """Return the most frequent class of the training part; of equally frequent ones the first by name."""
    import numpy as np

    return int(np.bincount(train, minlength=n_classes).argmax())


def permute(classes: "np.ndarray", *, within: "np.ndarray | None", rng: "np.random.Generator") -> "np.ndarray":
    """Return the classes permuted over the cells, or over the cells of each stratum.

    Parameters
    ----------
    classes
        Class numbers, shape (n_cells,).
    within
        Stratum of each cell, shape (n_cells,), or None. For the target batch this is the label: the permuted
        batch still follows the label composition, so the baseline shows what composition alone gives away.
    rng
        Generator.
    """
    import numpy as np

    if within is None:
        return rng.permutation(classes)
    permuted = classes.copy()
    for stratum in np.unique(within):
        cells = np.flatnonzero(within == stratum)
        permuted[cells] = classes[rng.permutation(cells)]
    return permuted
