"""Staged integration: scores after every stage, beside the uncorrected PCA and Harmony in one stage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scfm.inputs.keys import PAIR_COLUMNS
from scfm.registries.instances import STAGE
from scfm.report.page.html import number, signed
from scfm.report.page.mqc import Section
from scfm.report.page.said import said_section
from scfm.report.page.tables import Cell, Column, Row, data_table
from scfm.report.tables.totals import Limits, default_total, tolerance

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: what the stages are compared with, besides Harmony in one stage
UNCORRECTED = "pca"


def stage_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return bio and batch after every stage with every pair of keys; nothing of a run without stages."""
    plan = data.of("plan", dataset)
    stages = plan[plan["instance"] == STAGE]
    if stages.empty:
        return []
    single = str(stages["base_method"].iloc[0])
    names = [UNCORRECTED, *dict.fromkeys(stages["method"]), single]
    scores = stage_scores(data, dataset, names)
    pairs = list(dict.fromkeys(zip(scores["batch_key"], scores["label_key"], strict=True)))
    rows = [
        Row(data.names.method(name), [cell for pair in pairs for cell in _cells(scores, name, pair)])
        for name in names
        if name in set(plan["method"])
    ]
    columns = [
        Column(f"{title}, {batch}", f"{words} with batch key '{batch}' and label key '{label}', mean over seeds")
        for batch, label in pairs
        for title, words in (("Bio", "Bio conservation"), ("Batch", "Batch removal"))
    ]
    last, limits = names[-2], Limits.of(data.params)
    said = [
        *(_compared(data, scores, (last, single), pair, limits.tie) for pair in pairs),
        *dict.fromkeys(entry["text"] for entry in data.told(dataset, "W-STAGE-01")),
    ]
    return [
        said_section(
            "stages",
            "Staged integration",
            said,
            data_table(columns, rows, corner="After"),
            description=(
                "Harmony corrects the first key of --stages inside every level of the next one, then that one, up to"
                " the last across all cells. Beside them is Harmony in one stage, which corrects the batch key."
            ),
        )
    ]


def stage_scores(data: "ReportData", dataset: str, names: list[str]) -> "pd.DataFrame":
    """Return ``batch_key, label_key, method, bio, batch, bio_sd, batch_sd`` of the raw embeddings of some methods, with
    every pair of keys, the primary one first: means and standard deviations over seeds (NaN with one) of the parts of
    the first raw total.
    """
    import pandas as pd

    frames = [data.of(table, dataset) for table in ("totals", "other_totals")]
    rows = default_total(pd.concat([f for f in frames if len(f)], ignore_index=True), data.params)
    rows = rows[(rows["correction"] == "raw") & rows["method"].isin(names)]
    keys = [*PAIR_COLUMNS, "method"]
    parts = rows.astype({"bio": float, "batch": float}).groupby(keys, sort=False)[["bio", "batch"]]
    return parts.mean().join(parts.std().add_suffix("_sd")).reset_index()


def _values(scores: "pd.DataFrame", name: str, pair: tuple[str, str], suffix: str = "") -> tuple[float, float]:
    """Return bio and batch (or their ``_sd``) of a method with a pair of keys, NaN where it has none."""
    batch, label = pair
    found = scores[(scores["method"] == name) & (scores["batch_key"] == batch) & (scores["label_key"] == label)]
    first, second = (found[f"{score}{suffix}"] for score in ("bio", "batch"))
    return (float(first.iloc[0]), float(second.iloc[0])) if len(found) else (float("nan"),) * 2


def _cells(scores: "pd.DataFrame", name: str, pair: tuple[str, str]) -> list[Cell]:
    return [Cell(number(v, 3), sort="" if math.isnan(v) else v) for v in _values(scores, name, pair)]


def _compared(
    data: "ReportData", scores: "pd.DataFrame", names: tuple[str, str], pair: tuple[str, str], tie: float
) -> str:
    """Return the sentence that compares the last stage with one stage; differences up to the tolerance, or to the
    larger standard deviation over seeds, are none.
    """
    values = zip(*(_values(scores, name, pair) for name in names), strict=True)
    spreads = zip(*(_values(scores, name, pair, "_sd") for name in names), strict=True)
    words = []
    for what, (last_stage, one_stage), sds in zip(("bio", "batch"), values, spreads, strict=True):
        change, noise = last_stage - one_stage, tolerance(tie, *sds)
        if math.isnan(change):
            words.append(f"{what} is not known")
        elif abs(change) <= noise:
            spread = f", spread over seeds {noise:.3f}" if noise > tie else ""
            words.append(f"{what} can't be told apart ({signed(change)}{spread})")
        else:
            words.append(f"{what} is {'higher' if change > 0 else 'lower'} ({signed(change)})")
    last, single = (data.names.method(name) for name in names)
    return f"{last} against {single}, batch key '{pair[0]}': {' and '.join(words)} (tolerance {tie:g})."
