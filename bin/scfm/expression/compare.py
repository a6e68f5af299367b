"""Compare conditions inside one label: a pseudobulk test with its null, or a ranking of genes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from scfm.errors import NotApplicable
from scfm.expression.conservation import Consensus, conservation, within_batches
from scfm.expression.contrast import BLOCKS, Contrast, make_contrast
from scfm.expression.deseq import deseq_test
from scfm.expression.null import permutation_null
from scfm.expression.pseudobulk import Pseudobulk, blocks_of_replicates, expressed, log_cpm
from scfm.expression.ranking import rank_genes
from scfm.expression.rows import PSEUDOBULK, RANKING, Result, ordered, refused
from scfm.expression.settings import MIN_COUNT, DeSettings, DesignChoice

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from scfm.expression.reading import PreparedCounts

#: reasons for which a test is not defined and genes are ranked instead
UNREPLICATED = frozenset({"no_replicates", "few_replicates", "no_residual"})


@dataclass(frozen=True)
class Study:
    """What the comparisons of a data set share.

    Attributes
    ----------
    cells
        Indexed by cell id, with ``label``, ``condition``, ``batch`` and ``replicate`` (``donor`` where declared).
    expression
        Its counts.
    bulk
        Counts by label, condition, batch and replicate.
    choice
        What the design allows.
    settings
        Parameters.
    cpus
        Processes of PyDESeq2.
    """

    cells: "pd.DataFrame"
    expression: "PreparedCounts"
    bulk: Pseudobulk
    choice: DesignChoice
    settings: DeSettings
    cpus: int = 1

    @property
    def symbols(self) -> dict[str, str]:
        """``{gene: symbol}``."""
        return dict(zip(self.expression.genes, self.expression.symbols, strict=True))

    @cached_property
    def blocks(self) -> "pd.DataFrame":
        """The batches of every replicate, from :func:`scfm.expression.pseudobulk.blocks_of_replicates`."""
        return blocks_of_replicates(self.bulk.units, min_cells=self.settings.min_cells)

    def cells_of(self, label: str, condition: str) -> "np.ndarray":
        """Return which cells are of a label and condition, shape (n_cells,); a cell without a replicate is in no unit
        and so in no comparison.
        """
        cells = self.cells
        chosen = (cells["label"] == label) & (cells["condition"] == condition) & cells["replicate"].notna()
        return chosen.to_numpy(dtype=bool)


@dataclass(frozen=True)
class Pair:
    """A label, and the two levels of the condition that are compared in it."""

    label: str
    level: str
    reference: str


def pairs_of(study: Study) -> list[Pair]:
    """Return every label with every level but the reference, in the order of their names, where the label has cells of
    one of the two at least; none where no label has cells of both.
    """
    reference = reference_of(study)
    known = study.cells.dropna(subset=["label", "condition"])
    found = {
        label: set(levels) for label, levels in known.groupby("label", observed=True)["condition"].unique().items()
    }
    others = sorted(set().union(*found.values()) - {reference})
    if not any(reference in levels and len(levels) > 1 for levels in found.values()):
        return []
    return [
        Pair(label, level, reference)
        for label, levels in sorted(found.items())
        for level in others
        if levels & {level, reference}
    ]


def reference_of(study: Study) -> str:
    """Return the condition that the others are compared with.

    Raises
    ------
    NotApplicable
        ``one_condition``: there are fewer than two; ``unknown_reference``: ``--de_reference`` is none of them.
    """
    levels = sorted(study.cells["condition"].dropna().unique())
    if len(levels) < 2:
        raise NotApplicable(
            f"The condition has {len(levels)} level among the prepared cells; a comparison needs two.", "one_condition"
        )
    wanted = study.settings.reference
    if wanted and wanted not in levels:
        raise NotApplicable(
            f"--de_reference is '{wanted}', and the conditions are {', '.join(levels)}.", "unknown_reference"
        )
    return wanted or levels[0]


def compare_pair(study: Study, pair: Pair) -> list[Result]:
    """Return the pseudobulk test of a label and, where replicates are too few for it, the ranking of its genes."""
    about = (pair.label, pair.level, pair.reference)
    counted = {
        "n_cells_level": int(study.cells_of(pair.label, pair.level).sum()),
        "n_cells_reference": int(study.cells_of(pair.label, pair.reference).sum()),
        "relation": study.choice.relation,
        "design": study.choice.design if study.choice.design in BLOCKS else "",
    }
    its = set(study.cells.loc[study.cells["label"] == pair.label, "condition"].dropna())
    absent = [level for level in (pair.level, pair.reference) if level not in its]
    if absent:
        none = NotApplicable(f"No cell of this label is of the condition '{absent[0]}'.", "no_cells")
        return [refused(*about, PSEUDOBULK, none, **counted)]
    try:
        return [pseudobulk_result(study, pair, counted)]
    except NotApplicable as error:
        found = [refused(*about, PSEUDOBULK, error, **counted)]
        if error.code not in UNREPLICATED:
            return found
    try:
        return [*found, ranking_result(study, pair, counted)]
    except NotApplicable as error:
        return [*found, refused(*about, RANKING, error, **counted)]


def pseudobulk_result(study: Study, pair: Pair, counted: dict[str, Any]) -> Result:
    """Return the pseudobulk test of a label with its null and its agreement with the comparison inside batches."""
    settings, design = study.settings, study.choice.design
    if design not in BLOCKS:
        raise NotApplicable(study.choice.reason, study.choice.reason_code)
    bulk = study.bulk.of_label(pair.label)
    bulk = bulk.by_replicate(study.blocks) if BLOCKS[design] == "batch" else bulk.joined(["condition", "replicate"])
    units = bulk.units.assign(donor=bulk.units["replicate"])
    limits = {"min_cells": settings.min_cells, "min_samples": settings.min_samples}
    contrast = make_contrast(units, design=design, level=pair.level, reference=pair.reference, **limits)
    counts = bulk.counts[contrast.rows].toarray()
    n_level = int(contrast.is_level.sum())
    keep = expressed(counts, min_count=MIN_COUNT, min_units=min(n_level, len(counts) - n_level))
    if not keep.any():
        raise NotApplicable(f"No gene has {MIN_COUNT} counts or more in the compared units.", "no_genes")
    counts, genes = counts[:, keep], bulk.genes[keep]
    table = deseq_test(counts, contrast.matrix, genes, cpus=study.cpus)
    table["is_significant"] = (table["q_value"] < settings.fdr).where(table["q_value"].notna())
    facts = {
        **counted,
        "n_level": n_level,
        "n_reference": len(counts) - n_level,
        **_null(study, pair, counts, contrast),
        **conserved(table, consensus_of(study, pair), settings.fdr),
    }
    return Result(pair.label, pair.level, pair.reference, PSEUDOBULK, ordered(table, study.symbols), facts)


def _null(study: Study, pair: Pair, counts: "np.ndarray", contrast: Contrast) -> dict[str, Any]:
    """Return what permuted conditions find, or why that is not defined."""
    import numpy as np

    settings = study.settings
    rng = np.random.default_rng([settings.seed, zlib.crc32("\x1f".join((pair.label, pair.level)).encode())])
    try:
        null = permutation_null(log_cpm(counts), contrast, n=settings.permutations, fdr=settings.fdr, rng=rng)
    except NotApplicable as error:
        return {"null_reason": error.code}
    return {
        "null_observed": null.observed,
        "null_median": float(np.median(null.permuted)),
        "null_max": int(null.permuted.max()),
        "n_permutations": len(null.permuted),
        "null_reason": "",
    }


def consensus_of(study: Study, pair: Pair) -> Consensus | NotApplicable:
    """Return the comparison inside the batches of a label, or why there is none.

    A replicate that was measured in several batches is one unit of the block that these are together: as one in each,
    batches would agree on what differs between the same few donors.
    """
    units, keep = study.bulk.of_label(pair.label).by_replicate(study.blocks), study.settings.min_cells
    used = (units.units["n_cells"] >= keep) & units.units["condition"].isin([pair.level, pair.reference])
    chosen, counts = units.units[used], units.counts[used.to_numpy()].toarray()
    try:
        if study.choice.relation == "nested" or not used.any():
            raise NotApplicable("No batch has both conditions.", "not_crossed")
        genes = expressed(counts, min_count=MIN_COUNT, min_units=2)
        is_level = (chosen["condition"] == pair.level).to_numpy()
        values = log_cpm(counts[:, genes])
        return within_batches(values, chosen["batch"].to_numpy(dtype=object), is_level, units.genes[genes])
    except NotApplicable as error:
        return error


def conserved(table: "pd.DataFrame", consensus: Consensus | NotApplicable, fdr: float) -> dict[str, Any]:
    """Return the measures of conservation for ``de.tsv``, or their reason."""
    if isinstance(consensus, NotApplicable):
        return {"conservation_reason": consensus.code}
    found = conservation(table, consensus, fdr=fdr)
    return {**found, "conservation_reason": "few_consensus_genes" if found["auprc"] is None else ""}


def ranking_result(study: Study, pair: Pair, counted: dict[str, Any]) -> Result:
    """Return the genes of a label ranked by how well they tell the two groups of cells apart, without p values."""
    import numpy as np

    level, reference = (study.cells_of(pair.label, c) for c in (pair.level, pair.reference))
    few = {
        c: int(m.sum())
        for c, m in ((pair.level, level), (pair.reference, reference))
        if m.sum() < study.settings.min_cells
    }
    if few:
        named = ", ".join(f"'{name}' has {n}" for name, n in few.items())
        raise NotApplicable(
            f"{named} cells of this label with a replicate; a ranking needs {study.settings.min_cells}.", "few_cells"
        )
    positions, values = study.expression.rows("X", level | reference)
    bulk = study.bulk.of_label(pair.label).joined(["condition"])
    order = [list(bulk.units["condition"]).index(c) for c in (pair.level, pair.reference)]
    counts = bulk.counts[order].toarray()
    keep = np.flatnonzero(expressed(counts, min_count=MIN_COUNT, min_units=1))
    table = rank_genes(values[:, keep], counts[:, keep], level[positions], study.expression.genes[keep])
    facts = {**counted, "design": "", "conservation_reason": "no_p_values", "null_reason": "no_p_values"}
    return Result(pair.label, pair.level, pair.reference, RANKING, ordered(table, study.symbols, neutral=0.5), facts)
