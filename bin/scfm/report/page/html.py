"""Small pieces of HTML: everything that comes from data is escaped, nothing is fetched from elsewhere."""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Mapping, Sequence

#: light to dark blue, readable in print and by colour-blind readers
_SCALE = ((247, 251, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))
_TAB_STYLE = (
    "#{id}_{i}:checked~.scfm-panels>.{id}_{i}{{display:block}}"
    "#{id}_{i}:checked~.scfm-labels>[for={id}_{i}]{{background:var(--bs-primary,#0d6efd);color:#fff}}"
)


def esc(text: object) -> str:
    """Return a text safe to stand in HTML."""
    return html.escape(str(text), quote=True)


def colour(value: float) -> tuple[str, str]:
    """Return background and text colour for a value between 0 and 1 (values beyond are capped)."""
    share = min(1.0, max(0.0, value)) * (len(_SCALE) - 1)
    first = min(int(share), len(_SCALE) - 2)
    part = share - first
    rgb = [round(a + (b - a) * part) for a, b in zip(_SCALE[first], _SCALE[first + 1], strict=True)]
    return f"rgb({rgb[0]},{rgb[1]},{rgb[2]})", "#fff" if share > 2.2 else "#1a1a1a"


def number(value: float | None, digits: int = 2) -> str:
    """Return a number for people, an en dash where there is none."""
    return "–" if value is None or (isinstance(value, float) and math.isnan(value)) else f"{value:,.{digits}f}"


def signed(value: float, digits: int = 2) -> str:
    """Return a change with its sign, an en dash where there is none; what rounds to zero has no sign."""
    if math.isnan(value):
        return "–"
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def percent(share: float) -> str:
    """Return a share of 0 to 1 as a percentage for a style (values beyond are capped)."""
    return f"{100 * min(1.0, max(0.0, share)):.1f}"


def heat_table(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Mapping[tuple[str, str], float],
    *,
    corner: str = "",
    titles: Mapping[tuple[str, str], str] | None = None,
    heads: Mapping[str, str] | None = None,
    lower_better: Collection[str] = (),
) -> str:
    """Return a table of numbers coloured from 0 (light) to 1 (dark); dark is good in every column.

    Parameters
    ----------
    rows, columns
        Names, in order.
    values
        ``{(row, column): value}``; a cell without a value is grey.
    corner
        What stands over the names of the rows.
    titles, heads
        What a cell, or the name of a column, says when pointed at.
    lower_better
        Columns whose colours are turned round.
    """
    head = "".join(f"<th scope='col'{_tip(heads, c)}>{esc(c)}{' ↓' if c in lower_better else ''}</th>" for c in columns)
    body = []
    for row in rows:
        cells = []
        for column in columns:
            value = values.get((row, column))
            tip = _tip(titles, (row, column))
            if value is None or math.isnan(value):
                cells.append(f"<td class='scfm-none'{tip}>–</td>")
            else:
                back, front = colour(1 - value if column in lower_better else value)
                cells.append(f"<td style='background:{back};color:{front}'{tip}>{value:.2f}</td>")
        body.append(f"<tr><th scope='row'>{esc(row)}</th>{''.join(cells)}</tr>")
    return (
        f"<div class='scfm-scroll'><table class='scfm-heat'><thead><tr><th>{esc(corner)}</th>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _tip(tips: Mapping | None, key: object) -> str:
    return f" title='{esc(tips[key])}'" if tips and key in tips else ""


def tabs(key: str, panels: Sequence[tuple[str, str]]) -> str:
    """Return panels that are switched without any script (radio buttons and CSS); the first is shown."""
    if len(panels) == 1:
        return panels[0][1]
    inputs, labels, bodies, style = [], [], [], []
    for i, (title, body) in enumerate(panels):
        checked = " checked" if i == 0 else ""
        inputs.append(f"<input type='radio' name='{key}' id='{key}_{i}'{checked}>")
        labels.append(f"<label for='{key}_{i}'>{esc(title)}</label>")
        bodies.append(f"<div class='{key}_{i}'>{body}</div>")
        style.append(_TAB_STYLE.format(id=key, i=i))
    return (
        f"<style>{''.join(style)}</style><div class='scfm-tabs'>{''.join(inputs)}"
        f"<div class='scfm-labels'>{''.join(labels)}</div><div class='scfm-panels'>{''.join(bodies)}</div></div>"
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, css: str = "scfm-table") -> str:
    """Return a plain table; cells are HTML already (escape what comes from data)."""
    head = "".join(f"<th scope='col'>{esc(c)}</th>" for c in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        "<div class='scfm-scroll'><table"
        f" class='{css}'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
