"""What the controls share: their random numbers and permutations, on arrays."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def generator(control: str, seed: int) -> "np.random.Generator":
    """Return the random numbers of a control: its own stream, so that no two controls of a run are related."""
    import numpy as np

    return np.random.default_rng([seed, zlib.crc32(control.encode())])


def permute_within(
    groups: "np.ndarray", rng: "np.random.Generator", *, keep: "np.ndarray | None" = None
) -> "np.ndarray":
    """Return a random permutation of rows that leaves every row inside its group.

    Parameters
    ----------
    groups
        Group of each row, shape (n,).
    rng
        Random numbers; groups draw from it in the order of their sorted names.
    keep
        Rows that stay where they are, shape (n,), bool.

    Returns
    -------
    Positions, shape (n,): row i of the result takes row ``positions[i]``.
    """
    import numpy as np

    free = np.ones(len(groups), dtype=bool) if keep is None else ~keep
    positions = np.arange(len(groups))
    for name in sorted(set(groups[free].tolist())):
        rows = np.flatnonzero((groups == name) & free)
        positions[rows] = rng.permutation(rows)
    return positions


def codes_of_labels(labels: "np.ndarray") -> "tuple[np.ndarray, list[str]]":
    """Number labels by name; None becomes -1.

    Returns
    -------
    Codes, shape (n,), int; sorted names.
    """
    import numpy as np

    names = sorted({str(x) for x in labels if x is not None})
    number = {name: i for i, name in enumerate(names)}
    return np.array([-1 if x is None else number[str(x)] for x in labels], dtype=int), names
