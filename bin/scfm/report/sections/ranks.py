"""Which ranks hang on one metric: ranks by total with and without each metric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scfm.report.page.mqc import Section
from scfm.report.page.tables import Cell, Column, Row, data_table
from scfm.report.page.templates import render
from scfm.report.tables.totals import weight_text
from scfm.report.view.study import counted_metrics, first_weight, ranks_without, study_table
from scfm.text import ordinal, plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: a rank that moves by so much when one metric is left out is said in words
MOVED = 3


def rank_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the ranks without each metric; nothing where there are no scores."""
    table, metrics = study_table(data, dataset), counted_metrics(data, dataset)
    return [] if table.empty or not metrics else rank_section(table, metrics, first_weight(data, dataset))


def rank_section(table: "pd.DataFrame", metrics: list[dict], bio_weight: float) -> list[Section]:
    """Return the ranks of the uncorrected methods by the first total of the run, with and without each metric; needs
    two methods.
    """
    rows = table[(table["correction"] == "raw") & table["rank_total"].notna()].reset_index(drop=True)
    found = ranks_without(rows, metrics, bio_weight).sort_values("all", kind="stable")
    rows, found = rows.loc[found.index].reset_index(drop=True), found.reset_index(drop=True)
    if len(rows) < 2 or found.shape[1] < 2:
        return []
    titles = {m["name"]: m["title"] for m in metrics}
    columns = [Column("All metrics"), *(Column(f"without {titles[c]}") for c in found.columns[1:])]
    body = [
        Row(
            row.title,
            [Cell(f"{found.loc[i, 'all']:.0f}", css="scfm-strong")]
            + [_rank_cell(found.loc[i, "all"], found.loc[i, c]) for c in found.columns[1:]],
        )
        for i, row in enumerate(rows.itertuples())
    ]
    said = rank_sentences(rows["title"].tolist(), found, titles)
    table = data_table(columns, body, corner="Method", css="scfm-heat")
    return [
        Section(
            "ranks",
            "Rank with and without each metric",
            "html",
            render("ranks.html.j2", said=said, moved=MOVED, table=table),
            description=(
                f"Rank by total ({weight_text(bio_weight)}) of the {plural(len(rows), 'method')}"
                " (raw, nothing subtracted afterwards) that are ranked, 1 is best; equal totals share a rank. A rank"
                " that depends on one metric says more about the metric than about the embedding. A metric that is"
                " alone in its half can't be left out."
            ),
        )
    ]


def _rank_cell(before: float, after: float) -> Cell:
    if math.isnan(before) or math.isnan(after):  # a metric that the total holds and the scores lack
        return Cell("–", css="scfm-none", sort="")
    moved = int(before - after)  # up is positive
    if not moved:
        return Cell(f"{after:.0f}")
    arrow, tone = ("▲", "33,113,181") if moved > 0 else ("▼", "217,95,14")
    style = f"background:rgba({tone},{min(0.4, 0.08 * abs(moved) + 0.06):.2f})"
    return Cell(f"{after:.0f} {arrow}{abs(moved)}", style=style, sort=float(after))


def rank_sentences(titles: list[str], found: "pd.DataFrame", metrics: dict[str, str]) -> list[str]:
    """Return a sentence per method whose rank moves by at least 3 when one metric is left out."""
    said = []
    for i, title in enumerate(titles):
        before = found.loc[i, "all"]
        moves = [(c, found.loc[i, c]) for c in found.columns[1:] if abs(found.loc[i, c] - before) >= MOVED]
        if moves:
            ways = ", ".join(f"{ordinal(int(after))} without {metrics[c]}" for c, after in moves)
            said.append(f"{title} is {ordinal(int(before))} by all metrics, and {ways}.")
    return said
