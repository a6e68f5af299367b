"""What batch centring changes: totals before and after, the change by metric, and what a probe still reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.report.page.html import esc, signed
from scfm.report.page.mqc import Section, slug
from scfm.report.page.tables import CONTROL, Column, Row, change_cell, data_table, tabs
from scfm.report.plots.scatter import SQUARE, Plot, Point, draw_scatter
from scfm.report.plots.slopes import Slope, draw_slopes
from scfm.report.sections.scores import COLOURS
from scfm.report.tables.totals import TIE_TOLERANCE, Limits
from scfm.report.view.study import CENTRED, RAW, counted_metrics, paired, probing_values, study_table
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

_PROBES = (
    ("batch", "macro_f1", "Batch, macro-F1"),
    ("label", "macro_f1", "Label, macro-F1"),
    ("batch", "accuracy", "Batch, accuracy"),
    ("label", "accuracy", "Label, accuracy"),
)


def centring_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return slopes, changes by metric and probes before and after; nothing where no embedding was centred."""
    table = study_table(data, dataset)
    both = paired(table).dropna(subset=["total_raw", "total_centred"]).reset_index(drop=True)
    tie = Limits.of(data.params).tie
    sections = (
        [slope_section(dataset, table, both, tie), change_section(both, counted_metrics(data, dataset))]
        if len(both)
        else []
    )
    return [*sections, *probe_section(data, dataset, table)]


def slope_section(dataset: str, table: "pd.DataFrame", both: "pd.DataFrame", tie: float = TIE_TOLERANCE) -> Section:
    """Return total, bio and batch from raw to centred, with Harmony's raw value as a dashed line; differences up to
    ``tie`` are none.
    """
    harmony = table[(table["method"] == "harmony") & (table["correction"] == RAW)].dropna(subset=["total"])
    panels = []
    for column, title in (("total", "Total (equal halves)"), ("bio", "Bio conservation"), ("batch", "Batch removal")):
        slopes = [Slope(r["title"], r[f"{column}_raw"], r[f"{column}_centred"]) for r in both.to_dict("records")]
        panels.append((title, slopes, float(harmony[column].iloc[0]) if len(harmony) else None))
    change = both["total_centred"] - both["total_raw"]
    better, clearly = int((change > 0).sum()), int((change > tie).sum())
    others = both.loc[both["method"] != "harmony", "total_centred"]
    over = int((others - panels[0][2] > tie).sum()) if len(harmony) else 0
    above = (
        "Harmony has no total in this run, so its line is missing."
        if harmony.empty
        else (
            f"Of {plural(len(others), 'other centred method')}, {over or 'none'}"
            f" {'pass' if over > 1 else 'passes'} Harmony's raw total by more than {tie:g}."
            if len(others)
            else ""
        )
    )
    return Section(
        "slopes",
        "Centred against raw",
        "html",
        draw_slopes(panels, reference="Harmony, raw", key=f"scfm-slopes-{slug(dataset)}"),
        description=(
            f"Every method before and after <code>{CENTRED}</code> (the mean of each batch subtracted, then length 1);"
            f" higher is better, and the change follows the name. The total rises for {better} of {len(both)},"
            f" by more than {tie:g} for {clearly}. {above} The axes are cut to the values."
        ),
    )


def change_section(both: "pd.DataFrame", metrics: list[dict]) -> Section:
    """Return the change of every metric by centring, and the mean over the methods."""
    columns = [(m["name"], m["title"]) for m in metrics] + [("bio", "Bio"), ("batch", "Batch"), ("total", "Total")]
    changes = {c: both[f"{c}_centred"] - both[f"{c}_raw"] for c, _ in columns}
    rows = [
        Row(title, [change_cell(float(changes[c].iloc[i])) for c, _ in columns])
        for i, title in enumerate(both["title"])
    ]
    rows.append(Row(f"Mean of {len(both)}", [change_cell(float(changes[c].mean())) for c, _ in columns], CONTROL))
    return Section(
        "changes",
        "Change by centring, metric by metric",
        "html",
        data_table([Column(t) for _, t in columns], rows, corner="Method", css="scfm-heat"),
        description="Centred minus raw; blue is better, orange worse."
        + _mechanical({c: float(v.mean()) for c, v in changes.items()}, metrics),
    )


def _mechanical(means: dict[str, float], metrics: list[dict]) -> str:
    """Return the caution about BRAS, with how much of the gain of the batch half it is."""
    batch = [m for m in metrics if m["group"] == "batch"]
    rest = [m for m in batch if m["name"] != "bras"]
    if len(rest) == len(batch) or not rest:
        return ""
    others = sum(means[m["name"]] for m in rest) / len(rest)
    named = esc(rest[0]["title"]) if len(rest) == 1 else f"the {len(rest)} other batch metrics"
    return (
        f" <b>Read the batch half with care</b>: BRAS changes by {signed(means['bras'])} on average, {named} by"
        f" {signed(others)}. BRAS compares angles, and subtracting batch means changes angles by construction; where"
        " only BRAS rises, much of the gain is mechanical."
    )


def probe_section(data: "ReportData", dataset: str, table: "pd.DataFrame") -> list[Section]:
    """Return the probes, raw against centred, with the line of no change."""
    rows = probing_values(data, dataset)
    titles = dict(zip(table["method"], table["family"], strict=True))
    panels = []
    for target, metric, title in _PROBES:
        part = rows[(rows["target"] == target) & (rows["metric"] == metric)].pivot_table(
            index="method", columns="correction", values="value"
        )
        if not {RAW, CENTRED} <= set(part.columns):
            continue
        part = part.dropna(subset=[RAW, CENTRED])
        points = [
            Point(
                name := data.names.method(str(m)),
                float(r[RAW]),
                float(r[CENTRED]),
                COLOURS.get(titles.get(m, ""), "#333333"),
                f"{name}: raw {r[RAW]:.3f}, centred {r[CENTRED]:.3f}",
            )
            for m, r in part.iterrows()
        ]
        if points:
            key = f"scfm-centred-{slug(dataset)}-{target}-{metric}"
            plot = Plot(key, "Raw", "Centred", {}, ["dashed: no change"], diagonal=True, size=SQUARE)
            panels.append((title, draw_scatter(points, plot)))
    if not panels:
        return []
    return [
        Section(
            "probe_centred",
            "Probes before and after centring",
            "html",
            tabs(panels),
            description=(
                "Logistic regression on random folds, means over folds and seeds. Batch: lower is better, so points"
                " under the line gained. Label: higher is better. Centring takes the linear part of a batch effect by"
                " construction, so a linear probe falls; whether nearest neighbours still find the batch is in"
                " <i>Batches predicted from the embedding</i>."
            ),
        )
    ]
