"""Scores of one data set: summary table, totals, trade-off, metrics, labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.report.page.html import number
from scfm.report.page.mqc import Section
from scfm.report.page.tables import CONTROL, Cell, Column, Heat, Row, data_table, heat_cell, heat_table
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


def scored(data: "ReportData", dataset: str) -> "pd.DataFrame | None":
    """Return the rows of :func:`scfm.report.view.summary.summarise`; None for a data set without any score."""
    table = summarise(data, dataset)
    return None if table["bio"].isna().all() and table["batch"].isna().all() else table


def summary_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the summary of one data set."""
    table = scored(data, dataset)
    return [] if table is None else [summary_table(data, table)]


def metric_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return all metrics of one data set."""
    table = scored(data, dataset)
    return [] if table is None else [metrics_heatmap(data, dataset, table)]


def total_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the totals of one data set with every weight and scaling."""
    table = scored(data, dataset)
    return [] if table is None or table["total"].isna().all() else [totals_plot(data, table)]


def summary_table(data: "ReportData", table: "pd.DataFrame") -> Section:
    """Return the summary: one row per method and correction, best total first, controls last."""
    total = next(iter(total_columns(data.totals, data.params).values()), "Total")
    heads = [Column(t.format(total=total), tip) for t, tip in _SUMMARY.values()]
    rows = []
    for row in table.to_dict("records"):
        scores = [heat_cell(row[c]) for c in ("total", "bio", "batch")]
        cells = [
            *scores,
            Cell(number(row["total_sd"], 3)),
            Cell(str(int(row["n_seeds"]))),
            Cell("yes" if row["front"] else ""),
            Cell(row["outcome"], css="" if row["outcome"] == "ok" else "scfm-bad"),
        ]
        rows.append(Row(row["title"], cells, CONTROL if row["is_control"] else ""))
    return Section(
        "summary",
        "Summary",
        "html",
        data_table(heads, rows, corner="Embedding", css="scfm-heat"),
        description=(
            "Means over seeds; higher is better, dark is high. Controls come last: they are no methods to choose but"
            " mark the ends of the scale. A total hides the trade-off, so read it beside the plot of bio against batch."
            " Other weights and scaled totals are in the section Totals."
        ),
    )


_SUMMARY = {
    "total": ("{total}", "Weighted mean of bio and batch, the first of --total_weights"),
    "bio": ("Bio", "Bio conservation: mean of the bio metrics in the total (0-1, higher is better)"),
    "batch": ("Batch", "Batch removal: mean of the batch metrics in the total (0-1, higher is better)"),
    "total_sd": ("SD", "Standard deviation of the total over seeds; a dash with one seed"),
    "seeds": ("Seeds", "Seeds run"),
    "front": ("Front", "On the Pareto front: no other embedding is better in both bio and batch"),
    "outcome": ("Outcome", "ok, the step that failed, or why it is not ranked"),
}


def kind_of(row: dict[str, Any]) -> str:
    """Return whether a row is a method, a corrected embedding or a control."""
    return "control" if row["is_control"] else "corrected" if row["correction"] != "raw" else "method"


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
            " scale, so they do not depend on which methods are in the table; every metric is capped at these ends."
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


def metrics_heatmap(data: "ReportData", dataset: str, table: "pd.DataFrame") -> Section:
    """Return embedding x metric, bio metrics first; the tooltip of a metric has its definition and limitations."""
    scores = data.of("scores", dataset)
    whole = scores[scores["group"] == "all"]
    values = whole.groupby(["method", "correction", "metric"])["value"].mean()
    reasons = whole[whole["status"] != "ok"].groupby(["method", "correction", "metric"])["reason"].first()
    spreads = whole.groupby(["method", "correction", "metric"])["spread"].max().dropna()
    metrics = data.metrics[data.metrics["name"].isin(whole["metric"])].to_dict("records")
    titles = {(r["method"], r["correction"]): r["title"] for r in table.to_dict("records")}
    rows = [t for key, t in titles.items() if key in set(zip(whole["method"], whole["correction"], strict=True))]
    panels = []
    for group, name in (("bio", "Bio conservation"), ("batch", "Batch removal")):
        chosen = [m for m in metrics if m["group"] == group]
        if chosen:
            heat = Heat(
                corner=name,
                tips={
                    (titles[m, v], data.names.metric(x)): text
                    for notes in (spreads.map("clusterings differ by {:.3f}".format), "not defined: " + reasons)
                    for (m, v, x), text in notes.items()
                },
                heads={m["title"]: metric_tip(m) for m in chosen},
                lower_better={m["title"] for m in chosen if not m["higher_is_better"]},
                controls=set(table.loc[table["is_control"], "title"]),
            )
            found = {(titles[m, v], data.names.metric(x)): value for (m, v, x), value in values.items()}
            panels.append(heat_table(rows, [m["title"] for m in chosen], found, heat))
    return Section(
        "metrics",
        "All metrics",
        "html",
        "".join(panels),
        description=(
            "Embedding by metric, means over seeds; dark is good in every column, and ↓ marks the ones where lower"
            " values are better. A dash is a metric that is not defined. Point at a cell for the reason or the spread"
            " over repeated clusterings, at a name for"
            " direction, range and limitations of the metric."
        ),
    )


def metric_tip(metric: dict[str, Any]) -> str:
    """Return direction, range, meaning and blind spots of a metric in one text."""
    direction = "higher" if metric["higher_is_better"] else "lower"
    part = "in the total" if metric["in_total"] else "not in the total"
    return (
        f"{metric['title']}: {direction} is better, range {metric['range']}, {part}. {metric['definition']} Misses:"
        f" {metric['limitations']}"
    )
