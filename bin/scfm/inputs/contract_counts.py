"""The part of the input contract that is about counts: where they are, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scfm.inputs.contract_keys import Report
from scfm.io.counts import find_counts, other_counts
from scfm.io.facts import SAME_TOTAL, MatrixFacts
from scfm.io.matrix import Matrix, open_matrix
from scfm.io.store import Store
from scfm.registries.messages import message, sentence
from scfm.text import listing, plural

if TYPE_CHECKING:
    import pandas as pd


def check_counts(
    store: Store, report: Report, row: Mapping[str, str], params: Mapping[str, Any], batch: "pd.Series | None"
) -> MatrixFacts:
    """Find and check the counts; ``batch`` (one value per cell) locates blocks of NaN."""
    rounding = bool(params.get("round_counts"))
    facts = find_counts(store, row.get("counts_layer"), round_counts=rounding)
    errors = counts_errors(store.name, facts, round_counts=rounding)
    if facts.n_nan and batch is not None and len(batch) == facts.shape[0]:
        errors[:1] = nan_errors(store.name, open_matrix(store, facts.source), batch, facts.n_nan) or errors[:1]
    if errors:
        layers = other_counts(store, facts.source)
        if layers:
            errors[-1] += f" Whole numbers are in the layer {listing(layers)}: name it in counts_layer."
    report.errors += errors
    report.facts.update(counts_source=facts.source, counts_storage=facts.storage, n_genes=facts.shape[1])
    if not errors:
        report.warnings += _counts_warnings(store, row, facts)
    return facts


def _counts_warnings(store: Store, row: Mapping[str, str], facts: MatrixFacts) -> list[dict]:
    """Return the messages about counts that are usable and odd."""
    found = []
    if facts.n_fractional:
        values = {"n_fractional": facts.n_fractional, "max_fraction": facts.max_fraction, "maximum": facts.maximum}
        case = "E-IN-01/low" if facts.looks_logged else "E-IN-01"
        found.append(message(case, source=facts.source, values=values))
    if facts.total is not None:
        found.append(message("W-IN-10", source=facts.source, values={"total": facts.total}, threshold=SAME_TOTAL))
    if not row.get("counts_layer") and facts.source != "layers/counts" and "counts" in store.keys("layers"):
        found.append(message("W-IN-04", source=facts.source))
    return found


def nan_errors(name: str, matrix: Matrix, batch: "pd.Series", n_nan: int) -> list[str]:
    """Return a sentence where all NaN values are genes that whole batches lack, as an outer join leaves them.

    Parameters
    ----------
    name
        How messages call the file.
    matrix
        The counts.
    batch
        Batch of every cell, shape (n_cells,).
    n_nan
        NaN values in all.
    """
    import numpy as np
    import pandas as pd

    codes, levels = pd.factorize(batch.to_numpy(dtype=object))
    counts = np.zeros((len(levels) + 1, matrix.shape[1]), dtype=np.int64)  # the last row is cells without a batch
    for block in matrix.blocks():
        cells, genes = matrix.place(block, np.flatnonzero(np.isnan(block.values)))
        np.add.at(counts, (codes[cells], genes), 1)
    sizes = np.bincount(codes[codes >= 0], minlength=len(levels))
    blocks = (counts[:-1] == sizes[:, None]) & (sizes[:, None] > 0)
    if int((blocks * sizes[:, None]).sum()) != n_nan:
        return []
    shown = "; ".join(f"{n:,} in batch '{b}'" for b, n in zip(levels, blocks.sum(axis=1), strict=True) if n)
    shared = int((~blocks.any(axis=0)).sum())
    keep = f"Keep the {plural(shared, 'gene')} that all batches share" if shared else "No gene is shared by all batches"
    return [
        f"{name}: {matrix.source} holds genes that are NaN in all cells of a batch ({shown}), as an outer join of"
        f" batches "
        f"with different genes leaves them. {keep} (join='inner'), or fill the gaps with zeros (fill_value=0); a gene "
        "that a batch never measured then looks silent in it, which --shared_genes undoes."
    ]


def counts_errors(name: str, facts: MatrixFacts, *, round_counts: bool) -> list[str]:
    """Return the sentences about a matrix that can't serve as counts; empty if it can.

    Parameters
    ----------
    name
        How messages call the file.
    facts
        From :func:`find_counts`.
    round_counts
        Whether fractions may be rounded.
    """
    place, errors = f"{name}: {facts.source}", []
    if facts.n_nan:
        errors.append(
            f"{place} holds {plural(facts.n_nan, 'NaN value')}; counts must be finite. "
            "Remove or repair the cells they belong to."
        )
    if facts.n_infinite:
        errors.append(
            f"{place} holds {plural(facts.n_infinite, 'infinite value')}; counts must be finite. "
            "Remove or repair the cells they belong to."
        )
    if facts.n_negative:
        errors.append(
            f"{place} holds {plural(facts.n_negative, 'negative value')}; counts can't be negative. "
            "The data may be scaled or corrected: "
            "point the samplesheet's counts_layer at raw counts."
        )
    if facts.n_large:
        errors.append(
            f"{place} holds {plural(facts.n_large, 'value')} above 16,777,216 (up to {facts.maximum:.4g}); single "
            "precision, in which counts are computed with, can't hold larger whole numbers exactly, and no cell has so "
            "many molecules of one gene. Point the samplesheet's counts_layer at raw counts."
        )
    errors += _fraction_errors(place, facts, round_counts=round_counts)
    if facts.maximum <= 0 and not errors:
        errors.append(
            f"{place} holds no counts: no value is above zero. Point the samplesheet's counts_layer at raw counts."
        )
    return errors


def _fraction_errors(place: str, facts: MatrixFacts, *, round_counts: bool) -> list[str]:
    """Return the sentence about values that are not whole; none where they may be rounded."""
    known = {"place": place, "n_fractional": facts.n_fractional}
    if facts.logged:
        return [sentence("E-IN-02", maximum=facts.maximum, **known)]
    if not facts.n_fractional or round_counts:
        return []
    if facts.looks_logged:
        return [sentence("E-IN-02/or_fractions", n_stored=facts.n_stored, maximum=facts.maximum, **known)]
    return [sentence("E-IN-01/refused", n_stored=facts.n_stored, max_fraction=facts.max_fraction, **known)]
