"""A labelled scatter of bio against batch as inline SVG: names are beside their points, the front is a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from scfm.report.page.html import esc

WIDTH, HEIGHT = 860, 520
_MARKS = "<span class='scfm-key'>★ Pareto front</span> <span class='scfm-key'>◻ control</span>"
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 24, 16, 52
_CHARACTER, _BOLD, _LINE = 6.9, 7.6, 13.0
#: where a name may be placed relative to its point (in pixels), best first; further ones get a line to the point
_PLACES = (
    (9, 4, "start"),
    (-9, 4, "end"),
    (0, -10, "middle"),
    (0, 20, "middle"),
    (9, -12, "start"),
    (-9, -12, "end"),
    (9, 20, "start"),
    (-9, 20, "end"),
)
_FAR = tuple(
    (dx, dy, "start" if dx > 0 else "end")
    for r in (34, 56, 80, 110)
    for dx, dy in ((r, -r), (-r, -r), (r, r), (-r, r), (r, 4), (-r, 4))
)


@dataclass(frozen=True)
class Point:
    """One embedding: ``x`` batch removal, ``y`` bio conservation (higher is better in both)."""

    name: str
    x: float
    y: float
    colour: str
    kind: str
    front: bool


def scatter_svg(
    points: Sequence[Point],
    *,
    xlab: str,
    ylab: str,
    legend: dict[str, str],
    marks: str = _MARKS,
    diagonal: bool = False,
    tips: tuple[str, str] = ("batch", "bio"),
) -> Markup:
    """Return the plot; axes span the points with a margin, inside 0 and 1 where the points are.

    Parameters
    ----------
    points
        What is drawn.
    xlab, ylab
        Names of the axes.
    legend
        ``{name: colour}``.
    marks
        HTML behind the legend: what the shapes mean.
    diagonal
        Draw the line of equal x and y; the axes then have one span.
    tips
        What x and y are called when a point is pointed at.
    """
    (x0, x1), (y0, y1) = (span([getattr(p, a) for p in points]) for a in ("x", "y"))
    if diagonal:
        x0, x1 = y0, y1 = min(x0, y0), max(x1, y1)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + (x - x0) / (x1 - x0) * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - _TOP - _BOTTOM),
        )

    spots = [place(p.x, p.y) for p in points]
    front = sorted((s for s, p in zip(spots, points, strict=True) if p.front), key=lambda s: s[0])
    line = (
        f"<polyline points='{' '.join(f'{x:.1f},{y:.1f}' for x, y in front)}' class='scfm-front'/>"
        if len(front) > 1
        else ""
    )
    equal = (
        "<path d='M{:.1f} {:.1f}L{:.1f} {:.1f}' class='scfm-front'/>".format(*place(x0, x0), *place(x1, x1))
        if diagonal
        else ""
    )
    body = "".join(_mark(p, s, tips) for p, s in zip(points, spots, strict=True))
    names = "".join(_names(points, spots))
    keys = " ".join(
        f"<span class='scfm-key'><i style='background:{esc(c)}'></i>{esc(t)}</span>" for t, c in legend.items()
    )
    return Markup(
        f"<div class='scfm-legend'>{keys} {marks}</div><div class='scfm-scroll'><svg class='scfm-svg' viewBox='0 0"
        f" {WIDTH} {HEIGHT}' role='img' aria-label='{esc(ylab)} against"
        f" {esc(xlab)}'>{_axes(((x0, x1), (y0, y1)), place, xlab, ylab)}{equal}{line}{body}{names}</svg></div>"
    )


def span(values: Sequence[float]) -> tuple[float, float]:
    """Return an axis range around values: 8 % more on both sides, at least 0.1 wide."""
    low, high = min(values), max(values)
    pad = max(0.08 * (high - low), (0.1 - (high - low)) / 2, 0.02)
    return low - pad, high + pad


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers within a range, four to nine of them."""
    step = next((s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 9), 1.0)
    first = int(low / step) - 1
    return [round(i * step, 2) for i in range(first, first + 14) if low <= i * step <= high]


