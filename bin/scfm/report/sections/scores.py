"""Scores of one data set: summary table, totals, trade-off, metrics, labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scfm.report.page.html import heat_table, tabs
from scfm.report.page.mqc import Section, slug
from scfm.report.plots.scatter import Point, scatter_svg
from scfm.report.sections.labels import label_sections
from scfm.report.view.summary import summarise, total_columns

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

COLOURS = {
    "none": "#7f7f7f",
    "linear": "#bcbd22",
    "neighbor_graph": "#1f77b4",
    "generative": "#d62728",
    "foundation_model": "#9467bd",
    "imported": "#ff7f0e",
    "control": "#555555",
}
_KINDS = {"method": "#2171b5", "corrected": "#9ecae1", "control": "#bdbdbd"}


def score_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the score sections of one data set; one without any score has none."""
    table = summarise(data, dataset)
    if table["bio"].isna().all() and table["batch"].isna().all():
        return []
    sections = [
        summary_table(data, table),
        totals_plot(data, table),
        tradeoff_plot(dataset, table),
        metrics_heatmap(data, dataset, table),
    ]
    return [*sections, *label_sections(data, dataset, table)]


def summary_table(data: "ReportData", table: "pd.DataFrame") -> Section:
    """Return the summary: one row per method and correction, best total first, controls last."""
    totals = total_columns(data.totals, data.params)
    rows = {}
    for row in table.to_dict("records"):
        cells: dict[str, Any] = {"kind": kind_of(row)}
        for column in ("bio", "batch", *totals, "total_sd"):
            if not math.isnan(row[column]):  # MultiQC shows an empty cell for what is left out
                cells[column] = round(float(row[column]), 4)
        cells["seeds"] = int(row["n_seeds"])
        cells["front"] = "yes" if row["front"] else ""
        cells["outcome"] = row["outcome"]
        rows[row["title"]] = cells
    return Section(
        "summary",
        "Summary",
        "table",
        rows,
        description=(
            "Means over seeds. <b>Bio</b> and <b>batch</b> are plain means of their metrics; higher is better in every"
            " column. The best total comes first, controls last: they are no methods to choose but mark the ends of the"
            " scale. A total hides the trade-off, so read it beside the plot of bio against batch."
        ),
        options={"col1_header": "Embedding", "sort_rows": False, "no_violin": True, "namespace": ""},
        extra={"headers": _summary_headers(totals)},
    )


def kind_of(row: dict[str, Any]) -> str:
    """Return whether a row is a method, a corrected embedding or a control."""
    return "control" if row["is_control"] else "corrected" if row["correction"] != "raw" else "method"


def _summary_headers(totals: dict[str, str]) -> dict[str, dict[str, Any]]:
    score = {"min": 0, "max": 1, "format": "{:,.2f}"}
    headers: dict[str, dict[str, Any]] = {
        # every row has a kind: MultiQC orders rows by the first column that they have
        "kind": {
            "title": "Kind",
            "description": "method, corrected (a correction applied to it) or control",
            "scale": False,
            "hidden": True,
        },
        "bio": {
            "title": "Bio",
            "description": "Bio conservation: mean of the bio metrics in the total (0-1, higher is better)",
            "scale": "Greens",
            **score,
        },
        "batch": {
            "title": "Batch",
            "description": "Batch removal: mean of the batch metrics in the total (0-1, higher is better)",
            "scale": "Blues",
            **score,
        },
        "front": {
            "title": "Front",
            "description": "On the Pareto front: no other embedding is better in both bio and batch",
            "scale": False,
            "cond_formatting_rules": {"pass": [{"s_eq": "yes"}]},
        },
    }
    for column, title in totals.items():
        how = "every metric scaled between its two fixed controls first" if "scaled" in column else "not scaled"
        headers[column] = {
            "title": title,
            "description": f"Weighted mean of bio and batch, {how} (higher is better)",
            "scale": "RdYlGn",
            **score,
        }
    headers["total_sd"] = {
        "title": "SD",
        "description": "Standard deviation of the first total over seeds; empty with one seed",
        "scale": False,
        "format": "{:,.3f}",
    }
    headers["outcome"] = {
        "title": "Outcome",
        "description": "ok, or the step that failed; the reason is in the messages",
        "scale": False,
        "cond_formatting_rules": {"pass": [{"s_eq": "ok"}], "fail": [{"s_contains": "fail"}]},
    }
    headers["seeds"] = {
        "title": "Seeds",
        "description": "Seeds run",
        "scale": False,
        "format": "{:,.0f}",
        "hidden": True,
    }
    return headers


