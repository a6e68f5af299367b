"""The trade-off: bio conservation against batch removal, what a correction moves, and where the floor is."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from scfm.report.page.mqc import Section, slug
from scfm.report.page.templates import render
from scfm.report.plots.tradeoff import NARROW, Mark, draw_tradeoff
from scfm.report.view.rows import CONTROL, RANKED, EmbeddingRow, embedding_rows

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData

_SHAPES = (("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"))
_KINDS = {
    "method": "method",
    "model": "foundation model",
    "not_ranked": "scored, not ranked",
}


def tradeoff_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return bio against batch of all embeddings that have both; nothing where fewer than two have.

    Controls mark the ends of the scale and are no points: the floor is a zone, and the ceiling is in the overview.
    """
    everything = embedding_rows(data, dataset)
    rows = [r for r in everything if r.group != CONTROL and r.bio.known and r.batch.known]
    if len(rows) < 2:
        return []
    floor = max((r.bio.mean for r in everything if r.role == "floor"), default=math.nan)
    marks = make_marks(data, rows)
    numbered = [replace(m, label=str(i)) for i, m in enumerate(marks, start=1)]
    key = f"scfm-tradeoff-{slug(dataset)}"
    content = render(
        "tradeoff.html.j2",
        kinds=[{"name": k, "title": t} for k, t in _KINDS.items() if any(m.kind == k for m in marks)],
        shapes=[{"sign": sign, "title": name} for name, (_, sign) in shapes_of(rows).items()],
        arrows=any(m.start is not None for m in marks),
        ranges=any(r.bio.varies or r.batch.varies for r in rows),
        wide=draw_tradeoff(marks, floor=floor, key=key),
        narrow=draw_tradeoff(numbered, floor=floor, key=f"{key}-narrow", size=NARROW),
        points=[r.title for r in rows],
    )
    return [Section("tradeoff", "Bio against batch", "html", content, description=_DESCRIPTION)]


_DESCRIPTION = (
    "Means over seeds; up and right is better. Arrows run from an embedding to what a correction made of it: a step to"
    " the right that also goes down bought batch removal with agreement with the labels. In the grey zone bio is no"
    " better than that of a control without any relation to the labels. The axes are cut to the points; point at one"
    " for its numbers."
)


def make_marks(data: "ReportData", rows: list[EmbeddingRow]) -> list[Mark]:
    """Return the points in the order of the rows.

    The name of a method is at its raw point; an arrow says what it became, and the shape at its end which correction
    that was, so that a name is written once. Without a raw point the whole title is written.
    """
    shapes = shapes_of(rows)
    places = {r.key: i for i, r in enumerate(rows)}
    marks = []
    for row in rows:
        start = places.get((row.method, "raw")) if row.correction != "raw" else None
        numbers = ", ".join(f"{n} {s.mean:.3f}" for n, s in (("bio", row.bio), ("batch", row.batch)))
        note = f" ({row.note})" if row.note else ""
        marks.append(
            Mark(
                label=row.title if start is None else "",
                title=f"{row.title}: {numbers}{note}",
                bio=(row.bio.mean, row.bio.low, row.bio.high),
                batch=(row.batch.mean, row.batch.low, row.batch.high),
                kind=_kind(row),
                start=start,
                marker=shapes[row.correction][0] if row.correction in shapes else "",
            )
        )
    return marks


def shapes_of(rows: list[EmbeddingRow]) -> dict[str, tuple[str, str]]:
    """Return ``{correction: (marker of matplotlib, sign of the legend)}``; the sixth correction has the first shape."""
    names = sorted({r.correction for r in rows} - {"raw"})
    return {name: _SHAPES[i % len(_SHAPES)] for i, name in enumerate(names)}


def _kind(row: EmbeddingRow) -> str:
    if row.group != RANKED:
        return "not_ranked"
    if row.correction != "raw":
        return "corrected"
    return "model" if row.family == "foundation_model" else "method"
