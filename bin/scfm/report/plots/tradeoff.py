"""Bio against batch: points with the range of their seeds, arrows from raw to corrected, and the zone of the floor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.report.plots.labels import LETTER, Box, place_labels
from scfm.report.plots.svg import STYLE, TIP, new_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Range = tuple[float, float, float]
#: marker, fill and edge of every kind of point; one blue, orange for foundation models, hollow grey for the unranked
LOOKS = {
    "method": ("o", "#0b4a8b", "#0b4a8b"),
    "corrected": ("^", "#5a9bd4", "#1f5f9e"),
    "model": ("s", "#e07b26", "#8a3b00"),
    "not_ranked": ("o", "#ffffff", "#5f6469"),
}
WIDE, NARROW = (860.0, 500.0), (360.0, 380.0)
_MARGINS = (62.0, 16.0, 14.0, 50.0)  # left, right, top, bottom, in pixels
_STRIP = 22.0
_STEP = 6.0  # pixels between the boxes that keep names off an arrow
_ROOMY = 500.0  # a wider plot has room for whole sentences and more ticks


@dataclass(frozen=True)
class Mark:
    """One point: bio and batch as (mean, lowest seed, highest seed), 0 to 1, higher is better.

    ``label`` is beside the point (empty: none), ``title`` is its tooltip, ``start`` is the number of the
    mark that an arrow comes from.
    """

    label: str
    title: str
    bio: Range
    batch: Range
    kind: str
    start: int | None = None


@dataclass(frozen=True)
class _Frame:
    """Spans of the axes, and where values lie in pixels from the upper left corner."""

    x: tuple[float, float]
    y: tuple[float, float]
    size: tuple[float, float]

    def place(self, batch: float, bio: float) -> tuple[float, float]:
        left, right, top, bottom = _MARGINS
        width, height = self.size[0] - left - right, self.size[1] - top - bottom
        return (
            left + (batch - self.x[0]) / (self.x[1] - self.x[0]) * width,
            top + (self.y[1] - bio) / (self.y[1] - self.y[0]) * height,
        )


def span(values: Sequence[float]) -> tuple[float, float]:
    """Return an axis range around values: 8 % more on both sides, at least 0.1 wide."""
    low, high = min(values), max(values)
    pad = max(0.08 * (high - low), (0.1 - (high - low)) / 2, 0.02)
    return low - pad, high + pad


def draw_tradeoff(marks: Sequence[Mark], *, floor: float, key: str, size: tuple[float, float] = WIDE) -> str:
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
    strip = below * _STRIP * (y[1] - low) / (size[1] - _MARGINS[2] - _MARGINS[3] - _STRIP)
    frame = _Frame(span([v for m in marks for v in m.batch]), (low - strip, y[1]), size)
    with rc_context(STYLE):
        figure = new_figure(*size)
        axes = _axes(figure, frame)
        zone = _floor(axes, frame, floor, low if below else floor, outside=below)
        _points(axes, marks)
        _names(figure, marks, frame, zone)
        titles = {f"{TIP}{i}": m.title for i, m in enumerate(marks)}
        return to_svg(figure, key, label="Bio conservation against batch removal", titles=titles)


def _axes(figure: "Figure", frame: _Frame) -> "Axes":
    """Return axes that fill the figure up to fixed margins."""
    (width, height), (left, right, top, bottom) = frame.size, _MARGINS
    axes = figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height), facecolor="none"
    )
    axes.set(xlim=frame.x, ylim=frame.y, xlabel="Batch removal →", ylabel="Bio conservation →")
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.locator_params(nbins=8 if width > _ROOMY else 5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def _floor(axes: "Axes", frame: _Frame, floor: float, top: float, *, outside: bool) -> list[Box]:
    """Shade the zone of bio that is no better than the floor; return the box of its name."""
    if math.isnan(floor) or top <= frame.y[0]:
        return []
    axes.axhspan(frame.y[0], top, color="#e3e3e3", zorder=0.5, linewidth=0)
    words = "no better than the floor (bio up to" if frame.size[0] > _ROOMY else "floor (bio"
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
        axes.errorbar(
            x, y,
            xerr=[[x - mark.batch[1]], [mark.batch[2] - x]], yerr=[[y - mark.bio[1]], [mark.bio[2] - y]],
            ecolor="#333333", elinewidth=1, fmt="none", zorder=2.5,
        )  # fmt: skip
        (point,) = axes.plot(x, y, marker, markersize=8, markerfacecolor=fill, markeredgecolor=edge, zorder=3)
        point.set_gid(f"{TIP}{i}")


def _names(figure: "Figure", marks: Sequence[Mark], frame: _Frame, zone: Sequence[Box]) -> None:
    """Write names beside their points, with a line where they are further away."""
    from matplotlib.lines import Line2D

    (width, height), font = frame.size, 12.0
    points = [frame.place(m.batch[0], m.bio[0]) for m in marks]
    edges = [(0.0, 0.0, _MARGINS[0], height), (0.0, height - _MARGINS[3], width, height)]
    places = place_labels(
        [m.label for m in marks],
        points,
        size=frame.size,
        font=font,
        obstacles=[*zone, *edges, *_arrows(marks, points), *_ranges(marks, frame)],
        mark=5.0,
    )
    for mark, point, place in zip(marks, points, places, strict=True):
        if place is None:
            continue
        end = place.x + LETTER * font * len(mark.label)
        before = end <= point[0]
        anchor = end if before else place.x
        if place.leader:
            line = [point[0] / width, anchor / width], [1 - point[1] / height, 1 - place.y / height]
            figure.add_artist(Line2D(*line, color="#999999", linewidth=0.7))
        figure.text(
            anchor / width, 1 - place.y / height, mark.label, fontsize=font * 0.72, va="center", color="#1a1a1a",
            ha="right" if before else "left",
        )  # fmt: skip


def _ranges(marks: Sequence[Mark], frame: _Frame) -> list[Box]:
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
