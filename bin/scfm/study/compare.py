"""Our numbers beside the published ones: differences, verdicts, and the order of the methods."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
from scfm.study.published import BATCH, BIO, MEANS, METRICS, Published

CORRECTIONS = ("raw", "center_l2")


#: the methods for which the specification states a tolerance and, in two scenarios, an order
CLASSICAL = ("pca", "harmony", "scanorama", "scvi")


#: bio and batch are means of metrics that have 0.03 each, so the same width follows for them
TOLERANCE = {**dict.fromkeys((*METRICS, "bio", "batch"), 0.03), "total": 0.02}


PROBING_TOLERANCE = 0.03


WITHIN, OUTSIDE, UNPUBLISHED, NOT_RUN = "within", "outside", "no published value", "not run"


SPECIFIED, INFORMATIVE = "specification", "informative"


_KEY = ["method", "correction"]


def compare(scenario: str, scores: "pd.DataFrame", published: Published) -> "pd.DataFrame":
    """Compare our scores of one data set with the published ones.

    Bio, batch and total are computed here from the study's five metrics per embedding (means; total one half each),
    since a run may score, and average, other metrics as well.

    Parameters
    ----------
    scenario
        Scenario of the data set.
    scores
        Rows of ``tables/scores.tsv`` of one data set; other corrections than ``raw`` and ``center_l2`` are left out.
    published
        Published numbers.

    Returns
    -------
    One row per method, correction and metric that ours or the published table has, in the published order, then ours:
    ``method, correction, metric, ours`` (mean over seeds), ``seeds, published, difference`` (ours - published, four
    decimals; NaN without both), ``tolerance, verdict`` (``within|outside|no published value|not run``), ``basis``
    (``specification|informative``).
    """
    theirs = published.scib[published.scib["scenario"] == scenario].rename(columns={"value": "published"})
    table = theirs[[*_KEY, "metric", "published"]].merge(
        our_scores(scores), how="outer", on=[*_KEY, "metric"], sort=False
    )
    table["tolerance"] = table["metric"].map(TOLERANCE).astype(float)
    table["difference"] = distance(table["ours"], table["published"], table["published"])
    table["verdict"] = judge(table)
    table["basis"] = [
        SPECIFIED if m in CLASSICAL and v == "raw" else INFORMATIVE
        for m, v in zip(table["method"], table["correction"], strict=True)
    ]
    columns = [*_KEY, "metric", "ours", "seeds", "published", "difference", "tolerance", "verdict", "basis"]
    return _in_order(table, published, [*METRICS, *MEANS])[columns]


def our_scores(scores: "pd.DataFrame") -> "pd.DataFrame":
    """Return ``method, correction, metric, ours, seeds``: the study's five metrics, bio, batch and total, means over
    seeds.

    A seed that lacks a metric lacks the means that need it; it counts for its other metrics.
    """
    chosen = scores[
        (scores["group"] == "all")
        & scores["metric"].isin(METRICS)
        & scores["correction"].isin(CORRECTIONS)
        & (scores["status"] == "ok")
    ]
    wide = (
        chosen.pivot_table(index=[*_KEY, "seed"], columns="metric", values="value")
        .reindex(columns=list(METRICS))
        .astype(float)
    )
    wide["bio"], wide["batch"] = (
        wide[list(BIO)].mean(axis=1, skipna=False),
        wide[list(BATCH)].mean(axis=1, skipna=False),
    )
    wide["total"] = 0.5 * wide["bio"] + 0.5 * wide["batch"]
    return _over_seeds(
        wide.reset_index().melt(id_vars=[*_KEY, "seed"], var_name="metric", value_name="ours"), [*_KEY, "metric"]
    )


def study_probe(probing: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows of ``tables/probing.tsv`` that the study has: logistic regression on random folds, means over
    folds, all classes.
    """
    return probing[
        (probing["scheme"] == "kfold")
        & (probing["classifier"] == "logistic")
        & (probing["fold"] == "mean")
        & (probing["group"] == "all")
        & (probing["status"] == "ok")
    ]


