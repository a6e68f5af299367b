"""Small pieces of HTML: everything that comes from data is escaped, nothing is fetched from elsewhere."""

from __future__ import annotations

import html
import math

#: light to dark blue, readable in print and by colour-blind readers
_SCALE = ((247, 251, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))


def esc(text: object) -> str:
    """Return a text escaped for HTML."""
    return html.escape(str(text), quote=True)


def colour(value: float) -> tuple[str, str]:
    """Return background and text colour for a value between 0 and 1 (values beyond are capped)."""
    share = min(1.0, max(0.0, value)) * (len(_SCALE) - 1)
    first = min(int(share), len(_SCALE) - 2)
    part = share - first
    rgb = [round(a + (b - a) * part) for a, b in zip(_SCALE[first], _SCALE[first + 1], strict=True)]
    return f"rgb({rgb[0]},{rgb[1]},{rgb[2]})", "#fff" if _luminance(rgb) < 0.179 else "#000"


def _luminance(rgb: list[int]) -> float:
    """Return the relative luminance of WCAG 2; below 0.179 white text has the higher contrast,
    above it black has; either is at least 4.5 to 1."""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def number(value: float | None, digits: int = 2) -> str:
    """Return a number for people, an en dash where there is none; what rounds to zero has no sign."""
    return "–" if value is None or (isinstance(value, float) and math.isnan(value)) else f"{value:z,.{digits}f}"


def signed(value: float, digits: int = 2) -> str:
    """Return a change with its sign, an en dash where there is none; what rounds to zero has no sign."""
    if math.isnan(value):
        return "–"
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def seconds_text(seconds: float) -> str:
    """Return seconds for people: one decimal, and below a second two digits that count, so that no time is 0.

    Examples
    --------
    >>> seconds_text(1234.56), seconds_text(0.04024), seconds_text(0.0)
    ('1,234.6', '0.04', '0')
    """
    return f"{seconds:,.1f}" if seconds >= 1 else f"{seconds:.2g}"


def percent(share: float) -> str:
    """Return a share of 0 to 1 as a percentage for a style (values beyond are capped)."""
    return f"{100 * min(1.0, max(0.0, share)):.1f}"
