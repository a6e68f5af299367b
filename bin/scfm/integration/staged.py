"""Correction in stages: a key inside the levels of the next key, then that key, up to the last one across all cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from scfm.registries.messages import message
from scfm.text import listing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: cells that a level needs to be corrected: one soft cluster of Harmony
MIN_CELLS = 30


@dataclass(frozen=True)
class StageFacts:
    """What one stage did.

    Attributes
    ----------
    stage
        Number, from 1.
    key
        Column whose values were the batches.
    inside
        Column inside whose levels they were corrected; empty for all cells together.
    n_levels
        Levels, those passed through included.
    alone, small
        Levels with one value of ``key`` only, and levels with fewer than :data:`MIN_CELLS` cells: both pass through.
    n_passed
        Cells that pass through.
    """

    stage: int
    key: str
    inside: str
    n_levels: int
    alone: tuple[str, ...]
    small: tuple[str, ...]
    n_passed: int


def correct_in_stages(
    values: "np.ndarray",
    keys: "pd.DataFrame",
    n_stages: int,
    correct: Callable[["np.ndarray", "np.ndarray"], "np.ndarray"],
) -> tuple["np.ndarray", list[StageFacts]]:
    """Correct coordinates stage by stage.

    Parameters
    ----------
    values
        Shape (n_cells, n_dims).
    keys
        Values of the keys as text, a row per cell in the same order; the first column is corrected first.
    n_stages
        Stages to run, at most as many as there are keys.
    correct
        Takes coordinates and batches of some cells, and returns their coordinates corrected.

    Returns
    -------
    Corrected coordinates, shape (n_cells, n_dims), cells in the same order; what each stage did.
    """
    import numpy as np

    current, facts = np.array(values, dtype=float), []
    names = list(keys.columns)
    for number, key in enumerate(names[:n_stages], start=1):
        inside = names[number] if number < len(names) else ""
        batches = keys[key].to_numpy(dtype=object)
        levels = keys[inside].to_numpy(dtype=object) if inside else np.full(len(keys), "", dtype=object)
        passed: dict[str, list[str]] = {"alone": [], "small": []}
        n_passed, found = 0, sorted(set(levels))
        for level in found:
            rows = levels == level
            reason = _why_not(batches[rows])
            if reason:
                passed[reason].append(level)
                n_passed += int(rows.sum())
            else:
                current[rows] = correct(current[rows], batches[rows])
        facts.append(
            StageFacts(number, key, inside, len(found), tuple(passed["alone"]), tuple(passed["small"]), n_passed)
        )
    return current, facts


def _why_not(batches: "np.ndarray") -> str:
    """Return why cells pass through: ``alone``, ``small``, or empty where they are corrected."""
    if len(set(batches)) < 2:
        return "alone"
    return "small" if len(batches) < MIN_CELLS else ""


def stage_messages(facts: Sequence[StageFacts], **about: Any) -> list[dict]:
    """Return W-STAGE-01 for every stage in which cells pass through.

    Parameters
    ----------
    facts
        From :func:`correct_in_stages`.
    about
        ``dataset``, ``method`` and ``seed`` of the messages.
    """
    found = []
    for stage in facts:
        if not stage.n_passed:
            continue
        reasons = []
        if stage.alone:
            reasons.append(
                f"a single {stage.key} in {listing(stage.alone)}" if stage.inside else f"a single {stage.key}"
            )
        if stage.small:
            reasons.append(
                f"fewer than {MIN_CELLS} cells in {listing(stage.small)}" if stage.inside else "too few cells"
            )
        where = f"{stage.key} inside {stage.inside}" if stage.inside else stage.key
        found.append(
            message(
                "W-STAGE-01",
                **about,
                stage=stage.stage,
                where=where,
                n_passed=stage.n_passed,
                reasons="; ".join(reasons),
                values=asdict(stage) | {"alone": list(stage.alone), "small": list(stage.small)},
                threshold=MIN_CELLS,
            )
        )
    return found
