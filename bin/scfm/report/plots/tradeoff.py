"""Bio against batch: points with the range of their seeds, arrows from raw to corrected, and the zone of the floor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from scfm.report.plots.labels import Box, write_names
from scfm.report.plots.svg import MARGINS, ROOMY, STYLE, TIP, Frame, new_axes, new_figure, span, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Range = tuple[float, float, float]
#: marker, fill and edge of every kind of point; one blue, orange for foundation models, hollow grey for the unranked
LOOKS = {
    "method": ("o", "#0b4a8b", "#0b4a8b"),
    "corrected": ("^", "#5a9bd4", "#1f5f9e"),  # unless the mark has a marker of its own
    "model": ("s", "#e07b26", "#8a3b00"),
    "not_ranked": ("o", "#ffffff", "#5f6469"),
}
WIDE, NARROW = (860.0, 500.0), (360.0, 380.0)
_STRIP = 22.0
_STEP = 6.0  # pixels between the boxes that keep names off an arrow


@dataclass(frozen=True)
class Mark:
    """One point: bio and batch as (mean, lowest seed, highest seed), 0 to 1, higher is better.

    ``label`` is beside the point (empty: none), ``title`` is its tooltip, ``start`` is the number of the
    mark that an arrow comes from, ``marker`` replaces the marker of the kind.
    """

    label: str
    title: str
    bio: Range
    batch: Range
    kind: str
    start: int | None = None
    marker: str = ""


def draw_tradeoff(marks: Sequence[Mark], *, floor: float, key: str, size: tuple[float, float] = WIDE) -> Markup:
    """Return the plot as inline SVG.

    Parameters
    ----------
    marks
        What is drawn; names of the first ones are placed first.
    floor
        Bio of the floor, NaN where there is none. A floor far below the points is a strip at the lower edge that says
        so, for an axis down to it would press the points together.
    key
        Prefix of the ids in the SVG, different for every plot of a page.
    size
        Width and height in pixels.
    """
    from matplotlib import rc_context

    y = span([v for m in marks for v in m.bio])
    below = floor < y[0] and y[0] - floor > 0.5 * (y[1] - y[0])
    low = min(y[0], floor - 0.02) if not math.isnan(floor) and not below else y[0]
    strip = below * _STRIP * (y[1] - low) / (size[1] - MARGINS[2] - MARGINS[3] - _STRIP)
    frame = Frame(span([v for m in marks for v in m.batch]), (low - strip, y[1]), size)
    with rc_context(STYLE):
        figure = new_figure(*size)
        axes = new_axes(figure, frame, xlab="Batch removal →", ylab="Bio conservation →")
        zone = _floor(axes, frame, floor, low if below else floor, outside=below)
        _points(axes, marks)
        points = [frame.place(m.batch[0], m.bio[0]) for m in marks]
        obstacles = [*zone, *_arrows(marks, points), *_ranges(marks, frame)]
        write_names(figure, [m.label for m in marks], points, frame.size, obstacles=obstacles)
        titles = {f"{TIP}{i}": m.title for i, m in enumerate(marks)}
        return to_svg(figure, key, label="Bio conservation against batch removal", titles=titles)


def _floor(axes: "Axes", frame: Frame, floor: float, top: float, *, outside: bool) -> list[Box]:
    """Shade the zone of bio that is no better than the floor; return the box of its name."""
    if math.isnan(floor) or top <= frame.y[0]:
        return []
    axes.axhspan(frame.y[0], top, color="#e3e3e3", zorder=0.5, linewidth=0)
    words = "no better than the floor (bio up to" if frame.size[0] > ROOMY else "floor (bio"
    text = f"{words} {floor:.2f}{', below this axis' if outside else ''})"
    x, y = frame.place(frame.x[1], top)
    axes.annotate(
        text, (1, top), xycoords=("axes fraction", "data"), xytext=(-4, -4), textcoords="offset points",
        ha="right", va="top", fontsize=8, color="#444444",
    )  # fmt: skip
    return [(x - 5.2 * len(text), y, x, y + 18)]


def _points(axes: "Axes", marks: Sequence[Mark]) -> None:
    """Draw arrows, ranges over seeds and points."""
    for i, mark in enumerate(marks):
        marker, fill, edge = LOOKS[mark.kind]
        x, y = mark.batch[0], mark.bio[0]
        if mark.start is not None:
            start = marks[mark.start]
            axes.annotate(
                "", (x, y), (start.batch[0], start.bio[0]),
                arrowprops={"arrowstyle": "-|>", "color": "#777777", "linewidth": 1, "shrinkA": 5, "shrinkB": 5},
            )  # fmt: skip
        if mark.bio[1] < mark.bio[2] or mark.batch[1] < mark.batch[2]:
            axes.errorbar(
                x, y,
                xerr=[[x - mark.batch[1]], [mark.batch[2] - x]], yerr=[[y - mark.bio[1]], [mark.bio[2] - y]],
                ecolor="#333333", elinewidth=1, fmt="none", zorder=2.5,
            )  # fmt: skip
        (point,) = axes.plot(
            x, y, mark.marker or marker, markersize=8, markerfacecolor=fill, markeredgecolor=edge, zorder=3
        )
        point.set_gid(f"{TIP}{i}")


def _ranges(marks: Sequence[Mark], frame: Frame) -> list[Box]:
    """Return boxes around the ranges over seeds, which names may not cover."""
    boxes = []
    for mark in marks:
        (x0, y0), (x1, y1) = frame.place(mark.batch[1], mark.bio[0]), frame.place(mark.batch[2], mark.bio[0])
        (x2, y2), (x3, y3) = frame.place(mark.batch[0], mark.bio[2]), frame.place(mark.batch[0], mark.bio[1])
        boxes += [(x0, y0 - 1, x1, y1 + 1), (x2 - 1, y2, x3 + 1, y3)]
    return boxes


def _arrows(marks: Sequence[Mark], points: Sequence[tuple[float, float]]) -> list[Box]:
    """Return small boxes along the arrows, which names may not cover either; the ends are left to the points."""
    boxes = []
    for mark, (x, y) in zip(marks, points, strict=True):
        if mark.start is None:
            continue
        x0, y0 = points[mark.start]
        n = int(math.hypot(x - x0, y - y0) / _STEP)
        for i in range(1, n):
            cx, cy = x0 + (x - x0) * i / n, y0 + (y - y0) * i / n
            boxes.append((cx - 2, cy - 2, cx + 2, cy + 2))
    return boxes
