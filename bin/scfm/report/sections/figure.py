"""The overview figure: one row per embedding with its totals, what a probe still finds of the batch, its weakest label
and its metrics.

It is a table of HTML whose cells are bars and circles drawn by the page's style, not a plot of a library: a screen
reader reads its numbers, it can be sorted, its names stay in place while the rest scrolls on a narrow screen, and
ninety rows are a few hundred kilobytes. MultiQC's plots have neither bars of several scales nor circles in one figure,
and a picture of matplotlib can't be read at the width of a phone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scfm.report.page.mqc import Section
from scfm.report.page.templates import render
from scfm.report.sections.cards import card_id
from scfm.report.sections.scores import metric_tip
from scfm.report.sections.verdict import BIOLOGICAL, role_of
from scfm.report.tables.totals import weight_text, weights_of
from scfm.report.view.diagnosed import warnings_are_partial
from scfm.report.view.rows import CONTROL, MIN_LABEL_CELLS, NO_SCORES, NOT_RANKED, RANKED, EmbeddingRow, embedding_rows
from scfm.report.view.study import counted_metrics
from scfm.text import plural

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData

_TONES = {"total": "scfm-blue3", "corrected": "scfm-blue1", "bio": "scfm-blue2", "batch": "scfm-blue2"}
_GREYS = dict.fromkeys(_TONES, "scfm-grey")
_BODIES = {
    RANKED: "",
    NOT_RANKED: "Scored, not ranked",
    NO_SCORES: "Without scores",
    CONTROL: "Controls: the ends of the scale",
}
#: where the axis of the probe starts: an AUROC of 0.5 is chance
PROBE_FROM = 0.4
_STEPS = 10


def figure_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the overview figure of a data set; nothing where no embedding has a score."""
    rows = embedding_rows(data, dataset)
    if not any(r.bio.known or r.batch.known for r in rows):
        return []
    metrics = counted_metrics(data, dataset)
    return [
        Section(
            "figure",
            "Overview",
            "html",
            render("overview_figure.html.j2", **_values(data, dataset, rows, metrics)),
            description=describe(rows, biological=role_of(data, dataset) == BIOLOGICAL)
            + warnings_are_partial(data, dataset),
        )
    ]


def _values(data: "ReportData", dataset: str, rows: list[EmbeddingRow], metrics: list[dict]) -> dict[str, Any]:
    """Return what the template prints."""
    weights = weights_of(data.of("totals", dataset), data.params)
    biological = role_of(data, dataset) == BIOLOGICAL
    weakest = "" if biological else next((r.weakest.metric for r in rows if r.weakest), "")
    probes = any(r.probe for r in rows)
    firsts = [i == 0 or m["group"] != metrics[i - 1]["group"] for i, m in enumerate(metrics)]
    return {
        "dataset": dataset,
        "total_title": f"Total {weight_text(weights[0])}" if weights else "Total",
        "probes": probes,
        "probe_title": "AUROC" if biological else "AUROC, lower is better",
        "probe_tip": (
            "AUROC of a nearest-neighbour classifier that predicts the batch, mean over folds and seeds. The line is"
            " chance (the same after batches are permuted within labels); the bar is the distance from it."
        ),
        "weakest_title": f"{data.names.metric(weakest)}, at least {MIN_LABEL_CELLS} cells" if weakest else "",
        "weakest_tip": (
            f"The label whose batches mix worst by {data.names.metric(weakest)}, among labels of at least"
            f" {MIN_LABEL_CELLS} scored cells; its cells in brackets."
        ),
        "metrics": [
            {"title": m["title"], "tip": metric_tip(m), "first": first}
            for m, first in zip(metrics, firsts, strict=True)
        ],
        "bodies": _bodies(dataset, rows, metrics, firsts),
        "n_columns": 4 + probes + bool(weakest) + len(metrics),
    }


