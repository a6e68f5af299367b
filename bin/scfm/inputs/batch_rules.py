"""Rules that batches must keep, in the check of a file and again after the filters of the preparation."""

from __future__ import annotations

from collections.abc import Mapping

from scfm.text import listing, plural

#: fewer cells than this in a batch and nothing can be said about it
MIN_BATCH = 3
#: with so many batches, one for (nearly) every cell, the column holds ids
MIN_IDS = 20


def batch_errors(
    name: str, key: str, sizes: Mapping[str, int], n_cells: int, *, when: str = "", is_primary: bool = True
) -> list[str]:
    """Return the sentences about batches that can't be integrated; empty if they can.

    Parameters
    ----------
    name
        How messages call the file or data set.
    key
        obs column of the batches.
    sizes
        Cells of every batch.
    n_cells
        Cells in all, those without a batch counted.
    when
        Half a sentence on when this was found, such as `` after the filters``.
    is_primary
        Whether it is the key that methods correct; small batches of other keys are no error.
    """
    if not sizes:
        return [
            f"{name}: obs column '{key}' (batch_key) is empty for all {plural(n_cells, 'cell')}{when}; every cell"
            " needs its batch. Values listed in --missing_values count as empty."
        ]
    if len(sizes) == 1:
        return [
            f"{name}: obs column '{key}' (batch_key) has one batch only ('{next(iter(sizes))}'){when}; at least two"
            " are needed to ask for a batch effect. Name another batch_key."
        ]
    if len(sizes) >= MIN_IDS and len(sizes) > 0.9 * sum(sizes.values()):
        return [
            f"{name}: obs column '{key}' (batch_key) has {len(sizes):,} batches for {sum(sizes.values()):,} cells:"
            f" every cell is its own batch ({listing(sizes, limit=3)}). Is it a column of ids? Name the column of"
            " samples or runs in batch_key."
        ]
    tiny = {b: n for b, n in sizes.items() if n < MIN_BATCH}
    if not tiny or not is_primary:
        return []
    shown = listing([f"{b}: {n}" for b, n in tiny.items()], limit=10)
    return [
        f"{name}: {plural(len(tiny), 'batch has', 'batches have')} fewer than {MIN_BATCH} cells{when} ({shown})."
        " Remove these cells or merge the batches."
    ]
