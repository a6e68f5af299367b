"""Figures of matplotlib as inline SVG: deterministic, with text as text, and titles that a pointer or reader shows."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from scfm.report.page.html import esc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: prefix of the ids of marks that have a title
TIP = "tip-"
#: text stays text: it can be searched, and takes the font of the page
STYLE = {"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "svg.hashsalt": "scfmbench"}
_DPI = 100


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in pixels of the page, without pyplot, which keeps global state."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    FigureCanvasSVG(figure)
    return figure


def to_svg(figure: "Figure", key: str, *, label: str, titles: Mapping[str, str] | None = None) -> str:
    """Return a figure as an ``<svg>`` element.

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
    for gid, title in (titles or {}).items():
        text = text.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{esc(title)}</title>')
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{key}-", text)
    size = re.search(r'viewBox="([^"]*)"', text)
    box = size.group(1) if size else "0 0 100 100"
    body = text[text.index(">", text.index("<svg")) + 1 :]
    return f'<svg class="scfm-plot" viewBox="{box}" role="img" aria-label="{esc(label)}">{body}'.rstrip()
