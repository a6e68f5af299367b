"""Is a split of cells visible in a neighbour graph? AUROC of the neighbours' vote, tested by permutations.

The graph does not depend on the split, so a permutation is a product of the graph's matrix with permuted splits: all
permutations at once, in chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: cells times permutations held in memory at once
_CHUNK = 4_000_000


@dataclass(frozen=True)
class GraphTest:
    """Result of a test.

    Attributes
    ----------
    auroc
        Probability that a cell of the second side has more neighbours of it than one of the first; ties count half.
        0.5 is chance up to the bias that a cell is not its own neighbour: see ``null_mean``.
    null_mean, null_q99
        Mean and 99 % quantile over the permutations.
    p_value
        (1 + permutations with at least this AUROC) / (1 + permutations).
    n_permutations
        Number of permutations.
    """

    auroc: float
    null_mean: float
    null_q99: float
    p_value: float
    n_permutations: int


def vote_auroc(votes: "np.ndarray", split: "np.ndarray", k: int) -> "np.ndarray":
    """Return the AUROC of whole-numbered votes for many splits at once.

    Parameters
    ----------
    votes
        Neighbours on the second side, shape (n_cells, n_splits), 0 to ``k``.
    split
        Whether a cell is on the second side, shape (n_cells, n_splits).
    k
        Neighbours per cell.

    Returns
    -------
    Shape (n_splits,), 0 to 1; NaN where a side is empty.
    """
    import numpy as np

    n_splits, levels = votes.shape[1], k + 1
    place = votes + levels * np.arange(n_splits)
    place *= 2
    place += split
    counts = np.bincount(place.ravel(), minlength=2 * n_splits * levels).reshape(n_splits, levels, 2)
    first, second = counts[..., 0], counts[..., 1]
    won = (second * (np.cumsum(first, axis=1) - first / 2)).sum(axis=1)
    pairs = first.sum(axis=1) * second.sum(axis=1)
    return np.divide(won, pairs, out=np.full(n_splits, np.nan), where=pairs > 0)


def permuted_splits(
    split: "np.ndarray", units: "np.ndarray", strata: "np.ndarray", n_draws: int, rng: "np.random.Generator"
) -> "Iterator[np.ndarray]":
    """Yield permutations of a split, shapes (n_cells, up to a chunk).

    Parameters
    ----------
    split
        Whether a cell is on the second side, shape (n_cells,); the same for all cells of a unit.
    units
        What is exchanged: a number per cell, shape (n_cells,); donors, or every cell by itself.
    strata
        Inside which units are exchanged, shape (n_cells,), the same for all cells of a unit.
    n_draws
        Number of permutations.
    rng
        Generator.
    """
    import numpy as np

    _, first, place = np.unique(units, return_index=True, return_inverse=True)
    side, stratum = split[first], strata[first]
    groups = [np.flatnonzero(stratum == s) for s in np.unique(stratum)]
    step = max(1, _CHUNK // max(len(split), 1))
    for start in range(0, n_draws, step):
        drawn = np.tile(side, (min(step, n_draws - start), 1))
        for members in groups:
            n_second = int(side[members].sum())
            if 0 < n_second < len(members):
                drawn[:, members] = _lowest(rng.random((len(drawn), len(members))), n_second)
        yield drawn[:, place.ravel()].T


def _lowest(numbers: "np.ndarray", n: int) -> "np.ndarray":
    """Return which numbers are among the n lowest of their row: of random ones a random n, in half of a shuffle's
    time.
    """
    import numpy as np

    return numbers <= np.partition(numbers, n - 1, axis=1)[:, n - 1 : n]


def split_test(
    near: "np.ndarray",
    split: "np.ndarray",
    *,
    units: "np.ndarray",
    strata: "np.ndarray",
    n_draws: int,
    n_more: int = 0,
    rng: "np.random.Generator",
) -> GraphTest:
    """Test a split of cells on their neighbour graph.

    Parameters
    ----------
    near
        Neighbours of every cell, self left out, shape (n_cells, k).
    split, units, strata
        As in :func:`permuted_splits`.
    n_draws
        Permutations.
    n_more
        Further ones where none of the first reaches the AUROC, so that the smallest p-value can pass a correction for
        many tests. The p-value stays valid: it is that of all permutations.
    rng
        Generator.
    """
    import numpy as np
    import scipy.sparse as sp

    n, k = near.shape
    graph = sp.csr_matrix((np.ones(n * k, dtype=np.float32), near.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))

    def score(splits: "np.ndarray") -> "np.ndarray":
        votes = np.rint(graph @ splits.astype(np.float32)).astype(np.int64)
        return vote_auroc(votes, splits, k)

    observed = float(score(split[:, None])[0])
    null = np.concatenate([score(drawn) for drawn in permuted_splits(split, units, strata, n_draws, rng)])
    if n_more and not (null >= observed - 1e-12).any():
        more = [score(drawn) for drawn in permuted_splits(split, units, strata, n_more, rng)]
        null = np.concatenate([null, *more])
    reached = int((null >= observed - 1e-12).sum())
    return GraphTest(
        observed, float(null.mean()), float(np.quantile(null, 0.99)), (1 + reached) / (1 + len(null)), len(null)
    )
