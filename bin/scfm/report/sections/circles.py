"""The circle table of the integration benchmarks: embedding by metric as circles, bio, batch and totals as bars."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scfm.report.page.html import esc
from scfm.report.page.mqc import Section
from scfm.report.sections.scores import COLOURS, metric_tip
from scfm.report.view.study import BIO_WEIGHT, OTHER_WEIGHT, counted_metrics, study_table
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: light and dark end of the colours of a group
_RAMPS = {
    "bio": ((216, 240, 211), (0, 90, 50)),
    "batch": ((222, 235, 247), (8, 69, 148)),
    "total": ((236, 226, 240), (84, 39, 143)),
}
_ROW, _HEAD, _CIRCLE, _BAR, _LETTER = 25, 62, 80, 96, 6.6


def circle_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the circle table; nothing where there are no scores."""
    table, metrics = study_table(data, dataset), counted_metrics(data, dataset)
    if table.empty or not metrics:
        return []
    return [circle_table(table, metrics)]


def shade(value: float, group: str) -> str:
    """Return the colour of a value between 0 and 1 (values beyond are capped) in the tones of a group."""
    share = min(1.0, max(0.0, value))
    return "rgb({},{},{})".format(*(round(a + (b - a) * share) for a, b in zip(*_RAMPS[group], strict=True)))


def circle_table(table: "pd.DataFrame", metrics: list[dict]) -> Section:
    """Return the figure: rows of ``table`` in its order, one column per metric, then four bars."""
    left = min(340.0, 30 + _LETTER * max(len(t) for t in table["title"]))
    bars = [
        ("bio", "Bio", "bio"),
        ("batch", "Batch", "batch"),
        ("total", f"Total {BIO_WEIGHT:g}/{1 - BIO_WEIGHT:g}", "total"),
        ("total_other", f"Total {OTHER_WEIGHT:g}/{round(1 - OTHER_WEIGHT, 4):g}", "total"),
    ]
    start = left + _CIRCLE * len(metrics) + 14
    width, height = start + _BAR * len(bars), _HEAD + _ROW * len(table) + 6
    parts = [_head(m["title"], left + _CIRCLE * i + 6, metric_tip(m)) for i, m in enumerate(metrics)]
    parts += [_head(title, start + _BAR * i, "") for i, (_, title, _) in enumerate(bars)]
    for i, row in enumerate(table.to_dict("records")):
        y = _HEAD + _ROW * (i + 0.5)
        parts.append(f"<path d='M0 {y + _ROW / 2:.1f}H{width:.0f}' class='scfm-grid-line'/>")
        colour, name = COLOURS.get(row["family"], "#333333"), row["title"]
        shown = name if len(name) <= (left - 30) / _LETTER + 1 else name[: int((left - 30) / _LETTER)] + "…"
        parts.append(
            f"<rect x='2' y='{y - 5:.1f}' width='10' height='10' rx='2' fill='{colour}'/><text x='18'"
            f" y='{y + 4:.1f}'>{esc(shown)}<title>{esc(name)}</title></text>"
        )
        parts += [
            _circle(row[m["name"]], m["group"], left + _CIRCLE * j + 14, y, f"{name}, {m['title']}")
            for j, m in enumerate(metrics)
        ]
        parts += [
            _bar(row[c], group, start + _BAR * j, y, f"{name}, {title}") for j, (c, title, group) in enumerate(bars)
        ]
    families = dict.fromkeys(table["family"])
    keys = "".join(
        "<span class='scfm-key'><i"
        f" style='background:{COLOURS.get(f, '#333333')}'></i>"
        f"{esc(f.replace('_', ' ').replace('none', 'uncorrected'))}</span>"
        for f in families
    )
    return Section(
        "circles",
        "All metrics at a glance",
        "html",
        f"<div class='scfm-legend'>{keys}</div><div class='scfm-scroll'><svg class='scfm-svg scfm-wide'"
        f" style='width:{width:.0f}px;max-width:none' viewBox='0 0 {width:.0f} {height:.0f}' role='img'"
        f" aria-label='Metrics as circles, aggregates as bars'>{''.join(parts)}</svg></div>",
        description=(
            "The metrics that make up the total as circles (larger and darker is higher and better; green bio, blue"
            " batch), their means and the totals as bars from 0 to 1. Means over seeds; best total of equal halves"
            " first, as in the study (the summary is ordered by the first of --total_weights)."
            f" {plural(len(table), 'embedding')}, controls left out. Nothing is scaled between methods, so no row"
            " depends on another. A metric without a value is a dash, and then there is no total."
        ),
    )


def _head(title: str, x: float, tip: str) -> str:
    """Return the name of a column on at most three lines of about ten letters."""
    lines: list[str] = []
    for word in title.split():
        if lines and len(lines[-1]) + len(word) < 9:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    lines = [*lines[:2], " ".join(lines[2:])] if len(lines) > 3 else lines
    spans = "".join(
        f"<tspan x='{x:.0f}' dy='{0 if i == 0 else 13}'>{esc(line)}</tspan>" for i, line in enumerate(lines)
    )
    return (
        f"<text x='{x:.0f}' y='{_HEAD - 12 - 13 * (len(lines) - 1)}' font-size='11'"
        f" font-weight='600'>{spans}{f'<title>{esc(tip)}</title>' if tip else ''}</text>"
    )


def _circle(value: float, group: str, x: float, y: float, tip: str) -> str:
    if math.isnan(value):
        return f"<text x='{x:.0f}' y='{y + 4:.1f}' text-anchor='middle'>–<title>{esc(tip)}: not defined</title></text>"
    radius = 2.5 + 7.5 * min(1.0, max(0.0, value))
    return (
        f"<circle cx='{x:.0f}' cy='{y:.1f}' r='{radius:.1f}' fill='{shade(value, group)}'><title>{esc(tip)}:"
        f" {value:.3f}</title></circle><text x='{x + 14:.0f}' y='{y + 4:.1f}' font-size='11'>{value:.2f}</text>"
    )


def _bar(value: float, group: str, x: float, y: float, tip: str) -> str:
    if math.isnan(value):
        return f"<text x='{x:.0f}' y='{y + 4:.1f}'>–<title>{esc(tip)}: not defined</title></text>"
    length = (_BAR - 36) * min(1.0, max(0.0, value))
    return (
        f"<rect x='{x:.0f}' y='{y - 8:.1f}' width='{length:.1f}' height='16' rx='2'"
        f" fill='{shade(value, group)}'><title>{esc(tip)}: {value:.3f}</title></rect><text x='{x + length + 4:.1f}'"
        f" y='{y + 4:.1f}' font-size='11'>{value:.2f}</text>"
    )