def _axes(
    spans: tuple[tuple[float, float], tuple[float, float]],
    place: Callable[[float, float], tuple[float, float]],
    xlab: str,
    ylab: str,
) -> str:
    """Return grid lines with their numbers, and the names of the axes."""
    (x0, x1), (y0, y1) = spans
    bottom, left = HEIGHT - _BOTTOM, _LEFT
    parts = []
    for value in ticks(x0, x1):
        x = place(value, y0)[0]
        parts.append(
            f"<path d='M{x:.1f} {_TOP}V{bottom}' class='scfm-grid-line'/><text x='{x:.1f}' y='{bottom + 17}'"
            f" text-anchor='middle'>{value:g}</text>"
        )
    for value in ticks(y0, y1):
        y = place(x0, value)[1]
        parts.append(
            f"<path d='M{left} {y:.1f}H{WIDTH - _RIGHT}' class='scfm-grid-line'/><text x='{left - 8}' y='{y + 4:.1f}'"
            f" text-anchor='end'>{value:g}</text>"
        )
    parts.append(
        f"<text x='{(left + WIDTH - _RIGHT) / 2}' y='{HEIGHT - 12}' text-anchor='middle' class='scfm-axis'>{esc(xlab)}"
        " →</text>"
    )
    middle = (_TOP + bottom) / 2
    parts.append(
        f"<text transform='translate(18 {middle}) rotate(-90)' text-anchor='middle' class='scfm-axis'>{esc(ylab)}"
        " →</text>"
    )
    return "".join(parts)


def _mark(point: Point, spot: tuple[float, float], tips: tuple[str, str]) -> str:
    x, y = spot
    tip = f"<title>{esc(point.name)}: {esc(tips[1])} {point.y:.3f}, {esc(tips[0])} {point.x:.3f}</title>"
    if point.front:
        return (
            f"<text x='{x:.1f}' y='{y + 7:.1f}' text-anchor='middle' font-size='21' style='fill:{point.colour}'"
            f" stroke='#222' stroke-width='.5'>★{tip}</text>"
        )
    if point.kind == "control":
        return (
            f"<rect x='{x - 5:.1f}' y='{y - 5:.1f}' width='10' height='10' fill='none' stroke='{point.colour}'"
            f" stroke-width='2'>{tip}</rect>"
        )
    return (
        f"<circle cx='{x:.1f}' cy='{y:.1f}' r='6' fill='{point.colour}' stroke='#222' stroke-width='.5'>{tip}</circle>"
    )


def _names(points: Sequence[Point], spots: Sequence[tuple[float, float]]) -> list[str]:
    """Return names that do not cover points or each other, as far as there is room; front and methods choose first."""
    taken = [(x - 8, y - 8, x + 8, y + 8) for x, y in spots]
    texts = []
    for i in sorted(
        range(len(points)), key=lambda i: (not points[i].front, points[i].kind == "control", points[i].name)
    ):
        x, y = spots[i]
        width = (_BOLD if points[i].front else _CHARACTER) * len(points[i].name)
        others = taken[:i] + taken[i + 1 :]
        choices = [(_box(x + dx, y + dy, width, anchor), dx, dy, anchor) for dx, dy, anchor in (*_PLACES, *_FAR)]
        choices = [
            c
            for c in choices
            if c[0][0] >= _LEFT and c[0][2] <= WIDTH and c[0][1] >= 0 and c[0][3] <= HEIGHT - _BOTTOM + 4
        ]
        free = [c for c in choices if not any(_overlap(c[0], o) for o in others)]
        box, dx, dy, anchor = (free or choices or [(_box(x + 9, y + 4, width, "start"), 9, 4, "start")])[0]
        taken.append(box)
        far = abs(dx) > 20
        lead = f"<path d='M{x:.1f} {y:.1f}L{x + dx * 0.93:.1f} {y + dy - 4:.1f}' class='scfm-lead'/>" if far else ""
        weight = " font-weight='600'" if points[i].front else ""
        texts.append(
            f"{lead}<text x='{x + dx:.1f}' y='{y + dy:.1f}' text-anchor='{anchor}'{weight}>{esc(points[i].name)}</text>"
        )
    return texts


def _box(x: float, y: float, width: float, anchor: str) -> tuple[float, float, float, float]:
    left = {"start": x, "end": x - width, "middle": x - width / 2}[anchor]
    return left, y - _LINE + 2, left + width, y + 3


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
