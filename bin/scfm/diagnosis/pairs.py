"""Which pairs of batches of a label can be compared, on which cells, and what is exchanged in the test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from scfm.diagnosis.data import Cells

if TYPE_CHECKING:
    import numpy as np

#: neighbours whose vote is tested, self not counted
VOTES = 15
#: donors on each side from which on donors are exchanged and not cells
MIN_DONORS = 4


@dataclass(frozen=True)
class BatchPair:
    """Two batches of a label.

    Attributes
    ----------
    label, first, second
        Codes of the label and the batches.
    rows
        Their cells that are compared, positions in the data set, ascending, shape (n,).
    split
        Which of them are of the second batch, shape (n,).
    units, strata
        What is exchanged inside what, see :func:`scfm.diagnosis.graph_test.permuted_splits`.
    level
        ``donors``: donors are exchanged; ``within_donors``: cells inside donors that are in both batches, in the same
        condition where conditions are compared; ``cells``: cells, so that the result is about these donors only.
    within_condition
        Whether both batches are compared inside the conditions that they share; None without conditions.
    conditions
        Code of the condition of every cell, 0 where none is declared, shape (n,).
    """

    label: int
    first: int
    second: int
    rows: "np.ndarray"
    split: "np.ndarray"
    units: "np.ndarray"
    strata: "np.ndarray"
    level: str
    within_condition: bool | None
    conditions: "np.ndarray"


class PairFinder:
    """Finds the pairs of batches of every label.

    Parameters
    ----------
    cells
        The data set.
    min_cells
        Cells of each batch that a pair needs.
    """

    def __init__(self, cells: Cells, min_cells: int) -> None:
        import numpy as np

        self.cells, self.min_cells = cells, min_cells
        n = len(cells.obs)
        condition, donor = cells.column("condition"), cells.column("donor")
        self.conditions = None if condition is None else np.unique(condition, return_inverse=True)[1].ravel()
        self.donors = None if donor is None else np.unique(donor, return_inverse=True)[1].ravel()
        self._everyone = np.arange(n)

    def of_label(self, label: int, among: "np.ndarray | None" = None) -> Iterator[BatchPair]:
        """Yield the pairs of a label.

        Parameters
        ----------
        label
            Its code.
        among
            Positions of the cells that may be used, ascending; all by default.
        """
        import numpy as np

        known = self._everyone if among is None else among
        rows = known[self.cells.labels.codes[known] == label]
        batches = self.cells.batches.codes[rows]
        sizes = np.bincount(batches, minlength=len(self.cells.batches.names))
        for first, second in combinations(np.flatnonzero(sizes >= self.min_cells).tolist(), 2):
            pair = self._pair(label, first, second, rows[(batches == first) | (batches == second)])
            if pair is not None:
                yield pair

    def on_all_cells(self, pair: BatchPair) -> BatchPair:
        """Return a pair of some cells as it is on all cells; itself where those can't be compared."""
        import numpy as np

        batches = self.cells.batches.codes
        inside = (self.cells.labels.codes == pair.label) & ((batches == pair.first) | (batches == pair.second))
        return self._pair(pair.label, pair.first, pair.second, np.flatnonzero(inside)) or pair

    def _pair(self, label: int, first: int, second: int, rows: "np.ndarray") -> BatchPair | None:
        """Return a pair, restricted to shared conditions and donors; None where too few cells are left."""
        import numpy as np

        split = self.cells.batches.codes[rows] == second
        within = None
        conditions = np.zeros(len(rows), dtype=int)
        if self.conditions is not None:
            shared = np.intersect1d(self.conditions[rows[split]], self.conditions[rows[~split]])
            within = bool(len(shared))
            if within:
                kept = np.isin(self.conditions[rows], shared)
                kept[kept] = _can_vote(self.conditions[rows[kept]])
                rows, split = rows[kept], split[kept]
                conditions = self.conditions[rows]
        kept, units, strata, level = self._exchangeable(rows, split, conditions)
        large = _can_vote(conditions[kept])
        units, strata = units[large], strata[large]
        rows, split, conditions = (values[kept][large] for values in (rows, split, conditions))
        if min(split.sum(), (~split).sum()) < self.min_cells:
            return None
        return BatchPair(label, first, second, rows, split, units, strata, level, within, conditions)

    def _exchangeable(
        self, rows: "np.ndarray", split: "np.ndarray", conditions: "np.ndarray"
    ) -> "tuple[np.ndarray, np.ndarray, np.ndarray, str]":
        """Return which cells are used, the units that are exchanged, their strata, and the level of the test."""
        import numpy as np

        everyone = np.ones(len(rows), dtype=bool)
        if self.donors is None:
            return everyone, np.arange(len(rows)), conditions, "cells"
        donors = self.donors[rows]
        shared = np.intersect1d(donors[split], donors[~split])
        # a donor whose conditions are each in one batch has nothing to exchange
        strata = np.unique(np.c_[conditions, donors], axis=0, return_inverse=True)[1].ravel()
        kept = np.isin(strata, np.intersect1d(strata[split], strata[~split]))
        if min(split[kept].sum(), (~split)[kept].sum()) >= self.min_cells:
            return kept, np.arange(int(kept.sum())), strata[kept], "within_donors"
        single = len(set(zip(donors.tolist(), conditions.tolist(), strict=True))) == len(set(donors.tolist()))
        sides = [len(np.unique(donors[part])) for part in (split, ~split)]
        if not len(shared) and single and min(sides) >= MIN_DONORS:
            return everyone, donors, conditions, "donors"
        return everyone, np.arange(len(rows)), conditions, "cells"


def _can_vote(conditions: "np.ndarray") -> "np.ndarray":
    """Return which cells are of a condition with as many others as vote, shape (n,); all where no condition has them.

    All cells of a pair have the same number of neighbours, so that of the smallest condition: a few cells of one would
    leave every other cell with a vote of a few.
    """
    import numpy as np

    sizes = np.bincount(conditions)
    large = sizes[conditions] > VOTES
    return large if large.any() else np.ones(len(conditions), dtype=bool)
