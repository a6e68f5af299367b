"""A scatter of two numbers by matplotlib: names at the points where there is room, a diagonal, a band of tolerance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from scfm.report.page.templates import render
from scfm.report.plots.labels import Box, write_names
from scfm.report.plots.svg import STYLE, TIP, Frame, new_axes, new_figure, span, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE, SQUARE = (760.0, 460.0), (560.0, 560.0)


@dataclass(frozen=True)
class Point:
    """One point: its name, which is written beside it if ``named``, and ``tip``, its tooltip.

    ``hollow`` marks a corrected embedding; ``low`` and ``high`` are the ends of a range of ``x``.
    """

    name: str
    x: float
    y: float
    colour: str
    tip: str = ""
    hollow: bool = False
    named: bool = True
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Plot:
    """How a scatter is drawn.

    Attributes
    ----------
    key
        Prefix of the ids in the SVG, different for every plot of a page.
    xlab, ylab
        Names of the axes.
    legend
        ``{name: colour}``.
    notes
        Texts behind the legend.
    diagonal
        Draw the line of equal x and y; both axes then have one span.
    tolerance
        Half the height of a band around the diagonal; None for none.
    size
        Width and height in pixels.
    """

    key: str
    xlab: str
    ylab: str
    legend: Mapping[str, str]
    notes: Sequence[str] = ()
    diagonal: bool = False
    tolerance: float | None = None
    size: tuple[float, float] = WIDE


def draw_scatter(points: Sequence[Point], plot: Plot) -> Markup:
    """Return legend and plot; axes span the points with a margin."""
    from matplotlib import rc_context

    x = span([v for p in points for v in (p.x, p.low, p.high) if v is not None])
    y = span([p.y for p in points])
    if plot.diagonal:
        x = y = min(x[0], y[0]), max(x[1], y[1])
    frame = Frame(x, y, plot.size)
    with rc_context(STYLE):
        figure = new_figure(*plot.size)
        axes = new_axes(figure, frame, xlab=f"{plot.xlab} →", ylab=f"{plot.ylab} →")
        if plot.diagonal:
            axes.plot(x, x, "--", color="#777777", linewidth=1.2, zorder=1.5)
        if plot.tolerance is not None:
            low, high = ([v + s * plot.tolerance for v in x] for s in (-1, 1))
            axes.fill_between(x, low, high, color="#2171b5", alpha=0.12, linewidth=0)
        _draw_points(axes, points)
        spots = [frame.place(p.x, p.y) for p in points]
        ranges = [_range(frame, p) for p in points if p.low is not None and p.high is not None]
        write_names(figure, [p.name if p.named else "" for p in points], spots, frame.size, obstacles=ranges)
        titles = {f"{TIP}{i}": p.tip or f"{p.name}: {p.x:.3f}, {p.y:.3f}" for i, p in enumerate(points)}
        svg = to_svg(figure, plot.key, label=f"{plot.ylab} against {plot.xlab}", titles=titles)
    return render("scatter.html.j2", legend=plot.legend, notes=plot.notes, width=plot.size[0], svg=svg)


def _draw_points(axes: "Axes", points: Sequence[Point]) -> None:
    """Draw points, hollow ones as rings, and ranges of x as bars through them."""
    for i, p in enumerate(points):
        if p.low is not None and p.high is not None:
            axes.plot([p.low, p.high], [p.y, p.y], color=p.colour, linewidth=2, alpha=0.6, zorder=2)
        fill = "#ffffff" if p.hollow else p.colour
        (mark,) = axes.plot(
            p.x, p.y, "o", markersize=8, markerfacecolor=fill, markeredgecolor=p.colour, markeredgewidth=1.5, zorder=3
        )
        mark.set_gid(f"{TIP}{i}")


def _range(frame: Frame, point: Point) -> Box:
    """Return the box around the range of a point, which names may not cover."""
    (x0, y0), (x1, y1) = frame.place(point.low or 0.0, point.y), frame.place(point.high or 0.0, point.y)
    return x0, y0 - 2, x1, y1 + 2
