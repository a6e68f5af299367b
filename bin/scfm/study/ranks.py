"""Whether the methods are in the published order: rank agreement, its p value, the orders that the study requires."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
from scfm.study.compare import CLASSICAL

ORDER_REQUIRED = ("HLCA_sn", "limb")


@dataclass(frozen=True, slots=True)
class OrderVerdict:
    """Whether the classical methods are in the published order of totals.

    Attributes
    ----------
    required
        Whether the specification asks for it in this scenario.
    ours, published
        Methods, best total first; those with both totals only.
    missing
        Classical methods without a total of ours.
    swapped
        Pairs in another order than published: ``(better as published, other, published gap, our gap)``; the published
        gap is positive, ours zero or negative. Methods that tie as published may be in either order.
    """

    required: bool
    ours: tuple[str, ...]
    published: tuple[str, ...]
    missing: tuple[str, ...]
    swapped: tuple[tuple[str, str, float, float], ...]

    @property
    def verdict(self) -> str:
        """``differs`` where a pair is swapped, else ``incomplete`` where a method is missing, else ``matches``."""
        return "differs" if self.swapped else "incomplete" if self.missing else "matches"


def rank_agreement(comparison: "pd.DataFrame") -> "pd.DataFrame":
    """Return Kendall's tau-b of ours against published, per score: over uncorrected embeddings, and over these and the
    centred ones.

    Returns
    -------
    ``(target,) metric, rows`` (``raw`` or ``raw and center_l2``), ``n`` (embeddings with both values), ``tau`` (-1 to
    1, higher is better agreement), ``p`` (two-sided; exact without ties, else the normal approximation). tau and p are
    NaN for n < 2 and where all values of one side are equal. ``raw and center_l2`` is there only where a centred
    embedding has both values.
    """
    import pandas as pd
    from scipy.stats import kendalltau

    key = [c for c in ("target", "metric") if c in comparison.columns]
    known = comparison.dropna(subset=["ours", "published"])
    rows = []
    for names, part in comparison.groupby(key, sort=False):
        both = known.loc[known.index.intersection(part.index)]
        raw = both[both["correction"] == "raw"]
        for label, chosen in (("raw", raw), ("raw and center_l2", both)):
            if label == "raw" or len(both) > len(raw):
                tau, p = (
                    kendalltau(chosen["ours"].round(6), chosen["published"])
                    if len(chosen) > 1
                    else (math.nan, math.nan)
                )
                rows.append(
                    {
                        **dict(zip(key, names, strict=True)),
                        "rows": label,
                        "n": len(chosen),
                        "tau": float(tau),
                        "p": float(p),
                    }
                )
    return pd.DataFrame(rows, columns=[*key, "rows", "n", "tau", "p"])


def smallest_p(n: int) -> float:
    """Return the two-sided p value of perfect agreement of ``n`` ranks without ties, 2 / n!: no order can have a
    smaller one.

    Examples
    --------
    >>> round(smallest_p(4), 3)
    0.083
    """
    return min(1.0, 2 / math.factorial(n))


def rank_verdict(comparison: "pd.DataFrame", scenario: str) -> OrderVerdict:
    """Return whether PCA, Harmony, Scanorama and scVI are in the published order of totals."""
    totals = comparison[
        (comparison["metric"] == "total") & (comparison["correction"] == "raw") & comparison["method"].isin(CLASSICAL)
    ]
    known = totals.dropna(subset=["ours", "published"]).set_index("method")[["ours", "published"]]

    def order(first: str, second: str) -> tuple[str, ...]:
        return tuple(known.sort_values([first, second], ascending=False, kind="stable").index)

    published = order("published", "ours")
    pairs = ((a, b, known.loc[a] - known.loc[b]) for a, b in combinations(published, 2))
    swapped = tuple(
        (a, b, round(float(gap["published"]), 4), round(float(gap["ours"]), 4))
        for a, b, gap in pairs
        if gap["published"] > 0 and gap["ours"] <= 0
    )
    return OrderVerdict(
        scenario in ORDER_REQUIRED,
        order("ours", "published"),
        published,
        tuple(m for m in CLASSICAL if m not in known.index),
        swapped,
    )
