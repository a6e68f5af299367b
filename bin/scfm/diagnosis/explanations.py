"""What differs between the batches of every label: from the counts, once per data set, whatever the embedding."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from scfm.diagnosis.causes import Explainer, Explanation
from scfm.diagnosis.contrasts import Moments, contrast, differing_genes
from scfm.diagnosis.pairs import BatchPair, PairFinder

if TYPE_CHECKING:
    import numpy as np


class PairExplanations:
    """Causes of the differences between batches, which depend on the counts and on no embedding: made when first asked
    for, once per data set.

    Parameters
    ----------
    explainer
        Of the data set.
    finder
        Pairs of batches of all its cells.
    """

    def __init__(self, explainer: Explainer, finder: PairFinder) -> None:
        import numpy as np

        cells = explainer.cells
        self.explainer, self.finder, self._made = explainer, finder, {}
        self._of_label: tuple | None = None
        conditions = finder.conditions if finder.conditions is not None else np.zeros(len(cells.obs), dtype=int)
        self.n_conditions = int(conditions.max(initial=0)) + 1
        self.n_batches = len(cells.batches.names)
        codes = (cells.labels.codes * self.n_batches + cells.batches.codes) * self.n_conditions + conditions
        n_groups = len(cells.labels.names) * self.n_batches * self.n_conditions
        self.genes, self.scores = explainer.groups(codes, n_groups)

    def group(self, label: int, batch: int, condition: int) -> int:
        """Return the number of a group of cells."""
        return (label * self.n_batches + batch) * self.n_conditions + condition

    def of(self, pair: BatchPair) -> Explanation:
        """Return what differs between the batches of a pair."""
        key = (pair.label, pair.first, pair.second)
        if key not in self._made:
            self._made[key] = self._explain(pair)
        return self._made[key]

    def _explain(self, pair: BatchPair) -> Explanation:
        """Compare the cells that the test of a pair compares, in the same strata, whatever cells an embedding has."""
        import numpy as np

        whole = self.finder.on_all_cells(pair)
        others = (self.other_labels(pair.label, pair.first), self.other_labels(pair.label, pair.second))
        if whole.level == "within_donors":
            genes, scores, sides = self._by_donor(whole)
            return self.explainer.explain(genes, scores, sides, others)
        if whole.within_condition is False:  # no condition in common: all cells of one batch against all of the other
            genes, scores = self._whole_batches(pair)
            return self.explainer.explain(genes, scores, ([0], [1]), others)
        shared = np.unique(whole.conditions).tolist()
        first, second = ([self.group(pair.label, b, c) for c in shared] for b in (pair.first, pair.second))
        return self.explainer.explain(self.genes, self.scores, (first, second), others)

    def _by_donor(self, pair: BatchPair) -> "tuple[Moments, Moments, tuple[list[int], list[int]]]":
        """Return the moments of every condition and donor in the batches of the pair's label, and the groups of both
        sides. Those of the last label are kept, for its pairs follow one another.
        """
        import numpy as np

        key, donors = (pair.label, pair.within_condition is True), self.finder.donors
        assert donors is not None  # the level says so
        conditions = self.finder.conditions if key[1] else None
        conditions = np.zeros(len(donors), dtype=int) if conditions is None else conditions
        cells = self.explainer.cells
        keys = np.c_[cells.batches.codes, conditions, donors]
        if self._of_label is None or self._of_label[0] != key:
            inside = np.flatnonzero(cells.labels.codes == pair.label)
            found, place = np.unique(keys[inside], axis=0, return_inverse=True)
            codes = np.full(len(keys), -1)
            codes[inside] = place.ravel()
            number = {tuple(row): i for i, row in enumerate(found.tolist())}
            self._of_label = (key, number, *self.explainer.groups(codes, len(found)))
        _, number, genes, scores = self._of_label
        strata = np.unique(keys[pair.rows][:, 1:], axis=0).tolist()
        first, second = ([number[b, *stratum] for stratum in strata] for b in (pair.first, pair.second))
        return genes, scores, (first, second)

    def _whole_batches(self, pair: BatchPair) -> "tuple[Moments, Moments]":
        """Return the moments of all cells of both batches, whatever their conditions and the embedding."""
        import numpy as np

        cells = self.explainer.cells
        codes = np.full(len(cells.obs), -1)
        for code, batch in enumerate((pair.first, pair.second)):
            codes[(cells.labels.codes == pair.label) & (cells.batches.codes == batch)] = code
        return self.explainer.groups(codes, 2)

    def shared_genes(self, label: int, pairs: "list[BatchPair]") -> float:
        """Return the share of a label's condition genes that also differ between the batches of its pairs.

        Conditions are compared inside the batches that have both; NaN where there are none, or no condition gene.
        """
        import numpy as np

        settings = self.explainer.settings
        per_condition: set[int] = set()
        for first, second in combinations(range(self.n_conditions), 2):
            both = [
                b
                for b in range(self.n_batches)
                if min(self.genes.n[self.group(label, b, c)] for c in (first, second)) >= settings.min_cells
            ]
            if both:
                sides = [[self.group(label, b, c) for b in both] for c in (first, second)]
                found = contrast(self.genes, *sides)
                per_condition |= set(differing_genes(found, fdr=settings.fdr, min_change=settings.gene_change).tolist())
        per_batch = {int(g) for pair in pairs for g in self.of(pair).positions}
        return len(per_condition & per_batch) / len(per_condition) if per_condition and pairs else float(np.nan)

    def other_labels(self, label: int, batch: int) -> "np.ndarray":
        """Return the mean profile of a batch over its other labels, shape (n_genes,); 0 where it has no other."""
        import numpy as np

        labels = range(len(self.explainer.cells.labels.names))
        groups = [self.group(x, batch, c) for x in labels if x != label for c in range(self.n_conditions)]
        groups = [g for g in groups if self.genes.n[g] > 0]
        if not groups:
            return np.zeros(self.genes.mean.shape[1])
        return np.average(self.genes.mean[groups], axis=0, weights=self.genes.n[groups])
