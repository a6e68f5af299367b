"""Ranks on common cells: what changes where embeddings lack different cells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scfm.report.page.html import number
from scfm.report.page.mqc import Section
from scfm.report.page.tables import Cell, Column, Row, data_table, heat_cell
from scfm.report.sections.verdict import common_cells
from scfm.report.view.summary import summarise

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData


def common_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return totals on all cells of an embedding beside those on the cells that all ranked embeddings have.

    Nothing of a data set whose embeddings all have the same cells: both are the same number there.
    """
    n_common = common_cells(data, dataset)
    if not n_common:
        return []
    table = summarise(data, dataset)
    table = table[~table["is_control"] & table["total"].notna()]
    rows = [
        Row(
            r["title"],
            [
                Cell("–" if math.isnan(r["coverage"]) else f"{r['coverage']:.1%}", sort=number(r["coverage"], 4)),
                heat_cell(r["total"]),
                heat_cell(r["rank_total"]),
            ],
        )
        for r in table.to_dict("records")
    ]
    heads = [
        Column("Cells", "Share of the scored cells that the embedding has"),
        Column("Total, its own cells", "The total of the overview"),
        Column("Total, common cells", "The total that ranks are made from; a dash is not ranked"),
    ]
    return [
        Section(
            "common",
            "Ranks on common cells",
            "html",
            data_table(heads, rows, corner="Embedding", css="scfm-heat"),
            description=(
                f"Embeddings lack different cells here, so ranks and the verdict use the {n_common:,} cells that all"
                " ranked embeddings have."
            ),
        )
    ]
