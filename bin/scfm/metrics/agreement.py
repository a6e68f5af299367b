"""Agreement of a clustering with the labels: normalised mutual information and adjusted Rand index."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def contingency(first: "np.ndarray", second: "np.ndarray") -> "np.ndarray":
    """Count cells by two groupings of integer codes, shape (n_first, n_second)."""
    import numpy as np

    shape = (int(first.max()) + 1, int(second.max()) + 1)
    return np.bincount(first.astype(np.int64) * shape[1] + second, minlength=shape[0] * shape[1]).reshape(shape)


def _entropy(counts: "np.ndarray") -> float:
    """Shannon entropy of counts, in nats."""
    import numpy as np

    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def normalized_mutual_information(first: "np.ndarray", second: "np.ndarray") -> float:
    """Mutual information over the arithmetic mean of the entropies (Vinh et al. 2010).

    Returns
    -------
    0 (independent) to 1 (the same grouping); 1 where both groupings have a single group.
    """
    table = contingency(first, second)
    rows, columns = _entropy(table.sum(axis=1)), _entropy(table.sum(axis=0))
    if rows == 0.0 and columns == 0.0:
        return 1.0
    shared = rows + columns - _entropy(table.ravel())
    return float(min(1.0, max(0.0, 2 * shared / (rows + columns))))


def adjusted_rand_index(first: "np.ndarray", second: "np.ndarray") -> float:
    """Share of agreeing pairs of cells, corrected for chance (Hubert & Arabie 1985, 10.1007/BF01908075).

    Returns
    -------
    -0.5 to 1; 0 is expected by chance, 1 is the same grouping.
    """
    table = contingency(first, second).astype(float)

    def pairs(counts: "np.ndarray") -> float:
        return float((counts * (counts - 1) / 2).sum())

    together, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    n = table.sum()
    expected = rows * columns / (n * (n - 1) / 2)
    highest = (rows + columns) / 2
    if highest == expected:
        return 1.0
    return (together - expected) / (highest - expected)
