"""What the report shows of the tables: means over seeds, the order of rows, the front of the trade-off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scfm.report.tables.sweep_rules import pareto_front
from scfm.report.tables.totals import Limits, default_total, weight_text, weights_of

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: controls without any relation to the labels: their bio mean is the floor
FLOOR_CONTROLS = ("shuffled", "random")
_SCORES = ("bio", "batch", "total")
_RANKED = ("coverage", "rank_bio", "rank_batch", "rank_total")
#: reason code that all missing metrics have -> what it means for the total
_NO_TOTAL = {
    "graph_output": "a graph: no total",
    "labels_seen": "learns from labels: ranked on held-out cells",
}
_SCALINGS = {"raw": "Total", "controls": "Scaled"}


def total_columns(totals: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the totals that a run has, raw ones first: ``{column of summarise: title}``."""
    known = totals[totals["total"].notna()]
    weights = weights_of(known, params)
    return {
        _column(scaling, weight): f"{words} {weight_text(weight)}"
        for scaling, words in _SCALINGS.items()
        if (known["scaling"] == scaling).any()
        for weight in weights
    }


def _column(scaling: str, weight: float) -> str:
    return f"total_{scaling}_{weight:g}" if scaling == "raw" else f"total_scaled_{weight:g}"


def summarise(data: "ReportData", dataset: str) -> "pd.DataFrame":
    """Return one row per planned method and correction: means over seeds, best total first, controls last.

    Returns
    -------
    Columns ``title, method, correction, family, is_control, n_seeds, bio, batch, total``, their standard deviations
    over seeds (``bio_sd`` …, NaN with one), those of :func:`total_columns`, ``coverage, rank_bio, rank_batch,
    rank_total`` (NaN where it is not ranked), ``at_floor`` (bio no better than that of shuffled labels),
    ``reads_labels`` (its label metrics are circular), ``front`` (on the Pareto front of the ranked that are neither of
    these) and ``outcome`` (``ok``, the steps that failed, or why it was not run or not ranked). Numbers are NaN where
    an embedding has no scores.
    """
    return data.remembered("summary", dataset, lambda: _summarise(data, dataset)).copy()


def _summarise(data: "ReportData", dataset: str) -> "pd.DataFrame":
    """Make the table of :func:`summarise`."""
    import pandas as pd

    key = ["method", "correction"]
    plan = data.plan[data.plan["dataset"] == dataset]
    table = plan.groupby(key, as_index=False).agg(
        family=("family", "first"), is_control=("is_control", "first"), n_seeds=("seed", "nunique")
    )
    totals = data.of("totals", dataset)
    first = default_total(totals, data.params).groupby(key)
    for column in (*_SCORES, *_RANKED):
        table = table.merge(first[column].mean().rename(column), how="left", on=key)
    for column in _SCORES:
        table = table.merge(first[column].std().rename(f"{column}_sd"), how="left", on=key)
    for column in total_columns(data.totals, data.params):
        scaling, weight = column.removeprefix("total_").split("_")
        rows = totals[
            (totals["scaling"] == {"raw": "raw"}.get(scaling, "controls"))
            & (totals["bio_weight"].map("{:g}".format) == weight)
        ]
        table = table.merge(rows.groupby(key)["total"].mean().rename(column), how="left", on=key)
    numbers = [*_SCORES, *(f"{column}_sd" for column in _SCORES), *_RANKED]
    table[numbers] = table[numbers].apply(pd.to_numeric)
    table["title"] = [data.title(dataset, m, v) for m, v in zip(table["method"], table["correction"], strict=True)]
    failed = (
        data.of("status", dataset)
        .query("status == 'failed'")
        .groupby(key)["step"]
        .agg(lambda s: "failed: " + ", ".join(sorted(set(s))))
    )
    gone = default_total(totals, data.params).query("status != 'ok'").groupby(key)["reason"].first().map(_why_no_total)
    idle = plan[plan["status"] == "not_applicable"].groupby(key)["reason_code"].first().map("not run: {}".format)
    table["outcome"] = [
        _outcome(r, failed.to_dict() | idle.to_dict(), gone.to_dict()) for r in table.to_dict("records")
    ]
    table["reads_labels"] = [
        data.names.reads_labels(m, v) for m, v in zip(table["method"], table["correction"], strict=True)
    ]
    limits = Limits.of(data.params)
    table["outcome"] = table["outcome"].mask(
        (table["outcome"] == "ok") & (table["coverage"] < limits.min_coverage), "incomplete: not ranked"
    )
    table["at_floor"] = at_floor(table, data.of("scores", dataset), limits.tie)
    shown = table[~table["is_control"] & ~table["at_floor"] & ~table["reads_labels"]]
    table["front"] = pareto_front(shown["rank_bio"], shown["rank_batch"]).reindex(table.index, fill_value=False)
    order = table.assign(missing=table["total"].isna(), low=-table["total"].fillna(0))
    return table.loc[order.sort_values(["is_control", "missing", "low", "title"], kind="stable").index].reset_index(
        drop=True
    )


def at_floor(table: "pd.DataFrame", scores: "pd.DataFrame", tolerance: float) -> "pd.Series":
    """Return which rows keep the labels no better than chance does.

    The floor is the bio mean of the controls that have no relation to the labels; without them it is an adjusted Rand
    index of 0 (Leiden and k-means, whichever were computed).

    Parameters
    ----------
    table
        Rows with ``method, correction, is_control, bio``.
    scores
        Scores of the data set.
    tolerance
        What is no difference.
    """
    import pandas as pd

    floor = table.loc[table["is_control"] & table["method"].isin(FLOOR_CONTROLS), "bio"].max()
    if not math.isnan(floor):
        return table["bio"] <= floor + tolerance
    ari = scores[(scores["group"] == "all") & scores["metric"].isin(["leiden_ari", "kmeans_ari"])]
    best = ari.groupby(["method", "correction"])["value"].max()
    keys = pd.MultiIndex.from_frame(table[["method", "correction"]])
    return pd.Series((best.reindex(keys) <= tolerance).to_numpy(), index=table.index)


def _outcome(row: dict, failed: dict[tuple[str, str], str], gone: dict[tuple[str, str], str]) -> str:
    """Return what became of a method: what failed, why it has no total, ``no scores``, or ``ok``."""
    key = (row["method"], row["correction"])
    scored = not (math.isnan(row["bio"]) and math.isnan(row["batch"]))
    return failed.get(key) or gone.get(key) or ("ok" if scored else "no scores")


def _why_no_total(reason: str) -> str:
    """Return in short why an embedding has no total, from the reason in ``totals.tsv``."""
    if reason == "batch_is_biology":
        return "no total: the batch is declared biological"
    metrics, codes = zip(
        *(part.split(":", 1) if ":" in part else (part, part) for part in reason.split(",")), strict=True
    )
    if len(set(codes)) == 1 and codes[0] in _NO_TOTAL:
        return _NO_TOTAL[codes[0]]
    return f"no total: {metrics[0]}" + (f" and {len(metrics) - 1} more" if len(metrics) > 1 else "")
