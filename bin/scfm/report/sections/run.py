"""About the run: what became of every step, and what it cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scfm.report.page.html import esc
from scfm.report.page.mqc import Section, slug
from scfm.report.tables.status import STEPS

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

_SHOWN = {"ok": ("ok", "scfm-ok"), "failed": ("failed", "scfm-failed"), "not_applicable": ("n/a", "scfm-na")}


def run_sections(data: "ReportData") -> list[Section]:
    """Return status matrix and resources, one of each per data set."""
    names = data.dataset_names()
    return [status_matrix(data, name) for name in names] + [s for name in names if (s := resources_table(data, name))]


def _heading(text: str, data: "ReportData", dataset: str) -> str:
    """Return a heading that names the data set where there are several."""
    return f"{text} ({dataset})" if len(data.dataset_names()) > 1 else text


def status_matrix(data: "ReportData", dataset: str) -> Section:
    """Return embedding x step, coloured; the reason stands behind a cell and, for failures, under the table."""
    status = data.of("status", dataset)
    seeds = status.groupby(["method", "correction"])["seed"].nunique()
    steps = [s for s in STEPS if s in set(status["step"])]
    head = "".join(f"<th scope='col'>{esc(s)}</th>" for s in steps)
    body = []
    ordered = status.assign(corrected=status["correction"] != "raw").sort_values(
        ["is_control", "method", "corrected", "correction", "seed"], kind="stable"
    )
    for _, part in ordered.groupby("embedding", sort=False):
        first = part.iloc[0]
        title = data.names.embedding(
            first["method"], first["correction"], first["seed"], seeds=seeds[first["method"], first["correction"]]
        )
        by_step = {r["step"]: r for r in part.to_dict("records")}
        cells = "".join(_status_cell(by_step.get(s)) for s in steps)
        body.append(
            f"<tr><th scope='row'>{esc(title)} <span"
            f" class='scfm-muted'>{esc(first['embedding'])}</span></th>{cells}</tr>"
        )
    told = status[
        (status["status"] == "failed") | ((status["status"] == "not_applicable") & (status["step"] == "embed"))
    ]
    reasons = "".join(
        f"<li><b>{esc(r['embedding'])}</b>, {esc(r['step'])}: {esc(r['reason'])} <span"
        f" class='scfm-muted'>[{esc(r['reason_code'])}]</span></li>"
        for r in told.to_dict("records")
    )
    content = (
        "<div class='scfm-scroll'><table"
        f" class='scfm-heat'><thead><tr><th>Embedding</th>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>" + (f"<p>Reasons:</p><ul>{reasons}</ul>" if reasons else "")
    )
    return Section(
        f"status_{slug(dataset)}",
        _heading("What became of every step", data, dataset),
        "html",
        content,
        description=(
            "Every planned embedding and step. n/a: not defined here (a model without weights …), a step before it gave"
            " no result, or the run was asked to leave it out; point at a cell for the reason."
        ),
    )


def _status_cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "<td class='scfm-none'></td>"
    text, css = _SHOWN[row["status"]]
    return f"<td class='{css}' title='{esc(row['reason'] or row['status'])}'>{text}</td>"


def resources_table(data: "ReportData", dataset: str) -> Section | None:
    """Return cost by embedding: time and memory of making it, and of judging it."""
    rows = data.of("resources", dataset)
    rows = rows[(rows["embedding"] != "") & (rows["source"] != "trace")]
    if rows.empty:
        return None
    planned = data.plan[data.plan["dataset"] == dataset]
    planned = planned.assign(corrected=planned["correction"] != "raw").sort_values(
        ["is_control", "method", "corrected", "correction", "seed"]
    )
    seeds = planned.groupby(["method", "correction"])["seed"].nunique()
    cells = {}
    for row in planned.itertuples():
        part = rows[rows["embedding"] == row.embedding]
        if len(part):
            title = data.names.embedding(row.method, row.correction, row.seed, seeds=seeds[row.method, row.correction])
            cells[title] = _costs(part)
    return Section(
        f"resources_{slug(dataset)}",
        _heading("Time and memory", data, dataset),
        "table",
        cells,
        description=(
            "Measured inside the tasks. Making covers integration, model or correction; judging covers the door,"
            " neighbours, metrics, probes and UMAP. Single steps and Nextflow's own numbers are in"
            " tables/resources.tsv."
        ),
        options={"col1_header": "Embedding", "sort_rows": False, "no_violin": True, "namespace": ""},
        extra={
            "headers": {
                "make_seconds": {
                    "title": "Making (s)",
                    "description": "Wall seconds to make the embedding",
                    "scale": "Oranges",
                    "min": 0,
                    "format": "{:,.1f}",
                },
                "judge_seconds": {
                    "title": "Judging (s)",
                    "description": "Wall seconds of all other steps",
                    "scale": "Oranges",
                    "min": 0,
                    "format": "{:,.1f}",
                },
                "rss": {
                    "title": "Peak memory (MiB)",
                    "description": "Largest resident memory of any of its tasks",
                    "scale": "Purples",
                    "min": 0,
                    "format": "{:,.0f}",
                },
                "gpu": {
                    "title": "Peak GPU (MiB)",
                    "description": "Largest GPU memory; empty on the CPU",
                    "scale": "Purples",
                    "min": 0,
                    "format": "{:,.0f}",
                },
                "rate": {
                    "title": "Cells per s",
                    "description": "Cells embedded per second",
                    "scale": "Greens",
                    "min": 0,
                    "format": "{:,.0f}",
                },
                "device": {"title": "Device", "description": "Device that computed the embedding", "scale": False},
            }
        },
    )


def _costs(part: "pd.DataFrame") -> dict[str, Any]:
    """Return the costs of one embedding; what was not measured is left out."""
    making = part[part["step"].isin(["embed", "correct"])]
    numbers = {
        "make_seconds": making["seconds"].sum(min_count=1),
        "judge_seconds": part.drop(making.index)["seconds"].sum(min_count=1),
        "rss": part["peak_rss_mb"].max(),
        "gpu": part["peak_gpu_mb"].max(),
        "rate": making["cells_per_second"].max(),
    }
    cells: dict[str, Any] = {k: round(float(v), 2) for k, v in numbers.items() if not math.isnan(v)}
    device = next((d for d in making["device"] if d), "")
    return {**cells, "device": device} if device else cells
