"""Do batch metrics depend on the sizes of batches and labels? The same metrics on balanced cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.report.page.html import number
from scfm.report.page.mqc import Section
from scfm.report.page.said import said_section
from scfm.report.page.tables import Cell, Row, change_cell, data_table, tabs
from scfm.report.page.templates import render
from scfm.report.sections.residual import embeddings_of, sentences
from scfm.report.view.diagnosed import only_diagnosed

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

_HEADS = ["All cells", "Balanced", "Change", "Largest minus smallest draw", "Cells drawn"]


def balanced_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the batch metrics on all cells and on balanced ones; nothing where nothing was diagnosed."""
    found = embeddings_of(data.of("balanced", dataset), data, dataset)
    if not found:
        return []
    limit = data.params.get("diagnose_balance_change", 0.1)
    flagged = sentences(data, dataset, ("W-BAL-03",), found)
    said = flagged or [
        f"On balanced cells no mean of the batch metrics changes by more than {limit:g}."
        if any(rows["balanced"].notna().any() for _, _, rows in found)
        else "No batch metric can be computed on balanced cells; the table has the reasons."
    ]
    tables = tabs([(title, _table(rows, data)) for _, title, rows in found])
    if not flagged:
        tables = render("folded.html.j2", summary="Every metric on all cells and on balanced ones", body=tables)
    return [
        said_section(
            "balanced",
            "Do batch metrics depend on the sizes of the batches?",
            said,
            tables,
            description=(
                "Of every batch as many cells as the smallest has, of the labels that all batches share; mean of three"
                " draws. A metric that changes measures the composition of the data too."
                + only_diagnosed(data, dataset, "balanced")
            ),
        )
    ]


def _table(rows: "pd.DataFrame", data: "ReportData") -> str:
    """Return the metrics of one embedding."""
    body = []
    for row in rows.itertuples():
        balanced, change = float(row.balanced), float(row.change)
        cells = [Cell(number(float(row.value))), Cell(number(balanced), row.reason), change_cell(change)]
        cells += [Cell(number(float(row.spread))), Cell(f"{row.n_balanced:,} of {row.n_cells:,}")]
        body.append(Row(data.names.metric(row.metric), cells))
    return data_table(_HEADS, body, corner="Metric")
