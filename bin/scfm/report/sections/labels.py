"""Scores by label: one table per metric that has parts by label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.report.page.mqc import Section
from scfm.report.page.tables import Heat, heat_table, tabs
from scfm.report.view.summary import summarise

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData


def label_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return label x embedding for every metric that has values by label, one behind a switch each."""
    table = summarise(data, dataset)
    scores = data.of("scores", dataset)
    parts = scores[scores["group"] != "all"]
    if parts.empty:
        return []
    sizes = data.facts(dataset).get("labels", {})
    labels = sorted(parts["group"].unique(), key=lambda g: (-sizes.get(g, 0), g))
    shown = {g: f"{g} ({sizes[g]:,})" if g in sizes else g for g in labels}
    titles = {(r["method"], r["correction"]): r["title"] for r in table.to_dict("records")}
    panels = []
    for metric in _batch_first(data.metrics, parts):
        rows = parts[parts["metric"] == metric]
        values = rows.groupby(["group", "method", "correction"])["value"].mean()
        reasons = rows[rows["status"] != "ok"].groupby(["group", "method", "correction"])["reason"].first()
        columns = [titles[k] for k in titles if k in set(zip(rows["method"], rows["correction"], strict=True))]
        panels.append(
            (
                data.names.metric(metric),
                heat_table(
                    [shown[g] for g in labels if g in set(rows["group"])],
                    columns,
                    {(shown[g], titles[m, v]): x for (g, m, v), x in values.items()},
                    Heat(
                        corner="Label (cells)",
                        tips={(shown[g], titles[m, v]): f"not defined: {x}" for (g, m, v), x in reasons.items()},
                    ),
                ),
            )
        )
    return [
        Section(
            "labels",
            "By label",
            "html",
            tabs(panels),
            description=(
                "Where a batch effect is left, and which labels suffer: one metric at a time, dark is high. Labels are"
                " ordered by size; a dash is not defined (point at it for the reason)."
            ),
        )
    ]


def _batch_first(metrics: "pd.DataFrame", parts: "pd.DataFrame") -> list[str]:
    """Return the metrics with values by label: batch metrics first, for where a batch effect is left is the
    question.
    """
    chosen = metrics[metrics["name"].isin(parts["metric"])]
    return [*chosen.loc[chosen["group"] == "batch", "name"], *chosen.loc[chosen["group"] != "batch", "name"]]
