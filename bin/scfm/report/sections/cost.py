"""What the whole data would cost, predicted from the pilots of a run with ``--pilot``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from scfm.report.page.mqc import Section
from scfm.report.page.said import said_section
from scfm.report.page.tables import CONTROL, Cell, Column, Row, data_table
from scfm.report.tables.cost import duration
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

_PARTS = {"preparation": "", "making": "making", "scoring": "scoring"}
_ANSWERS = {True: "yes", False: "no", None: "no limit set"}


def cost_sections(data: "ReportData") -> list[Section]:
    """Return predicted time and memory of every method; nothing of a run without pilots."""
    cost = data.tables["cost"]
    if cost.empty:
        return []
    said = [
        f"{plural(len(rows['n_cells'].unique()), 'pilot')} of '{name}', up to {rows['n_cells'].max():,} of"
        f" {int(cost.loc[(cost['dataset'] == name) & (cost['kind'] == 'predicted'), 'n_cells'].iloc[0]):,} cells:"
        " scores and verdicts below are about the pilots, not about all cells."
        for name, rows in cost[cost["kind"] == "measured"].groupby("dataset", sort=True)
    ]
    rows = [
        _row(data, key, part)
        for key, part in sorted(cost.groupby(["dataset", "method", "part"]), key=lambda item: _place(data, item[0]))
    ]
    heads = [
        Column("Time, pilots", "Measured, the smallest pilot first; mean over seeds"),
        Column("Time, all cells", "Predicted: start + factor x cells ^ exponent"),
        Column("Exponent", "1 is linear; another only where the pilots contradict a line by more than 10 %"),
        Column("Memory, pilots", "Measured, the largest of any seed and task"),
        Column("Memory, all cells", "Predicted in the same way"),
        Column("Fits", "Whether both are within --max_time and --max_memory"),
    ]
    return [
        said_section(
            "cost",
            "What would the whole cost?",
            said,
            data_table(heads, rows, corner="Data set, method"),
            description=(
                "Predicted from the pilots for one seed without corrections, on machines like those that ran them. The"
                " further from the pilots, the less sure."
            ),
        )
    ]


def _place(data: "ReportData", key: tuple[str, str, str]) -> tuple[str, bool, bool, str, str]:
    """Return the place of a row: preparation first, controls last."""
    dataset, method, part = key
    return dataset, method in data.names.controls, method != "", method, part


def _row(data: "ReportData", key: tuple[str, str, str], part: "pd.DataFrame") -> Row:
    """Return the row of one method and part."""
    dataset, method, name = key
    title = " ".join(w for w in (data.names.method(method) if method else "preparation", _PARTS[name]) if w)
    time, memory = (part[part["quantity"] == q] for q in ("seconds", "memory_mb"))
    answers = part.loc[part["kind"] == "predicted", "fits"].dropna()
    fits = bool(answers.astype(bool).all()) if len(answers) else None
    cells = [*_cells(time, duration), _exponent(time), *_cells(memory, _gigabytes), Cell(_ANSWERS[fits])]
    return Row(f"{dataset}: {title}", cells, CONTROL if method in data.names.controls else "")


def _cells(rows: "pd.DataFrame", text: Callable[[float], str]) -> list[Cell]:
    """Return the measured values in one cell and the predicted one in another."""
    measured = rows[rows["kind"] == "measured"].sort_values("n_cells")
    tip = ", ".join(f"{r.n_cells:,} cells" for r in measured.itertuples())
    shown = Cell(", ".join(text(v) for v in measured["value"]), tip, sort=float(measured["value"].max()))
    last = rows[rows["kind"] == "predicted"].iloc[0]
    if last["status"] != "ok":
        return [shown, Cell("–", last["reason"])]
    return [shown, Cell(text(last["value"]), f"{last['n_cells']:,} cells", sort=float(last["value"]))]


def _exponent(rows: "pd.DataFrame") -> Cell:
    last = rows[rows["kind"] == "predicted"].iloc[0]
    return Cell(f"{last['exponent']:.2f}") if last["status"] == "ok" else Cell("–", last["reason"])


def _gigabytes(megabytes: float) -> str:
    return f"{megabytes / 1024:.1f} GB"
