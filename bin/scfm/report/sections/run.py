"""About the run: what became of every step, and what it cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scfm.report.page.html import number, seconds_text
from scfm.report.page.mqc import Section
from scfm.report.page.tables import CONTROL, Cell, Column, Row, data_table
from scfm.report.page.templates import render
from scfm.report.tables.status import STEPS
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData


def _whole(value: float) -> str:
    """Return a number without decimals."""
    return number(value, 0)


#: cost: title, meaning, how it is shown
_COSTS = {
    "make_seconds": ("Making (s)", "Wall seconds to make the embedding", seconds_text),
    "score_seconds": ("Scoring (s)", "Wall seconds of all other steps", seconds_text),
    "rss": ("Peak memory (MiB)", "Largest resident memory of any of its tasks", _whole),
    "gpu": ("Peak GPU (MiB)", "Largest GPU memory; a dash on the CPU", _whole),
    "rate": ("Cells per s", "Cells embedded per second", _whole),
}
_SHOWN = {"ok": ("ok", "scfm-ok"), "failed": ("failed", "scfm-failed"), "not_applicable": ("n/a", "scfm-na")}


def status_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return what became of every step of one data set; nothing where no embedding was planned."""
    return [] if data.of("status", dataset).empty else [status_matrix(data, dataset)]


def resource_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return time and memory of one data set; nothing where nothing was measured."""
    table = resources_table(data, dataset)
    return [] if table is None else [table]


def status_matrix(data: "ReportData", dataset: str) -> Section:
    """Return embedding x step; the reason is behind a cell and, for failures, below the table."""
    status = data.of("status", dataset)
    seeds = status.groupby(["method", "correction"])["seed"].nunique()
    steps = [s for s in STEPS if s in set(status["step"])]
    rows = []
    ordered = status.assign(corrected=status["correction"] != "raw").sort_values(
        ["is_control", "method", "corrected", "correction", "seed"], kind="stable"
    )
    for _, part in ordered.groupby("embedding", sort=False):
        first = part.iloc[0]
        key = first["method"], first["correction"]
        title = data.names.embedding(*key, first["seed"], seeds=seeds[key])
        by_step = {r["step"]: r for r in part.to_dict("records")}
        cells = [_status_cell(by_step.get(s)) for s in steps]
        rows.append(Row(title, cells, CONTROL if first["is_control"] else "", first["embedding"]))
    told = status[
        (status["status"] == "failed") | ((status["status"] == "not_applicable") & (status["step"] == "embed"))
    ]
    good = int((ordered.groupby("embedding")["status"].agg(set) == {"ok"}).sum())
    return Section(
        "status",
        "What became of every step",
        "html",
        render(
            "status.html.j2",
            table=data_table(steps, rows, corner="Embedding", css="scfm-heat"),
            reasons=told.to_dict("records"),
            summary=f"{good} of {plural(len(rows), 'embedding')} completed every step",
        ),
        description=(
            "Every planned embedding and step. n/a: not defined here (a model without weights …), a step before it gave"
            " no result, or the run was asked to leave it out; point at a cell for the reason."
        ),
    )


def _status_cell(row: dict[str, Any] | None) -> Cell:
    if row is None:
        return Cell("", css="scfm-none", sort="")
    text, css = _SHOWN[row["status"]]
    return Cell(text, row["reason"] or row["status"], css)


def resources_table(data: "ReportData", dataset: str) -> Section | None:
    """Return cost by embedding: time and memory of making it, and of scoring it."""
    rows = data.of("resources", dataset)
    rows = rows[(rows["embedding"] != "") & (rows["source"] != "trace")]
    if rows.empty:
        return None
    planned = data.plan[data.plan["dataset"] == dataset]
    planned = planned.assign(corrected=planned["correction"] != "raw").sort_values(
        ["is_control", "method", "corrected", "correction", "seed"]
    )
    seeds = planned.groupby(["method", "correction"])["seed"].nunique()
    body = []
    for row in planned.itertuples():
        part = rows[rows["embedding"] == row.embedding]
        if len(part):
            title = data.names.embedding(row.method, row.correction, row.seed, seeds=seeds[row.method, row.correction])
            costs = _costs(part)
            cells = [Cell(text(costs[c]) if c in costs else number(None)) for c, (_, _, text) in _COSTS.items()]
            body.append(Row(title, [*cells, Cell(costs.get("device", ""))], CONTROL if row.is_control else ""))
    heads = [Column(title, tip) for title, tip, _ in _COSTS.values()]
    return Section(
        "resources",
        "Time and memory",
        "html",
        data_table([*heads, Column("Device", "Device that computed the embedding")], body, corner="Embedding"),
        description=(
            "Measured inside the tasks. Making covers integration, model or correction; scoring covers the validation"
            " gate, neighbours, metrics, probes, UMAP and diagnosis."
        ),
    )


def _costs(part: "pd.DataFrame") -> dict[str, Any]:
    """Return the costs of one embedding; what was not measured is left out."""
    making = part[part["step"].isin(["embed", "correct"])]
    numbers = {
        "make_seconds": making["seconds"].sum(min_count=1),
        "score_seconds": part.drop(making.index)["seconds"].sum(min_count=1),
        "rss": part["peak_rss_mb"].max(),
        "gpu": part["peak_gpu_mb"].max(),
        "rate": making["cells_per_second"].max(),
    }
    cells: dict[str, Any] = {k: float(v) for k, v in numbers.items() if not math.isnan(v)}
    device = next((d for d in making["device"] if d), "")
    return {**cells, "device": device} if device else cells
