"""Tables and tabs of the report. Texts are escaped by the templates; HTML is passed as ``markupsafe.Markup``."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from scfm.report.page.html import colour, signed
from scfm.report.page.templates import render

#: class of a row that the page's script keeps last whatever the table is sorted by: controls, means over the others
CONTROL = "scfm-control"


@dataclass(frozen=True)
class Column:
    """A column: its title, and what it says when pointed at."""

    title: str
    tip: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell: its text, what it says when pointed at, its look, and the value to sort by where it is not the text."""

    text: str
    tip: str = ""
    css: str = ""
    style: str = ""
    sort: float | str | None = None


@dataclass(frozen=True)
class Row:
    """A row: the name at its left, a note behind it, its cells, and its class (``CONTROL`` or nothing)."""

    head: str
    cells: Sequence[Cell]
    css: str = ""
    note: str = ""


@dataclass(frozen=True)
class Heat:
    """How a heat table is shown: see :func:`heat_table`."""

    corner: str = ""
    tips: Mapping[tuple[str, str], str] = field(default_factory=dict)
    heads: Mapping[str, str] = field(default_factory=dict)
    lower_better: Collection[str] = ()
    controls: Collection[str] = ()


def data_table(
    columns: Sequence[Column | str], rows: Sequence[Row], *, corner: str = "", css: str = "scfm-table"
) -> Markup:
    """Return a table with names at the left; the page's script makes it sortable and offers it as TSV.

    Parameters
    ----------
    columns
        All columns but the first.
    rows
        In the order in which they are shown first; controls belong last.
    corner
        Title of the first column.
    css
        ``scfm-table``, or ``scfm-heat`` for coloured numbers.
    """
    heads = [c if isinstance(c, Column) else Column(c) for c in columns]
    return render("table.html.j2", columns=heads, rows=rows, corner=corner, css=css)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, css: str = "scfm-table") -> Markup:
    """Return a table of texts without names at the left."""
    body = [Row("", [Cell(text) for text in row]) for row in rows]
    return render("table.html.j2", columns=[Column(c) for c in columns], rows=body, corner=None, css=css)


def heat_cell(value: float | None, tip: str = "", *, lower_better: bool = False) -> Cell:
    """Return a number coloured from 0 (light) to 1 (dark), dark is good; grey and a dash where there is none."""
    if value is None or math.isnan(value):
        return Cell("–", tip, "scfm-none", sort="")
    back, front = colour(1 - value if lower_better else value)
    return Cell(f"{value:z.2f}", tip, style=f"background:{back};color:{front}", sort=round(float(value), 4))


def change_cell(value: float, *, reach: float = 0.2) -> Cell:
    """Return a change with its sign, blue where it rises and orange where it falls; ``reach`` has the full colour."""
    if math.isnan(value):
        return Cell("–", css="scfm-none", sort="")
    tone = "33,113,181" if value > 0 else "217,95,14"
    return Cell(
        signed(value),
        style=f"background:rgba({tone},{min(0.45, abs(value) / reach * 0.45):.2f})",
        sort=round(float(value), 4),
    )


def heat_table(
    rows: Sequence[str], columns: Sequence[str], values: Mapping[tuple[str, str], float], heat: Heat | None = None
) -> Markup:
    """Return a table of numbers coloured from 0 (light) to 1 (dark); dark is good in every column.

    Parameters
    ----------
    rows, columns
        Names, in order.
    values
        ``{(row, column): value}``, 0 to 1; a cell without a value is grey.
    heat
        ``corner``: the heading over the names of the rows. ``tips`` and ``heads``: what a cell, or the name of a
        column, says when pointed at. ``lower_better``: columns whose colours are turned round. ``controls``: rows
        that stay last.
    """
    heat = heat or Heat()
    heads = [Column(f"{c} ↓" if c in heat.lower_better else c, heat.heads.get(c, "")) for c in columns]
    body = [
        Row(
            name,
            [
                heat_cell(values.get((name, c)), heat.tips.get((name, c), ""), lower_better=c in heat.lower_better)
                for c in columns
            ],
            CONTROL if name in heat.controls else "",
        )
        for name in rows
    ]
    return data_table(heads, body, corner=heat.corner, css="scfm-heat")


def tabs(panels: Sequence[tuple[str, str]]) -> Markup:
    """Return panels that a reader switches by buttons; the first is shown. A single one has no buttons."""
    return escape(panels[0][1]) if len(panels) == 1 else render("tabs.html.j2", panels=panels)
