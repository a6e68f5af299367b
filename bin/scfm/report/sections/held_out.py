"""Ranks on held-out cells: methods that learn from labels beside all others, on cells whose labels they lack."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from markupsafe import Markup

from scfm.report.page.html import number
from scfm.report.page.mqc import Section
from scfm.report.page.said import said_section
from scfm.report.page.tables import Cell, Column, Row, data_table, heat_cell
from scfm.report.sections.scores import metrics_heatmap
from scfm.report.sections.verdict import leaders
from scfm.report.tables.totals import Limits
from scfm.report.view.summary import summarise

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

_HEADS = [
    Column("Rank", "By total, 1 is highest; equal totals share a rank, a dash is not ranked"),
    Column("Bio", "Agreement with the labels of the held-out cells, 0 to 1"),
    Column("Batch", "Mixing of the batches among the held-out cells, 0 to 1"),
    Column("Total", "Weighted sum of both"),
    Column("Total, all cells", "The total of the overview; a method that learns from labels has none"),
]


def held_out_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return totals and ranks of all embeddings on the held-out cells, beside their totals on all cells.

    Nothing of a data set without a method that learns from labels.
    """
    if data.of("totals_held_out", dataset).empty:
        return []
    table = summarise(_view(data), dataset)
    shown = table[~table["is_control"] & table["batch"].notna()]
    everywhere = summarise(data, dataset).set_index(["method", "correction"])["total"]
    n_cells = int(data.of("scores_held_out", dataset).query("group == 'all'")["n_cells"].max())
    return [
        said_section(
            "held_out",
            "Ranks on held-out cells",
            [Markup(leaders(table, Limits.of(data.params)))],
            data_table(_HEADS, _rows(shown, everywhere), corner="Embedding", css="scfm-heat"),
            description=(
                f"Methods that learn from labels had those of all but {n_cells:,} held-out cells, a share of every"
                " label in proportion to its batches. Here every embedding is scored on these cells alone. Fewer cells"
                " make all numbers differ from those elsewhere on this page: compare inside this table."
            ),
        )
    ]


def held_out_metric_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return all metrics on the held-out cells; nothing of a data set without a method that learns from labels."""
    if data.of("totals_held_out", dataset).empty:
        return []
    view = _view(data)
    section = metrics_heatmap(view, dataset, summarise(view, dataset))
    return [replace(section, key="held_out_metrics", name=f"{section.name}, held-out cells")]


def _view(data: "ReportData") -> "ReportData":
    """Return the run with the scores on held-out cells in place of those on all cells."""
    tables = data.with_tables(totals=data.totals_held_out, scores=data.scores_held_out)
    return replace(tables, names=data.names.with_held_out_labels())


def _rows(shown: "pd.DataFrame", everywhere: "pd.Series") -> list[Row]:
    """Return a row per embedding, in the order of the totals."""
    ranks = shown["rank_total"].rank(ascending=False, method="min")
    return [
        Row(
            row["title"],
            [
                Cell("–", sort="") if math.isnan(rank) else Cell(f"{rank:.0f}", sort=rank),
                heat_cell(row["bio"]),
                heat_cell(row["batch"]),
                heat_cell(row["total"]),
                Cell(number(everywhere.get((row["method"], row["correction"]), float("nan")))),
            ],
        )
        for row, rank in zip(shown.to_dict("records"), ranks, strict=True)
    ]