def totals_plot(data: "ReportData", table: "pd.DataFrame") -> Section:
    """Return bars of the totals, one switch per weighting and scaling."""
    sets, labels = [], []
    for column, title in total_columns(data.totals, data.params).items():
        values = table.dropna(subset=[column])
        if len(values):
            sets.append(
                {row["title"]: {kind_of(row): round(float(row[column]), 4)} for row in values.to_dict("records")}
            )
            labels.append({"name": title, "ylab": title})
    return Section(
        "totals",
        "Totals",
        "bargraph",
        sets,
        description=(
            "Weighted mean of bio and batch, mean over seeds. Scaled totals set the fixed controls to the ends of the"
            " scale, so they do not depend on which methods are in the table; they may lie below 0 or above 1."
        ),
        options={
            "data_labels": labels,
            "sort_samples": False,
            "cpswitch": False,
            "tt_decimals": 3,
            "ylab": "Total",
            "hide_zero_cats": True,
        },
        extra={
            "categories": (
                [{kind: {"name": kind.capitalize(), "color": colour} for kind, colour in _KINDS.items()}] * len(sets)
            )
        },
    )


def tradeoff_plot(dataset: str, table: "pd.DataFrame") -> Section:
    """Return bio against batch with names at the points: methods alone, and with the controls."""
    rows = table.dropna(subset=["bio", "batch"])
    rows = rows.assign(family=rows["family"].mask(rows["is_control"], "control"))  # a model with random weights is one
    points = [
        Point(
            r["title"],
            float(r["batch"]),
            float(r["bio"]),
            COLOURS.get(r["family"], "#333333"),
            "control" if r["is_control"] else "method",
            bool(r["front"]),
        )
        for r in rows.to_dict("records")
    ]
    panels = []
    for title, shown in (("Methods", [p for p in points if p.kind != "control"]), ("With controls", points)):
        if shown and not (panels and len(shown) == panels[0][2]):
            families = {
                f: COLOURS.get(f, "#333333")
                for f in dict.fromkeys(rows["family"])
                if f != "control" or title != "Methods"
            }
            legend = {f.replace("_", " ").replace("none", "uncorrected"): c for f, c in families.items()}
            panels.append(
                (title, scatter_svg(shown, xlab="Batch removal", ylab="Bio conservation", legend=legend), len(shown))
            )
    return Section(
        "tradeoff",
        "Bio against batch",
        "html",
        tabs(f"scfm_tradeoff_{slug(dataset)}", [p[:2] for p in panels]),
        description=(
            "Means over seeds; up and right is better. The dashed line joins the Pareto front: no other embedding is"
            " better in both. The axes are cut to the points; point at one for its numbers."
        ),
    )


def metrics_heatmap(data: "ReportData", dataset: str, table: "pd.DataFrame") -> Section:
    """Return embedding x metric, bio metrics first; the name of a metric says what it is and what it misses."""
    scores = data.of("scores", dataset)
    whole = scores[scores["group"] == "all"]
    values = whole.groupby(["method", "correction", "metric"])["value"].mean()
    reasons = whole[whole["status"] != "ok"].groupby(["method", "correction", "metric"])["reason"].first()
    metrics = data.metrics[data.metrics["name"].isin(whole["metric"])].to_dict("records")
    titles = {(r["method"], r["correction"]): r["title"] for r in table.to_dict("records")}
    rows = [t for key, t in titles.items() if key in set(zip(whole["method"], whole["correction"], strict=True))]
    panels = []
    for group, name in (("bio", "Bio conservation"), ("batch", "Batch removal")):
        chosen = [m for m in metrics if m["group"] == group]
        if chosen:
            panels.append(
                f"<h5>{name}</h5>"
                + heat_table(
                    rows,
                    [m["title"] for m in chosen],
                    {(titles[m, v], data.names.metric(x)): value for (m, v, x), value in values.items()},
                    titles={
                        (titles[m, v], data.names.metric(x)): f"not defined: {reason}"
                        for (m, v, x), reason in reasons.items()
                    },
                    heads={m["title"]: metric_tip(m) for m in chosen},
                    lower_better={m["title"] for m in chosen if not m["higher_is_better"]},
                )
            )
    return Section(
        "metrics",
        "All metrics",
        "html",
        "".join(panels),
        description=(
            "Embedding by metric, means over seeds; dark is good in every column, and ↓ marks the ones where lower"
            " values are better. A dash is a metric that is not defined. Point at a cell for the reason, at a name for"
            " direction, range and what the metric misses."
        ),
    )


def metric_tip(metric: dict[str, Any]) -> str:
    """Return direction, range, meaning and blind spots of a metric in one text."""
    direction = "higher" if metric["higher_is_better"] else "lower"
    part = "in the total" if metric["in_total"] else "not in the total"
    return (
        f"{metric['title']}: {direction} is better, range {metric['range']}, {part}. {metric['definition']} Misses:"
        f" {metric['misses']}"
    )