def _bodies(dataset: str, rows: list[EmbeddingRow], metrics: list[dict], firsts: list[bool]) -> list[dict[str, Any]]:
    """Return the parts of the figure with their rows; what all rows of a part would say is in its title, once."""
    bodies = []
    for group, title in _BODIES.items():
        members = [r for r in rows if r.group == group and (group != CONTROL or r.role)]
        if not members:
            continue
        notes = {r.note for r in members}
        shared = notes.pop() if len(notes) == 1 and len(members) > 1 and group != CONTROL else ""
        quiet = bool(shared) or group == CONTROL
        bodies.append(
            {
                "title": f"{title} ({shared})" if shared else title,
                "css": "scfm-controls" if group == CONTROL else "",
                "tones": _GREYS if group == CONTROL else _TONES,
                "rows": [_row(r, metrics, firsts, dataset=dataset, note="" if quiet else r.note) for r in members],
            }
        )
    return bodies


def _row(row: EmbeddingRow, metrics: list[dict], firsts: list[bool], *, dataset: str, note: str) -> dict[str, Any]:
    """Return a row as the template prints it."""
    probe = row.probe and {
        "value": row.probe.value,
        "chance": row.probe.chance,
        "tick": _on_axis(row.probe.chance),
        "left": min(_on_axis(row.probe.value), _on_axis(row.probe.chance)),
        "width": abs(_on_axis(row.probe.value) - _on_axis(row.probe.chance)),
    }
    return {
        "correction": row.correction,
        "shown": f"{row.role.capitalize()}: {row.title}" if row.role else row.title,
        "note": note,
        "warnings": row.warnings,
        "card": "" if row.group == CONTROL else card_id(dataset, row.method),
        "total": row.total,
        "bio": row.bio,
        "batch": row.batch,
        "probe": probe,
        "weakest": row.weakest,
        "dots": [_dot(row, m) | {"first": first} for m, first in zip(metrics, firsts, strict=True)],
    }


def _on_axis(auroc: float) -> float:
    """Return the place of an AUROC on an axis from 0.4 to 1, as a share of its length."""
    return min(1.0, max(0.0, (auroc - PROBE_FROM) / (1 - PROBE_FROM)))


def _dot(row: EmbeddingRow, metric: dict[str, Any]) -> dict[str, Any]:
    """Return the circle of a metric: one of eleven sizes, or None with the reason."""
    name, title = metric["name"], f"{row.title}, {metric['title']}"
    value = row.metrics.get(name, math.nan)
    if math.isnan(value):
        return {"size": None, "tip": f"{title}: not defined ({row.reasons.get(name) or 'no scores'})", "text": ""}
    return {
        "size": round(_STEPS * min(1.0, max(0.0, value))),
        "tip": f"{title}: {value:.3f}",
        "text": f"{value:z.2f}",
    }


def describe(rows: list[EmbeddingRow], *, biological: bool = False) -> str:
    """Return how to read the figure: its order, its intervals, and what is not ranked."""
    scored = [r for r in rows if r.group != CONTROL]
    several = sorted({r.total.n or r.bio.n for r in scored if r.bio.n > 1})
    seeds = (
        f"The line over a bar runs from the lowest to the highest of its seeds (up to {several[-1]}); a row without a"
        " line was run with one seed."
        if several
        else "One seed was run of each embedding, so there are no intervals."
    )
    aside = sum(r.group == NOT_RANKED for r in scored)
    apart = (
        f" {plural(aside, 'embedding')} below the others {'is' if aside == 1 else 'are'} scored and not ranked."
        if 0 < aside < sum(r.group != NO_SCORES for r in scored)
        else ""
    )
    order = (
        "The batch is declared biological, so there is no total and the highest bio comes first; high batch metrics"
        " mean that the difference that is studied was removed."
        if biological
        else "The highest total comes first. Differences within the tolerance of the verdict are no order."
    )
    totals = "" if biological else "; light blue totals are of corrected embeddings"
    return (
        f"Means over seeds. {order} Bars run from 0 to 1, higher is better{totals}. Circles are the metrics"
        f" {'' if biological else 'in the total, '}bio first, then batch: larger and darker is higher, a dash is not"
        f" defined. {seeds}{apart}"
    )
