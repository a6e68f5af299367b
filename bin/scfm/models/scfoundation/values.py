"""Values of scFoundation: the resolution asked for, totals, and rows with the two tokens of depth."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.errors import ScfmError
from scfm.models.core import tokens
from scfm.text import plural

if TYPE_CHECKING:
    from scfm.models.core.reader import Counts


def parse_resolution(text: str) -> tuple[str, float]:
    """Read the setting ``resolution``: a letter (f, a or t) and a finite number, positive after f.

    Examples
    --------
    >>> parse_resolution("t4.5"), parse_resolution("f1")
    (('t', 4.5), ('f', 1.0))
    """
    found = re.fullmatch(r"([fat])([+-]?\d*\.?\d+(?:e[+-]?\d+)?)", text.strip())
    if not found or (found.group(1) == "f" and float(found.group(2)) <= 0):
        raise ScfmError(
            f"scfoundation: setting resolution={text} is not understood; expected fN (N times the cell's depth, N above"
            " 0), aN (log10 of the depth + N) or tN (log10 of a fixed depth), for example f1, a5 or t4."
        )
    return found.group(1), float(found.group(2))


def check_totals(counts: "Counts") -> None:
    """Refuse cells with values whose last column, the total of ``pre_normalized=A``, is 0."""
    at = 0
    bad: list[str] = []
    for chunk in counts.chunks(4096):
        total = chunk.counts[:, [-1]].toarray().ravel()
        bad += [str(c) for c in chunk.cell_ids[(total <= 0) & (np.diff(chunk.counts.indptr) > 0)]]
        at += len(total)
    if bad:
        raise ScfmError(
            f"{counts.name}: pre_normalized=A takes the last column ('{counts.var.index[-1]}') as the total count of"
            f" each cell, but it is 0 in {plural(len(bad), 'cell')} of {at:,} (such as '{bad[0]}'). Put the total"
            " there, or use pre_normalized=T."
        )


def added(rows: tokens.Rows, *, as_logs: bool) -> tokens.Rows:
    """Add neighbouring entries of one gene within a cell (``as_logs``: log1p values, added as what they are the
    logarithm of).
    """
    new = np.ones(len(rows.columns), dtype=bool)
    new[1:] = (rows.columns[1:] != rows.columns[:-1]) | (rows.cell[1:] != rows.cell[:-1])
    first = np.flatnonzero(new)
    if len(first) == len(new):
        return rows
    group = np.cumsum(new) - 1
    several = np.bincount(group) > 1
    values = np.array(rows.values)
    if as_logs:
        values[several[group]] = np.expm1(values[several[group]])
    values = np.bincount(group, weights=values)
    if as_logs:
        values[several] = np.log1p(values[several])
    running = np.concatenate([[0], np.cumsum(new, dtype=np.int64)])
    return tokens.Rows(rows.columns[first], values, running[rows.offsets])


def without_last_two(segments: Any) -> Any:
    """Return all tokens of each cell but the last two, as :class:`scfm.models.core.segments.Some`."""
    import torch

    from scfm.models.core.segments import Segments, Some

    inner = Segments([length - 2 for length in segments.lengths], segments.device)
    return Some(torch.arange(inner.total, device=segments.device) + 2 * inner.cell, inner)
