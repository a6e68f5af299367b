"""Which of the totals of a run the report reads first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scfm.metrics.anchors import MIN_SPAN
from scfm.metrics.ranking import MIN_COVERAGE
from scfm.text import split_list

if TYPE_CHECKING:
    import pandas as pd


#: totals closer than this (raw, 0 to 1) are a tie until there are intervals
TIE_TOLERANCE = 0.02


@dataclass(frozen=True)
class Limits:
    """The parameters of a run that totals, ranks and verdicts depend on.

    Attributes
    ----------
    profile
        Profile of metrics.
    bio_weights
        Weights of bio in the totals.
    min_span
        ``--min_anchor_span``: anchors closer than this carry no scale.
    min_coverage
        ``--min_rank_coverage``: share of the scored cells below which an embedding is not ranked.
    tie
        ``--tie_tolerance``: differences up to this are called no difference.
    """

    profile: str = "standard"
    bio_weights: tuple[float, ...] = (0.6, 0.5)
    min_span: float = MIN_SPAN
    min_coverage: float = MIN_COVERAGE
    tie: float = TIE_TOLERANCE

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> "Limits":
        """Take them from the parameters of a run; what is not given has its default."""
        return cls(
            profile=params.get("metrics_profile", cls.profile),
            bio_weights=tuple(dict.fromkeys(float(w) for w in split_list(params.get("total_weights", "0.6,0.5")))),
            min_span=float(params.get("min_anchor_span", cls.min_span)),
            min_coverage=float(params.get("min_rank_coverage", cls.min_coverage)),
            tie=float(params.get("tie_tolerance", cls.tie)),
        )


def tolerance(tie: float, *spreads: float) -> float:
    """Return the difference of a score that is called none: ``tie``, or the largest of some standard deviations over
    seeds where that is more. One that is NaN, as with one seed, does not count.

    Examples
    --------
    >>> tolerance(0.02, 0.01, float("nan")), tolerance(0.02, 0.05)
    (0.02, 0.05)
    """
    return max([tie, *(float(spread) for spread in spreads if not math.isnan(spread))])


def weights_of(totals: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> list[float]:
    """Return the weights of bio that a table of totals has: those of ``total_weights`` in the order given, then the
    larger ones first.
    """
    known = sorted(totals["bio_weight"].dropna().unique(), reverse=True)
    wanted = [float(w) for w in split_list((params or {}).get("total_weights", ""))]
    return sorted(known, key=lambda w: wanted.index(w) if w in wanted else len(wanted))


def weight_text(bio_weight: float) -> str:
    """Return the weights of bio and batch in a total.

    Examples
    --------
    >>> weight_text(0.6)
    '0.6/0.4'
    """
    return f"{bio_weight:g}/{round(1 - bio_weight, 4):g}"


def default_total(totals: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> "pd.DataFrame":
    """Return the raw total with the first of :func:`weights_of`: one row per embedding, with ``bio``, ``batch``,
    ``total``.
    """
    raw = totals[totals["scaling"] == "raw"]
    return raw[raw["bio_weight"].isin(weights_of(raw, params)[:1])].reset_index(drop=True)
