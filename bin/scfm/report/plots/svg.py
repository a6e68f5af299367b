"""Figures of matplotlib as inline SVG: deterministic, with text as text, and titles that a pointer or reader shows.

The trade-off and the slopes are not plots of MultiQC (plotly): those place no names beside points without overlap, draw
no arrows between two points, and are empty without scripts and in print. MultiQC draws the plots of the appendix.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from scfm.report.page.html import esc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: prefix of the ids of marks that have a title
TIP = "tip-"
#: text stays text: it can be searched, and takes the font of the page
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "scfmbench",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # the whole list would be written at every text
    "font.size": 10,
}
_DPI = 100
#: left, right, top and bottom of the axes of a plot, in pixels
MARGINS = (62.0, 16.0, 14.0, 50.0)
#: a wider plot has room for whole sentences and more ticks, in pixels
ROOMY = 500.0


@dataclass(frozen=True)
class Frame:
    """Spans of the axes, and where values lie in pixels from the upper left corner of a figure of ``size``."""

    x: tuple[float, float]
    y: tuple[float, float]
    size: tuple[float, float]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of a point in pixels."""
        left, right, top, bottom = MARGINS
        width, height = self.size[0] - left - right, self.size[1] - top - bottom
        return (
            left + (x - self.x[0]) / (self.x[1] - self.x[0]) * width,
            top + (self.y[1] - y) / (self.y[1] - self.y[0]) * height,
        )


def span(values: Sequence[float]) -> tuple[float, float]:
    """Return an axis range around values: 8 % more on both sides, at least 0.1 wide."""
    low, high = min(values), max(values)
    pad = max(0.08 * (high - low), (0.1 - (high - low)) / 2, 0.02)
    return low - pad, high + pad


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in pixels of the page, without pyplot, which keeps global state."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    FigureCanvasSVG(figure)
    return figure


def new_axes(figure: "Figure", frame: Frame, *, xlab: str, ylab: str) -> "Axes":
    """Return axes that fill the figure up to its margins, with a light grid."""
    (width, height), (left, right, top, bottom) = frame.size, MARGINS
    axes = figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height), facecolor="none"
    )
    axes.set(xlim=frame.x, ylim=frame.y, xlabel=xlab, ylabel=ylab)
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.locator_params(nbins=8 if width > ROOMY else 5, steps=[1, 2, 5, 10])  # not 2.5: its third digit has no room
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def to_svg(figure: "Figure", key: str, *, label: str, titles: Mapping[str, str] | None = None) -> Markup:
    """Return a figure as an ``<svg>`` element, its texts escaped.

    Parameters
    ----------
    figure
        That of :func:`new_figure`, drawn within ``matplotlib.rc_context(STYLE)``.
    key
        Prefix of all ids; different for every figure of a page, as ids are for the whole page.
    label
        What the figure shows, for screen readers.
    titles
        ``{id: text}`` of marks whose ``gid`` begins with :data:`TIP`.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r"<[^>]*>", lambda tag: _shorten(tag.group()), text)
    for gid, title in (titles or {}).items():
        text = text.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{esc(title)}</title>')
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{key}-", text)
    size = re.search(r'viewBox="([^"]*)"', text)
    box = size.group(1) if size else "0 0 100 100"
    body = text[text.index(">", text.index("<svg")) + 1 :]
    return Markup(f'<svg class="scfm-plot" viewBox="{box}" role="img" aria-label="{esc(label)}">{body}'.rstrip())


def _shorten(tag: str) -> str:
    """Return a tag with places to a hundredth of a pixel and without rotations by nothing."""
    return re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r' transform="rotate\(-0 [^"]*"', "", tag))
