"""A square scatter of one number against another that should be equal: diagonal, tolerance band, names on hover."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from scfm.report.page.html import esc
from scfm.report.plots.scatter import span, ticks

SIZE = 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 16, 52
_LINE, _CHARACTER = 13.0, 6.6


@dataclass(frozen=True)
class Pair:
    """One embedding: ``x`` published, ``y`` ours; ``hollow`` marks a corrected one, ``low`` and ``high`` a published
    range.
    """

    name: str
    x: float
    y: float
    colour: str
    hollow: bool
    outside: bool
    tip: str
    low: float | None = None
    high: float | None = None


def agreement_svg(
    pairs: Sequence[Pair], *, tolerance: float, xlab: str, ylab: str, legend: Mapping[str, str]
) -> Markup:
    """Return the plot. Both axes have one scale, so equal numbers lie on the diagonal; names of the outliers are
    written.
    """
    ends = [v for p in pairs for v in (p.x, p.y, p.low, p.high) if v is not None]
    low, high = span(ends)
    width, height = SIZE - _LEFT - _RIGHT, SIZE - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (x - low) / (high - low) * width, _TOP + (high - y) / (high - low) * height

    keys = "".join(
        f"<span class='scfm-key'><i style='background:{esc(c)}'></i>{esc(t)}</span>" for t, c in legend.items()
    )
    return Markup(
        f"<div class='scfm-legend'>{keys}<span class='scfm-key'>● raw</span><span class='scfm-key'>○ centred</span>"
        f"<span class='scfm-key'>band: ±{tolerance:g}</span></div>"
        f"<div class='scfm-scroll'><svg class='scfm-svg' style='max-width:{SIZE}px;min-width:420px' viewBox='0 0 {SIZE}"
        f" {SIZE}' role='img'"
        f" aria-label='{esc(ylab)} against"
        f" {esc(xlab)}'>{_axes(low, high, place, xlab, ylab)}{_band(low, high, tolerance, place)}"
        f"{''.join(_mark(p, place) for p in pairs)}{_names(pairs, place)}</svg></div>"
    )


def _axes(low: float, high: float, place: Callable[[float, float], tuple[float, float]], xlab: str, ylab: str) -> str:
    """Return grid lines with their numbers, and the names of the axes."""
    bottom, right, parts = SIZE - _BOTTOM, SIZE - _RIGHT, []
    for value in ticks(low, high):
        x, y = place(value, value)
        parts.append(f"<path d='M{x:.1f} {_TOP}V{bottom}M{_LEFT} {y:.1f}H{right}' class='scfm-grid-line'/>")
        parts.append(
            f"<text x='{x:.1f}' y='{bottom + 17}' text-anchor='middle'>{value:g}</text><text x='{_LEFT - 8}'"
            f" y='{y + 4:.1f}' text-anchor='end'>{value:g}</text>"
        )
    parts.append(
        f"<text x='{(_LEFT + right) / 2}' y='{SIZE - 12}' text-anchor='middle' class='scfm-axis'>{esc(xlab)} →</text>"
    )
    parts.append(
        f"<text transform='translate(18 {(_TOP + bottom) / 2}) rotate(-90)' text-anchor='middle'"
        f" class='scfm-axis'>{esc(ylab)} →</text>"
    )
    return "".join(parts)


def _band(low: float, high: float, tolerance: float, place: Callable[[float, float], tuple[float, float]]) -> str:
    """Return the strip of differences up to the tolerance, cut to the axes, and the diagonal in it."""
    t = min(tolerance, high - low)
    corners = [(low, low), (low, low + t), (high - t, high), (high, high), (high, high - t), (low + t, low)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*c) for c in corners))
    (x0, y0), (x1, y1) = place(low, low), place(high, high)
    return (
        f"<polygon points='{points}' class='scfm-band'/><path d='M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}'"
        " class='scfm-front'/>"
    )


def _mark(pair: Pair, place: Callable[[float, float], tuple[float, float]]) -> str:
    x, y = place(pair.x, pair.y)
    reach = ""
    if pair.low is not None and pair.high is not None:
        reach = (
            f"<path d='M{place(pair.low, pair.y)[0]:.1f} {y:.1f}H{place(pair.high, pair.y)[0]:.1f}'"
            f" stroke='{pair.colour}' stroke-width='2' opacity='.6'/>"
        )
    fill = (
        f"fill='var(--bs-body-bg,#fff)' fill-opacity='.6' stroke='{pair.colour}' stroke-width='2'"
        if pair.hollow
        else f"fill='{pair.colour}' stroke='#222' stroke-width='.5'"
    )
    return f"{reach}<circle cx='{x:.1f}' cy='{y:.1f}' r='5.5' {fill}><title>{esc(pair.tip)}</title></circle>"


def _names(pairs: Sequence[Pair], place: Callable[[float, float], tuple[float, float]]) -> str:
    """Return the names of the pairs outside the band, where there is room: right or left of the point, the farthest
    first.
    """
    spots = [place(p.x, p.y) for p in pairs]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in spots]
    texts = []
    for i in sorted((i for i, p in enumerate(pairs) if p.outside), key=lambda i: -abs(pairs[i].y - pairs[i].x)):
        (x, y), width = spots[i], _CHARACTER * len(pairs[i].name)
        for left, anchor, at in ((x + 9, "start", x + 9), (x - 9 - width, "end", x - 9)):
            box = (left, y + 4 - _LINE, left + width, y + 6)
            free = (
                left >= _LEFT
                and box[2] <= SIZE
                and not any(box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in taken)
            )
            if free:
                taken.append(box)
                texts.append(f"<text x='{at:.1f}' y='{y + 4:.1f}' text-anchor='{anchor}'>{esc(pairs[i].name)}</text>")
                break
    return "".join(texts)
