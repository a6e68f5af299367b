"""Slopes from before to after by matplotlib: one line per method, names and changes at the right end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from scfm.report.page.html import signed
from scfm.report.page.templates import render
from scfm.report.plots.svg import STYLE, TIP, new_figure, span, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: one panel in pixels: its width, and the room left of its axes, for names, above and below
WIDTH, _LEFT, _NAMES, _TOP, _BOTTOM = 330.0, 44.0, 160.0, 30.0, 26.0
#: a line of names, in pixels
_GAP = 13.0
RISES, FALLS, REFERENCE = "#2171b5", "#c25a00", "#444444"
_LETTERS = 22


@dataclass(frozen=True)
class Slope:
    """One method: its value before and after (higher is better)."""

    name: str
    before: float
    after: float


Panel = tuple[str, Sequence[Slope], float | None]


def draw_slopes(panels: Sequence[Panel], *, reference: str, key: str) -> Markup:
    """Return panels side by side.

    Parameters
    ----------
    panels
        Title, slopes, and the value of the dashed line (None: no line) of each.
    reference
        Name of the dashed line.
    key
        Prefix of the ids in the SVG, different for every plot of a page.
    """
    from matplotlib import rc_context

    most = max((len(s) for _, s, _ in panels), default=0)
    width, height = WIDTH * len(panels), max(300.0, _TOP + _BOTTOM + _GAP * (most + 2))
    titles: dict[str, str] = {}
    with rc_context(STYLE):
        figure = new_figure(width, height)
        for i, panel in enumerate(panels):
            box = (i * WIDTH + _LEFT) / width, _BOTTOM / height, (WIDTH - _LEFT - _NAMES) / width
            axes = figure.add_axes((*box, 1 - (_TOP + _BOTTOM) / height), facecolor="none")
            titles |= _draw_panel(axes, panel, height, tip=f"{TIP}{i}-", reference=reference)
        svg = to_svg(figure, key, label="Before and after centring", titles=titles)
    notes = [f"dashed: {reference}"] if any(line is not None for *_, line in panels) else []
    legend = {"rises": RISES, "falls": FALLS}
    return render("scatter.html.j2", legend=legend, notes=notes, width=width, svg=svg)


def _draw_panel(axes: "Axes", panel: Panel, height: float, *, tip: str, reference: str) -> dict[str, str]:
    """Draw axis, dashed line, slopes and names that do not overlap; return ``{id: tooltip}``."""
    title, slopes, line = panel
    low, high = span([v for s in slopes for v in (s.before, s.after)] + ([line] if line is not None else []))
    axes.set(xlim=(0, 1), ylim=(low, high), xticks=[0, 1], xticklabels=["raw", "centred"])
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if line is not None:
        axes.axhline(line, color=REFERENCE, linestyle="--", linewidth=1.3).set_gid(f"{tip}line")
    inner = height - _TOP - _BOTTOM
    titles = {} if line is None else {f"{tip}line": f"{reference}: {line:.3f}"}
    ordered = sorted(slopes, key=lambda s: -s.after)
    wanted = [(high - s.after) / (high - low) * inner for s in ordered]
    for i, (slope, place) in enumerate(zip(ordered, spread(wanted, 0.0, inner), strict=True)):
        colour = RISES if slope.after >= slope.before else FALLS
        (drawn,) = axes.plot(
            [0, 1], [slope.before, slope.after], "o-", color=colour, markersize=4, linewidth=1.4, clip_on=False
        )
        drawn.set_gid(f"{tip}{i}")
        titles[f"{tip}{i}"] = f"{slope.name}: {slope.before:.3f} raw, {slope.after:.3f} centred"
        y = high - place / inner * (high - low)
        axes.plot([1.03, 1.09], [slope.after, y], color=colour, linewidth=0.6, clip_on=False)
        short = slope.name if len(slope.name) <= _LETTERS else slope.name[: _LETTERS - 1] + "…"
        axes.text(1.11, y, f"{short} {signed(slope.after - slope.before)}", fontsize=7.5, va="center", color="#1a1a1a")
    return titles


def spread(wanted: Sequence[float], top: float, bottom: float) -> list[float]:
    """Return places near the wanted ones (ascending) that are a line apart, inside top and bottom if there is room."""
    places: list[float] = []
    for y in wanted:
        places.append(max(y, places[-1] + _GAP) if places else max(y, top))
    excess = places[-1] - bottom if places else 0.0
    if excess > 0:
        places[-1] -= excess
        for i in range(len(places) - 2, -1, -1):
            places[i] = min(places[i], places[i + 1] - _GAP)
    return places
