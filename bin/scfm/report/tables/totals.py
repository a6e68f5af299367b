"""Which of the totals of a run the report reads first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scfm.text import split_list

if TYPE_CHECKING:
    import pandas as pd


def weights_of(totals: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> list[float]:
    """Return the weights of bio that a table of totals has: those of ``total_weights`` in the order given, then the
    larger ones first.
    """
    known = sorted(totals["bio_weight"].dropna().unique(), reverse=True)
    wanted = [float(w) for w in split_list((params or {}).get("total_weights", ""))]
    return sorted(known, key=lambda w: wanted.index(w) if w in wanted else len(wanted))


def default_total(totals: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> "pd.DataFrame":
    """Return the raw total with the first of :func:`weights_of`: one row per embedding, with ``bio``, ``batch``,
    ``total``.
    """
    raw = totals[totals["scaling"] == "raw"]
    return raw[raw["bio_weight"].isin(weights_of(raw, params)[:1])].reset_index(drop=True)
