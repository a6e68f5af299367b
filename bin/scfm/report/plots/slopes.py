"""Slopes from before to after as inline SVG: one line per method, names at the right end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from scfm.report.page.html import esc, signed

WIDTH, _LEFT, _NAMES, _TOP, _BOTTOM, _GAP = 330, 40, 150, 34, 26, 13.0
RISES, FALLS, REFERENCE = "#2171b5", "#d95f0e", "#1b7837"
_LETTERS = 22


@dataclass(frozen=True)
class Slope:
    """One method: its value before and after (higher is better)."""

    name: str
    before: float
    after: float


def slopes_svg(panels: Sequence[tuple[str, Sequence[Slope], float | None]], *, reference: str) -> Markup:
    """Return panels side by side.

    Parameters
    ----------
    panels
        Title, slopes, and the value of the dashed line (None: no line) of each.
    reference
        Name of the dashed line.
    """
    most = max((len(s) for _, s, _ in panels), default=0)
    height = max(300.0, _TOP + _BOTTOM + _GAP * (most + 2))
    drawn = "".join(
        f"<g transform='translate({i * WIDTH} 0)'>{_panel(title, slopes, line, height, reference)}</g>"
        for i, (title, slopes, line) in enumerate(panels)
    )
    return Markup(
        f"<div class='scfm-legend'><span class='scfm-key'><i style='background:{RISES}'></i>rises</span><span"
        f" class='scfm-key'><i style='background:{FALLS}'></i>falls</span>"
        + (
            f"<span class='scfm-key'><i style='background:{REFERENCE}'></i>dashed: {esc(reference)}</span>"
            if any(p[2] is not None for p in panels)
            else ""
        )
        + f"</div><div class='scfm-scroll'><svg class='scfm-svg' viewBox='0 0 {WIDTH * len(panels)} {height:.0f}'"
        f" role='img' aria-label='Before and after centring'>{drawn}</svg></div>"
    )


def _panel(title: str, slopes: Sequence[Slope], line: float | None, height: float, reference: str) -> str:
    """Return one panel: axis, dashed line, slopes and names that do not overlap."""
    values = [v for s in slopes for v in (s.before, s.after)] + ([line] if line is not None else [])
    low, high = min(values), max(values)
    pad = max(0.06 * (high - low), 0.02)
    low, high = low - pad, high + pad
    x0, x1 = _LEFT, WIDTH - _NAMES

    def place(value: float) -> float:
        return height - _BOTTOM - (value - low) / (high - low) * (height - _TOP - _BOTTOM)

    parts = [f"<text x='{_LEFT}' y='16' font-weight='600' class='scfm-axis'>{esc(title)}</text>"]
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, float("inf")) if (high - low) / s <= 8)
    first = int(low / step)
    for tick in (round(i * step, 2) for i in range(first, first + 11)):
        if low <= tick <= high:
            parts.append(
                f"<path d='M{x0} {place(tick):.1f}H{x1}' class='scfm-grid-line'/><text x='{x0 - 6}'"
                f" y='{place(tick) + 4:.1f}' text-anchor='end' font-size='10'>{tick:g}</text>"
            )
    for x, word in ((x0, "raw"), (x1, "centred")):
        parts.append(
            f"<text x='{x}' y='{height - 8:.0f}' text-anchor='{'start' if x == x0 else 'end'}'"
            f" font-size='11'>{word}</text>"
        )
    if line is not None:
        parts.append(
            f"<path class='scfm-reference' d='M{x0} {place(line):.1f}H{x1}' stroke='{REFERENCE}' stroke-width='1.6'"
            f" stroke-dasharray='6 4'><title>{esc(reference)}: {line:.3f}</title></path>"
        )
    ordered = sorted(slopes, key=lambda s: -s.after)
    for slope, y in zip(ordered, _spread([place(s.after) for s in ordered], _TOP, height - _BOTTOM), strict=True):
        colour = RISES if slope.after >= slope.before else FALLS
        tip = f"<title>{esc(slope.name)}: {slope.before:.3f} raw, {slope.after:.3f} centred</title>"
        short = slope.name if len(slope.name) <= _LETTERS else slope.name[: _LETTERS - 1] + "…"
        parts.append(
            f"<g stroke='{colour}' fill='{colour}'><path d='M{x0} {place(slope.before):.1f}L{x1}"
            f" {place(slope.after):.1f}' fill='none' stroke-width='1.6'>{tip}</path><circle cx='{x0}'"
            f" cy='{place(slope.before):.1f}' r='3'/><circle cx='{x1}' cy='{place(slope.after):.1f}' r='3'/><path"
            f" d='M{x1 + 4} {place(slope.after):.1f}L{x1 + 10} {y:.1f}' stroke-width='.6'/></g><text x='{x1 + 12}'"
            f" y='{y + 3.5:.1f}' font-size='10'>{esc(short)} {signed(slope.after - slope.before)}{tip}</text>"
        )
    return "".join(parts)


def _spread(wanted: Sequence[float], top: float, bottom: float) -> list[float]:
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
