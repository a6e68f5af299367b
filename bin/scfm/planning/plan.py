"""The plan: one row per embedding that a run should produce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scfm.inputs.params import Choice
from scfm.io.tables import IDENTITY
from scfm.planning.models import RANDOM, PlannedModel, describe
from scfm.registries.methods import Method

COLUMNS = (
    *IDENTITY,
    "base_method",
    "instance",
    "settings",
    "is_control",
    "output_type",
    "model",
    "group_column",
    "task_group",
    "status",
    "reason_code",
    "reason",
)
#: columns of a row that is no model's and runs
PLAIN = {
    "instance": "",
    "settings": "{}",
    "model": "",
    "group_column": "",
    "task_group": "",
    "status": "",
    "reason_code": "",
    "reason": "",
}


def plan_rows(
    dataset: str,
    choice: Choice,
    methods: Mapping[str, Method],
    imported: Sequence[str],
    models: Sequence[PlannedModel] = (),
) -> list[dict]:
    """Return the rows of one data set.

    Stochastic methods have a row per seed, the others one with the first seed. Everything but a control and an instance
    also has a row per correction.

    Parameters
    ----------
    dataset
        Name of the data set.
    choice
        Methods, controls, corrections, seeds and instances of the run.
    methods
        The methods table.
    imported
        Names of the data set's own embeddings.
    models
        Foundation models of the data set. One that can't run is planned all the same, with the reason: nothing that was
        asked for is missing.
    """
    rows = []
    for name in [*choice.methods, *choice.controls]:
        method = methods[name]
        for seed in choice.seeds if method.stochastic else choice.seeds[:1]:
            corrections = [] if method.is_control else choice.corrections
            rows += _corrections(dataset, name, (method.family, method.output_type), seed, corrections)
    for instance in choice.instances:
        method = methods[instance.base]
        more = {"base_method": instance.base, "instance": instance.kind, "settings": instance.settings_text}
        for seed in choice.seeds if method.stochastic else choice.seeds[:1]:
            rows += _corrections(dataset, instance.name, (method.family, method.output_type), seed, [], **more)
    for planned in models:
        rows += _model_rows(dataset, planned, choice)
    for name in imported:
        rows += _corrections(dataset, name, ("imported", "embedding"), choice.seeds[0], choice.corrections)
    return rows


def _model_rows(dataset: str, planned: PlannedModel, choice: Choice) -> list[dict]:
    """Return the rows of one model: as it is, and with random weights (a control, which every seed draws anew)."""
    info = planned.info
    code, reason = describe(planned.problems) if planned.problems else ("", "")
    more = {
        "model": info.name,
        "group_column": planned.group_column,
        "status": "not_applicable" if code else "",
        "reason_code": code,
        "reason": reason,
    }
    kind, rows = (info.family, info.output_type), []
    for seed in choice.seeds if info.stochastic else choice.seeds[:1]:
        rows += _corrections(dataset, info.name, kind, seed, choice.corrections, **more)
    for seed in choice.seeds if planned.with_random else ():
        rows += _corrections(dataset, info.name + RANDOM, kind, seed, [], is_control=True, **more)
    return rows


def _corrections(
    dataset: str, method: str, kind: tuple[str, str], seed: int, corrections: Sequence[str], **more: object
) -> list[dict]:
    """Return the rows of one method and seed: raw and corrected (a graph has no coordinates to correct)."""
    family, output_type = kind
    corrections = ["raw", *(corrections if output_type != "graph" else [])]
    return [
        {
            "dataset": dataset,
            "embedding": f"{method}.{correction}.{seed}",
            "method": method,
            "family": family,
            "correction": correction,
            "seed": seed,
            "is_control": family == "control",
            "output_type": output_type,
            "base_method": method,
            **PLAIN,
            **more,
        }
        for correction in corrections
    ]


def plan_text(rows: Sequence[Mapping]) -> str:
    """Return the plan as TSV; booleans as ``true`` and ``false``, texts on one line."""
    lines = ["\t".join(COLUMNS)]
    for row in rows:
        lines.append(
            "\t".join(
                str(row[c]).lower() if isinstance(row[c], bool) else " ".join(str(row[c]).split()) for c in COLUMNS
            )
        )
    return "\n".join(lines) + "\n"
