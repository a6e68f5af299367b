"""The plan: one row per embedding that a run should produce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scfm.data.params import Choice
from scfm.registry import Method

COLUMNS = ("dataset", "embedding", "method", "family", "variant", "seed", "is_control", "output_type")


def plan_rows(dataset: str, choice: Choice, methods: Mapping[str, Method], imported: Sequence[str]) -> list[dict]:
    """Return the rows of one data set.

    Stochastic methods have a row per seed, the others one with the first seed. Everything but a control also has a
    row per correction.

    Parameters
    ----------
    dataset
        Name of the data set.
    choice
        Methods, controls, corrections and seeds of the run.
    methods
        The methods table.
    imported
        Names of the data set's own embeddings.
    """
    rows = []
    for name in [*choice.methods, *choice.controls]:
        method = methods[name]
        for seed in choice.seeds if method.stochastic else choice.seeds[:1]:
            rows += _variants(dataset, name, (method.family, method.output_type), seed, [] if method.is_control else choice.corrections)
    for name in imported:
        rows += _variants(dataset, name, ("imported", "embedding"), choice.seeds[0], choice.corrections)
    return rows


def _variants(dataset: str, method: str, kind: tuple[str, str], seed: int, corrections: Sequence[str]) -> list[dict]:
    """Return the rows of one method and seed: raw and corrected (a graph has no coordinates to correct)."""
    family, output_type = kind
    variants = ["raw", *(corrections if output_type != "graph" else [])]
    return [
        {
            "dataset": dataset, "embedding": f"{method}.{variant}.{seed}", "method": method, "family": family, "variant": variant,
            "seed": seed, "is_control": family == "control", "output_type": output_type,
        }
        for variant in variants
    ]


def plan_text(rows: Sequence[Mapping]) -> str:
    """Return the plan as TSV; booleans as ``true`` and ``false``."""
    lines = ["\t".join(COLUMNS)]
    for row in rows:
        lines.append("\t".join(str(row[c]).lower() if isinstance(row[c], bool) else str(row[c]) for c in COLUMNS))
    return "\n".join(lines) + "\n"
