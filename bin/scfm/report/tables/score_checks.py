"""Messages about scores that would mislead: scales without meaning, one batch, copies, unit length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from scfm.metrics.anchors import TOO_CLOSE
from scfm.metrics.fingerprint import difference
from scfm.registries.messages import message
from scfm.report.tables.names import Names

if TYPE_CHECKING:
    import pandas as pd

#: embeddings whose distances differ by less than this share are copies, rotations or rescalings of each other
SAME_SHAPE = 0.01
#: kBET of the uncorrected PCA from which on there is little to correct
MIXED_KBET = 0.8
#: share of a correction's gain that unit length alone may give without a word
UNIT_LENGTH_SHARE = 0.5
#: reasons of a batch metric without a value that only cells of several batches have
_SEVERAL_BATCHES = frozenset({"label_in_one_batch", "no_batch_effect"})


def datasets_of_one_batch(scores: "pd.DataFrame") -> list[str]:
    """Return the data sets of which all scored cells are of one batch, sorted.

    An embedding that has the cells of a single batch only lacks batch metrics by itself: another one has a value, or
    a label in several batches.

    Parameters
    ----------
    scores
        Rows of ``scores.tsv`` with the primary keys.
    """
    rows = scores[scores["group"] == "all"]
    lacking = rows.loc[rows["reason"] == "one_batch", ["dataset", "metric"]].drop_duplicates()
    others = rows.merge(lacking, on=["dataset", "metric"])
    others = others[(others["status"] == "ok") | others["reason"].isin(_SEVERAL_BATCHES)]
    return sorted(set(lacking["dataset"]) - set(others["dataset"]))


def one_batch(scores: "pd.DataFrame") -> list[dict[str, Any]]:
    """W-MET-04: all scored cells of a data set are of one batch."""
    return [message("W-MET-04", dataset=dataset) for dataset in datasets_of_one_batch(scores)]


def close_anchors(anchors: "pd.DataFrame", names: Names, min_span: float) -> list[dict[str, Any]]:
    """W-MET-05: metrics that are left out of the scaled totals because their anchors are too close."""
    found = []
    for dataset, part in anchors[anchors["reason"] == TOO_CLOSE].groupby("dataset", sort=True):
        shown = [f"{names.metric(r.metric)} ({r.low:.2f} to {r.high:.2f})" for r in part.itertuples()]
        found.append(
            message(
                "W-MET-05",
                shown=", ".join(shown),
                dataset=dataset,
                values={r.metric: r.high - r.low for r in part.itertuples()},
                threshold=min_span,
            )
        )
    return found


def not_ranked(totals: "pd.DataFrame", names: Names, min_coverage: float) -> list[dict[str, Any]]:
    """W-RANK-01: embeddings with too few of the scored cells to be ranked."""
    rows = totals[totals["rank_reason"] == "incomplete"].drop_duplicates(["dataset", "embedding"])
    return [
        message(
            "W-RANK-01",
            title=names.method(r.method, r.correction),
            dataset=r.dataset,
            method=r.method,
            embedding=r.embedding,
            values={"coverage": r.coverage},
            threshold=min_coverage,
        )
        for r in rows.itertuples()
    ]


def same_embeddings(statuses: Iterable[Mapping[str, Any]], plan: "pd.DataFrame", names: Names) -> list[dict[str, Any]]:
    """W-SAME-01: a method or correction changed nothing. W-SAME-02: an embedding is a copy or rotation of another."""
    marks = {
        (s["dataset"], s["embedding"]): s["fingerprint"]
        for s in statuses
        if s.get("step") == "score" and s.get("fingerprint")
    }
    found = []
    for dataset, rows in plan[~plan["is_control"]].groupby("dataset", sort=True):
        seen = [r for r in rows.itertuples() if (dataset, r.embedding) in marks]
        raw = sorted((r for r in seen if r.correction == "raw"), key=lambda r: (r.method != "pca", r.embedding))
        pairs = [(a, b) for i, b in enumerate(raw) for a in raw[:i] if a.method != b.method]
        pairs += [
            (a, b) for b in seen for a in raw if b.correction != "raw" and (a.method, a.seed) == (b.method, b.seed)
        ]
        told: set[str] = set()
        for first, second in pairs:
            gap = difference(marks[dataset, second.embedding], marks[dataset, first.embedding])
            if gap is not None and gap < SAME_SHAPE and second.embedding not in told:
                told.add(second.embedding)
                found.append(_same(first, second, gap, names))
    return found


def _same(first: Any, second: Any, gap: float, names: Names) -> dict[str, Any]:
    """Return the message about two embeddings of the same shape."""
    idle = first.method == "pca" or second.correction != "raw"
    return message(
        "W-SAME-01" if idle else "W-SAME-02",
        title=names.method(second.method, second.correction),
        other=names.method(first.method, first.correction),
        dataset=second.dataset,
        method=second.method,
        embedding=second.embedding,
        values={"same_as": first.embedding, "difference": gap},
        threshold=SAME_SHAPE,
    )


def little_batch_effect(scores: "pd.DataFrame") -> list[dict[str, Any]]:
    """W-MET-06: the batches are mixed before any correction, by kBET or by PCR."""
    rows = scores[(scores["method"] == "pca") & (scores["correction"] == "raw") & (scores["group"] == "all")]
    found = []
    for dataset, part in rows.groupby("dataset", sort=True):
        values = part.set_index("metric")
        signs = []
        if "kbet" in values.index and values.loc["kbet", "value"] >= MIXED_KBET:
            signs.append(f"kBET is {values.loc['kbet', 'value']:.2f} (limit {MIXED_KBET})")
        if "pcr_comparison" in values.index and values.loc["pcr_comparison", "reason"] == "no_batch_effect":
            signs.append("batch explains no more variance than groups drawn at random would")
        if signs:
            found.append(
                message(
                    "W-MET-06",
                    shown=" and ".join(signs),
                    dataset=dataset,
                    values={"signs": signs},
                    threshold=MIXED_KBET,
                )
            )
    return found


def unit_length_gains(totals: "pd.DataFrame", names: Names, tolerance: float) -> list[dict[str, Any]]:
    """W-COR-01: scaling cells to unit length (``l2``) gives much of what ``center_l2`` gains, without any centring."""
    known = totals.dropna(subset=["total"])
    rows = known.pivot_table(index=["dataset", "method"], columns="correction", values="total", aggfunc="mean")
    if not {"raw", "l2", "center_l2"} <= set(rows.columns):
        return []
    gains = rows[["l2", "center_l2"]].sub(rows["raw"], axis=0)
    told = gains[(gains["center_l2"] > tolerance) & (gains["l2"] >= UNIT_LENGTH_SHARE * gains["center_l2"])]
    found = []
    for dataset, part in told.groupby("dataset", sort=True):
        shown = [
            f"{names.method(m)} ({r.l2:+.3f} of {r.center_l2:+.3f})" for m, r in part.droplevel("dataset").iterrows()
        ]
        found.append(
            message(
                "W-COR-01",
                n_methods=len(part),
                shown=", ".join(shown),
                dataset=dataset,
                values=part.droplevel("dataset").to_dict("index"),
                threshold=UNIT_LENGTH_SHARE,
            )
        )
    return found
