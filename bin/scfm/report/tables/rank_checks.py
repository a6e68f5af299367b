"""Messages about whom ranks can name: batch metrics that disagree, and scores that are circular."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.registries.messages import message
from scfm.report.tables.names import Names
from scfm.text import ordinal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

#: W-MET-01: a method that is first by one batch metric and in this last share of the ranking by another
WORST_SHARE = 1 / 3
#: W-MET-01 needs this many embeddings, else every rank is extreme
MIN_RANKED = 3
#: W-MET-01: how far the two metrics must put the embedding above and below their medians (``--disagreement_gap``)
DISAGREEMENT_GAP = 0.2


def disagreeing_metrics(
    scores: "pd.DataFrame", metrics: "pd.DataFrame", names: Names, gap: float = DISAGREEMENT_GAP
) -> list[dict]:
    """W-MET-01: an embedding is first by one batch metric and in the worst third by another, by far in both.

    Ranked per data set among the embeddings that are no controls, over the mean of the seeds; ties share the better
    rank. Ranks alone disagree for every second method, because values lie close together: it is news only where one
    metric puts the embedding at least ``gap`` above the median of the embeddings and the other as much below it.
    """
    judged = metrics.loc[(metrics["group"] == "batch") & metrics["in_total"], "name"]
    chosen = scores[
        scores["metric"].isin(judged)
        & (scores["group"] == "all")
        & (scores["status"] == "ok")
        & (scores["family"] != "control")
        & ~scores["method"].isin(names.controls)
    ]
    found = []
    for dataset, rows in chosen.groupby("dataset", sort=True):
        signed = rows["value"].where(rows["higher_is_better"].astype(bool), -rows["value"])
        table = rows.assign(signed=signed).pivot_table(
            index=["method", "correction"], columns="metric", values="signed", aggfunc="mean"
        )
        table = table.dropna(axis="columns")
        count = len(table)
        if count < MIN_RANKED or table.shape[1] < 2:
            continue
        ranks = table.rank(ascending=False, method="min").astype(int)
        lead = table - table.median()
        for (method, correction), row in ranks.iterrows():
            ahead = lead.loc[(method, correction)].where(row == 1).dropna()
            behind = lead.loc[(method, correction)].where(row > count * (1 - WORST_SHARE)).dropna()
            if len(ahead) and len(behind) and min(ahead.max(), -behind.min()) >= gap:
                best, worst = ahead.idxmax(), behind.idxmin()
                found.append(
                    message(
                        "W-MET-01",
                        title=names.method(method, correction),
                        n_ranked=count,
                        best=names.metric(best),
                        rank=ordinal(row[worst]),
                        worst=names.metric(worst),
                        dataset=dataset,
                        method=method,
                        values={"correction": correction, "ranks": row.to_dict()},
                        threshold={"worst_share": WORST_SHARE, "gap": gap},
                    )
                )
    return found


def circular_scores(plan: "pd.DataFrame", names: Names, held_out: "Mapping[str, Mapping] | None" = None) -> list[dict]:
    """W-MET-03: a method or correction reads the labels that its result is scored by. Controls do so on purpose.

    Parameters
    ----------
    plan
        The plan of the run.
    names
        Who reads the labels, and which of them hold some out.
    held_out
        ``{data set: content of <dataset>.held_out.json}``: a method that was not given these labels is scored by them.
    """
    found = []
    rows = plan[~plan["is_control"]].drop_duplicates(["dataset", "method", "correction"])
    for row in rows.sort_values(["dataset", "method", "correction"]).itertuples():
        if not names.reads_labels(row.method, row.correction):
            continue
        cells = (held_out or {}).get(row.dataset)
        is_held_out = cells is not None and not names.with_held_out_labels().reads_labels(row.method, row.correction)
        numbers = {"n_held_out": cells["n_common"]} if cells is not None and is_held_out else {}
        found.append(
            message(
                "W-MET-03/held_out" if is_held_out else "W-MET-03",
                title=names.method(row.method, row.correction),
                dataset=row.dataset,
                method=row.method,
                values={"correction": row.correction} | numbers,
            )
        )
    return found
