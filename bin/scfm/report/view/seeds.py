"""How stable ranks are over the seeds of stochastic methods."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

#: fewer seeds than this and no spread is worth a number
MIN_SEEDS = 3


@dataclass(frozen=True)
class Stability:
    """Ranks over seeds.

    Attributes
    ----------
    ranks
        Ranks by total, index (method, correction), a column per seed; 1 is the highest total, ties share the better
        rank. A method that is not stochastic has the same total with every seed.
    totals
        The totals behind them.
    stochastic
        Methods and corrections with more than one seed of their own.
    agreement
        Mean Kendall's tau-b between the orders of two seeds, -1 to 1 (1: the same order); None with fewer than two
        embeddings or seeds.
    """

    ranks: "pd.DataFrame"
    totals: "pd.DataFrame"
    stochastic: tuple[tuple[str, str], ...]
    agreement: float | None


def rank_stability(totals: "pd.DataFrame") -> Stability:
    """Return the ranks of every seed.

    Parameters
    ----------
    totals
        One row per embedding that is ranked: ``method, correction, seed, total``, no missing totals.
    """
    from itertools import combinations

    table = totals.pivot_table(index=["method", "correction"], columns="seed", values="total")
    counts = table.notna().sum(axis=1)
    stochastic = tuple(table.index[counts > 1])
    # a method that ran once has no other total with another seed; one that failed with a seed has none
    once = counts == 1
    table.loc[once] = table[once].bfill(axis=1).ffill(axis=1)
    ranks = table.rank(ascending=False, method="min")
    pairs = [both for a, b in combinations(table.columns, 2) if len(both := table[[a, b]].dropna()) > 1]
    known = [tau for both in pairs if not math.isnan(tau := _kendall(both))]
    return Stability(ranks, table, stochastic, sum(known) / len(known) if known else None)


def _kendall(pair: "pd.DataFrame") -> float:
    """Return Kendall's tau-b of two columns; NaN where one of them is constant."""
    from scipy.stats import kendalltau

    first, second = (pair[column] for column in pair.columns)
    return float(kendalltau(first, second).statistic)