def compare_probing(scenario: str, probing: "pd.DataFrame", published: Published) -> "pd.DataFrame":
    """Compare our linear probing of one data set with what can be read from the study's plots.

    Compared are accuracy and macro-F1 of logistic regression over stratified folds, target label and batch. The
    tolerance is 0.03 plus the error of reading the plot; a value inside a published range has the difference 0.

    Parameters
    ----------
    scenario, published
        As in :func:`compare`.
    probing
        Rows of ``tables/probing.tsv`` of one data set.

    Returns
    -------
    As :func:`compare`, with ``target`` before ``metric`` and ``low, high, precision`` after ``published``. Only rows of
    ours that the study has an accuracy or macro-F1 of for *some* method are kept.
    """
    theirs = published.probing[published.probing["scenario"] == scenario].rename(columns={"value": "published"})
    chosen = study_probe(probing)
    chosen = chosen[chosen["correction"].isin(CORRECTIONS) & chosen["metric"].isin(["accuracy", "macro_f1"])].rename(
        columns={"value": "ours"}
    )
    key = [*_KEY, "target", "metric"]
    table = theirs[[*key, "published", "low", "high", "precision", "error"]].merge(
        _over_seeds(chosen, key), how="outer", on=key, sort=False
    )
    table = table.merge(
        theirs[["correction", "target", "metric"]].drop_duplicates(), on=["correction", "target", "metric"]
    )
    low, high = table["published"].fillna(table["low"]), table["published"].fillna(table["high"])
    table["tolerance"] = PROBING_TOLERANCE + table["error"]
    table["difference"] = distance(table["ours"], low, high)
    table["verdict"] = judge(table)
    columns = [
        *key,
        "ours",
        "seeds",
        "published",
        "low",
        "high",
        "precision",
        "difference",
        "tolerance",
        "verdict",
        "basis",
    ]
    return _in_order(table.assign(basis=INFORMATIVE), published, ["accuracy", "macro_f1"])[columns]


def distance(ours: "pd.Series", low: "pd.Series", high: "pd.Series") -> "np.ndarray":
    """Return how far our values lie above (positive) or below (negative) the range ``low`` to ``high``; 0 inside, NaN
    where unknown.

    Four decimals: the published values have two, and a difference of 0.03 must not miss its limit by a rounding of
    doubles.
    """
    import numpy as np

    x, a, b = (np.asarray(v, dtype=float) for v in (ours, low, high))
    gap = np.where(x > b, x - b, np.where(x < a, x - a, 0.0))
    return np.where(np.isnan(x + a + b), np.nan, np.round(gap, 4))


def judge(table: "pd.DataFrame") -> list[str]:
    """Return the verdict of every row from ``ours``, ``difference`` and ``tolerance``; the edge of the tolerance is
    within.
    """

    def one(ours: float, difference: float, tolerance: float) -> str:
        if math.isnan(difference):
            return NOT_RUN if math.isnan(ours) else UNPUBLISHED
        return WITHIN if abs(difference) <= round(tolerance, 4) else OUTSIDE

    return [one(o, d, t) for o, d, t in zip(table["ours"], table["difference"], table["tolerance"], strict=True)]


def _over_seeds(rows: "pd.DataFrame", key: list[str]) -> "pd.DataFrame":
    """Return the mean of ``ours`` over seeds and the number of seeds that have a value."""
    found = (
        rows.dropna(subset=["ours"])
        .groupby(key, as_index=False, sort=False)
        .agg(ours=("ours", "mean"), seeds=("seed", "nunique"))
    )
    return found.astype({"ours": float, "seeds": int})


def _in_order(table: "pd.DataFrame", published: Published, metrics: list[str]) -> "pd.DataFrame":
    """Sort: raw before centred, published methods in their order, then methods of ours by name."""
    known = {m: i for i, m in enumerate(dict.fromkeys(published.scib["method"]))}
    places = {
        "_correction": table["correction"].map(CORRECTIONS.index),
        "_method": table["method"].map(lambda m: known.get(m, len(known))),
        "_metric": table["metric"].map(metrics.index),
    }
    order = ["_correction", "_method", "method", *(["target"] if "target" in table else []), "_metric"]
    table = table.assign(**places, seeds=table["seeds"].fillna(0).astype(int))
    return table.sort_values(order, kind="stable").drop(columns=list(places)).reset_index(drop=True)
