"""What differs between two groups of cells of one label: depth, programmes, ambient RNA, and single genes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING

from scfm.diagnosis.contrasts import Contrast, Moments, contrast, differing_genes, moments
from scfm.diagnosis.data import Cells
from scfm.diagnosis.doublets import doublet_scores
from scfm.diagnosis.programmes import PROGRAMMES, Programme, programme_scores
from scfm.diagnosis.settings import DiagnosisSettings

if TYPE_CHECKING:
    import numpy as np

#: causes that are measured; each is a column of ``residual.tsv``
MEASURED = ("depth", *PROGRAMMES, "ambient")
#: cause that is measured of clusters only
DOUBLET = "doublet"
#: cause -> what it is a sign of: a state of the cells, technique, or the donor
KINDS = {
    "depth": "technical",
    "early_response": "state",
    "interferon": "state",
    "ribosomal": "technical",
    "mitochondrial": "technical",
    "cell_cycle": "state",
    "hypoxia_stress": "state",
    "sex": "donor",
    "ambient": "technical",
    DOUBLET: "technical",
    "unexplained": "unexplained",
    "few_genes": "few_genes",
}
#: causes of which only more is a sign
_ONE_SIDED = frozenset({"ambient", DOUBLET})
#: cells with a doublet score that each group needs
_FEWEST_SCORED = 5
#: genes that a row names
_NAMED = 20


@dataclass(frozen=True)
class Explanation:
    """What differs, second group minus first.

    Attributes
    ----------
    measured
        ``{cause: value}``: standard deviations inside the groups; of ``ambient`` a correlation, see
        :func:`ambient_correlation`; NaN where it can't be measured.
    causes
        Causes at or above their threshold, largest first.
    n_genes
        Genes that differ.
    genes
        Their symbols, largest change first, with the sign of the change; up to 20.
    positions
        Their positions among the genes.
    """

    measured: dict[str, float]
    causes: list[str]
    n_genes: int
    genes: list[str]
    positions: "np.ndarray"

    def cause(self, min_genes: int) -> str:
        """Return the largest cause; ``unexplained`` where none is named and genes differ, else ``few_genes``."""
        return next(iter(self.causes), "unexplained" if self.n_genes > min_genes else "few_genes")


class Explainer:
    """Explains differences between groups of the cells of one data set.

    Parameters
    ----------
    cells
        The data set.
    programmes
        Those of :func:`scfm.diagnosis.programmes.load_programmes`.
    settings
        Thresholds.
    """

    def __init__(self, cells: Cells, programmes: dict[str, Programme], settings: DiagnosisSettings) -> None:
        import numpy as np

        self.cells, self.settings = cells, settings
        scores = programme_scores(cells.logged, cells.genes, programmes)
        self.scores = np.column_stack([cells.depth, scores])

    @cached_property
    def doublets(self) -> "np.ndarray":
        """Doublet score of every cell, shape (n_cells,), computed when first asked for; NaN where there is none."""
        import numpy as np

        most, read = self.settings.doublet_cells, self.cells.read_counts
        if read is None or not most:
            return np.full(len(self.cells.obs), np.nan)
        batches = self.cells.obs["batch"].to_numpy()
        return doublet_scores(read(), batches, max_cells=most, seed=self.settings.seed)

    def groups(self, codes: "np.ndarray", n_groups: int) -> "tuple[Moments, Moments]":
        """Return the moments of genes and of depth and programmes in groups of cells (-1: in none)."""
        return moments(self.cells.logged, codes, n_groups), moments(self.scores, codes, n_groups)

    def explain(
        self,
        genes: Moments,
        scores: Moments,
        sides: "tuple[Sequence[int], Sequence[int]]",
        others: "tuple[np.ndarray | None, np.ndarray] | None" = None,
    ) -> Explanation:
        """Explain the difference of two groups, stratum by stratum.

        Parameters
        ----------
        genes, scores
            Moments of :meth:`groups`.
        sides
            Groups of the first and of the second side, one per stratum.
        others
            Mean profile of the other labels in the batch of the first and of the second side, shape (n_genes,) each;
            None for a first side whose own ambient RNA is no sign of anything.
        """

        found = contrast(genes, *sides)
        effects = contrast(scores, *sides).effect
        measured = dict(zip(("depth", *PROGRAMMES), (float(e) for e in effects), strict=True))
        measured["ambient"] = ambient_correlation(found, genes, sides, others) if others else float("nan")
        differ = differing_genes(found, fdr=self.settings.fdr, min_change=self.settings.gene_change)
        named = [f"{'+' if found.change[g] > 0 else '-'}{self.cells.genes[g]}" for g in differ[:_NAMED]]
        return Explanation(measured, self._named(measured), len(differ), named, differ)

    def with_doublets(self, why: Explanation, codes: "np.ndarray") -> Explanation:
        """Add the difference of the doublet score between two groups of cells to what tells them apart.

        Parameters
        ----------
        why
            From :meth:`explain`.
        codes
            0 and 1 for the cells of the first and of the second group, -1 for all others, shape (n_cells,).
        """
        import numpy as np

        known = np.where(np.isfinite(self.doublets), codes, -1)
        effect = float("nan")
        if (np.bincount(known[known >= 0], minlength=2) >= _FEWEST_SCORED).all():
            scores = np.nan_to_num(self.doublets)[:, None]
            effect = float(contrast(moments(scores, known, 2), [0], [1]).effect[0])
        measured = why.measured | {DOUBLET: effect}
        return replace(why, measured=measured, causes=self._named(measured))

    def _named(self, measured: dict[str, float]) -> list[str]:
        """Return the causes at or above their limits, largest first; some count on one side only."""
        limits = dict.fromkeys(measured, self.settings.effect) | {"ambient": self.settings.ambient}
        above = {c: abs(v) / limits[c] for c, v in measured.items() if isfinite(v) and abs(v) >= limits[c]}
        kept = [c for c in above if c not in _ONE_SIDED or measured[c] > 0]
        return sorted(kept, key=lambda c: (-above[c], c))


def ambient_correlation(
    found: Contrast,
    genes: Moments,
    sides: "tuple[Sequence[int], Sequence[int]]",
    others: "tuple[np.ndarray | None, np.ndarray]",
) -> float:
    """Correlate the difference with what other labels of the batch express more than the label itself.

    RNA of broken cells adds the batch's mean profile to every cell: in a label it shows in genes that the other labels
    express and the label does not.

    Returns
    -------
    The larger of both sides' Pearson correlations over the genes that are detected, -1 to 1, or that of the second side
    where the first has no profile; NaN with fewer than 50 genes.
    """
    import numpy as np

    a, b = (np.asarray(s) for s in sides)
    kept = found.detected >= 0.05
    if kept.sum() < 50:
        return float("nan")
    own = np.average(genes.mean[np.r_[a, b]], axis=0, weights=genes.n[np.r_[a, b]])
    values = []
    for sign, other in ((-1, others[0]), (1, others[1])):
        if other is None:
            continue
        x, y = sign * found.change[kept], (other - own)[kept]
        if x.std() > 0 and y.std() > 0:
            values.append(float(np.corrcoef(x, y)[0, 1]))
    return max(values, default=float("nan"))
