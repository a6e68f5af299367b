"""What the study's figures are made of: one row per method and correction, its metrics, and totals of equal halves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scfm.report.tables.totals import default_total, weights_of
from scfm.study.compare import study_probe

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from scfm.report.view.data import ReportData

#: weight of bio in the study's total; its first version had 0.6
BIO_WEIGHT, OTHER_WEIGHT = 0.5, 0.6
#: the study's correction: batch means subtracted, then length 1
CENTRED = "center_l2"
RAW = "raw"


def counted_metrics(data: "ReportData", dataset: str) -> list[dict]:
    """Return the metrics that make up the totals of a data set (rows of ``metrics.tsv``), bio ones first, in the order
    of the table.
    """
    profile = str(data.params.get("metrics_profile", "standard"))
    scores = data.of("scores", dataset)
    known = set(scores.loc[(scores["group"] == "all") & (scores["status"] == "ok"), "metric"])
    chosen = [
        m
        for m in data.metrics.to_dict("records")
        if m["in_total"] and m["name"] in known and profile in [p.strip() for p in m["profile"].split(",")]
    ]
    return sorted(chosen, key=lambda m: m["group"] != "bio")


def first_weight(data: "ReportData", dataset: str) -> float:
    """Return the weight of bio in the total that orders the report, 0 to 1."""
    return next(iter(weights_of(data.of("totals", dataset), data.params)), BIO_WEIGHT)


def study_table(data: "ReportData", dataset: str) -> "pd.DataFrame":
    """Return one row per method and correction, without controls, best total first.

    Returns
    -------
    Columns ``method, correction, family, title``, one per counted metric, ``bio``, ``batch``, ``total`` (equal halves)
    and ``total_other`` (0.6 bio), ``rank_bio``, ``rank_batch`` and ``rank_total`` (the first total of the run on common
    cells, NaN where it is not ranked); means over seeds, NaN where there is none; ``total_sd``, the standard deviation
    of ``rank_total`` over seeds, NaN with one. Rows without any of them are left out.
    """
    import pandas as pd

    key = ["method", "correction"]
    plan = data.plan[(data.plan["dataset"] == dataset) & ~data.plan["is_control"]]
    table = plan.drop_duplicates(key)[[*key, "family"]]
    names = [m["name"] for m in counted_metrics(data, dataset)]
    scores = data.of("scores", dataset)
    scores = scores[(scores["group"] == "all") & scores["metric"].isin(names)]
    values = scores.pivot_table(index=key, columns="metric", values="value", aggfunc="mean").reindex(columns=names)
    weight = first_weight(data, dataset)
    seeds = default_total(data.of("totals", dataset), data.params)
    seeds = seeds.assign(total_sd=weight * seeds["rank_bio"] + (1 - weight) * seeds["rank_batch"])
    means = seeds.groupby(key)[["bio", "batch", "rank_bio", "rank_batch"]].mean()
    means = means.join(seeds.groupby(key)["total_sd"].std())
    table = table.merge(values, how="left", on=key).merge(means, how="left", on=key)
    columns = [*names, "bio", "batch", "rank_bio", "rank_batch", "total_sd"]
    table[columns] = table[columns].apply(pd.to_numeric).astype(float)
    table["total"] = BIO_WEIGHT * table["bio"] + (1 - BIO_WEIGHT) * table["batch"]
    table["rank_total"] = weight * table["rank_bio"] + (1 - weight) * table["rank_batch"]
    table["total_other"] = OTHER_WEIGHT * table["bio"] + (1 - OTHER_WEIGHT) * table["batch"]
    table["title"] = [data.title(dataset, m, v) for m, v in zip(table["method"], table["correction"], strict=True)]
    table = table[table[columns].notna().any(axis=1)]
    return table.sort_values(
        ["total", "title"], ascending=[False, True], na_position="last", kind="stable", ignore_index=True
    )


def ranks(totals: "pd.Series") -> "pd.Series":
    """Return ranks, 1 for the highest; equal totals (to 9 decimals) share the better rank; NaN stays NaN."""
    return totals.round(9).rank(ascending=False, method="min")


def ranks_without(table: "pd.DataFrame", metrics: Sequence[dict], bio_weight: float = BIO_WEIGHT) -> "pd.DataFrame":
    """Return the ranks by total over all metrics and with each metric left out, every method on the same metrics.

    Parameters
    ----------
    table
        Rows of :func:`study_table` that are ranked with each other.
    metrics
        Those of :func:`counted_metrics`.
    bio_weight
        Weight of bio in the total, 0 to 1.

    Returns
    -------
    Column ``all`` and one per metric that can be left out (one of its group must stay); rows as in ``table``.
    """
    import pandas as pd

    def total(left: Sequence[dict]) -> "pd.Series":
        halves = [
            table[[m["name"] for m in left if m["group"] == g]].mean(axis=1, skipna=False) for g in ("bio", "batch")
        ]
        return bio_weight * halves[0] + (1 - bio_weight) * halves[1]

    groups = [m["group"] for m in metrics]
    found = {"all": ranks(total(metrics))}
    for metric in metrics:
        if groups.count(metric["group"]) > 1:
            found[metric["name"]] = ranks(total([m for m in metrics if m is not metric]))
    return pd.DataFrame(found, index=table.index)


def paired(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the methods that have a raw and a centred row: columns of both with the endings ``_raw`` and
    ``_centred``.
    """
    raw, centred = table[table["correction"] == RAW], table[table["correction"] == CENTRED]
    both = raw.merge(
        centred.drop(columns=["family", "correction", "title"]), on="method", suffixes=("_raw", "_centred")
    )
    return both.drop(columns="correction")


def probing_values(data: "ReportData", dataset: str) -> "pd.DataFrame":
    """Return the study's probe: logistic regression on random folds, means over folds and seeds.

    Returns
    -------
    Columns ``method, correction, target, metric, value, baseline_majority, baseline_permuted``, controls left out.
    """
    rows = study_probe(data.of("probing", dataset))
    rows = rows[~rows["method"].isin(data.names.controls)]
    return rows.groupby(["method", "correction", "target", "metric"], as_index=False)[
        ["value", "baseline_majority", "baseline_permuted"]
    ].mean()


def pearson(x: "Sequence[float] | np.ndarray", y: "Sequence[float] | np.ndarray") -> tuple[float, float]:
    """Return Pearson's r and its two-sided p under independent normal values; NaN for fewer than 3 points or no
    spread.
    """
    import numpy as np
    from scipy.stats import pearsonr

    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan")
    found = pearsonr(x, y)
    return float(found.statistic), float(found.pvalue)
