"""The ends of the scale of every metric: controls, or numbers fixed in advance."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

#: a metric whose anchors are closer than this (in its own units) is not scaled
MIN_SPAN = 0.1
#: reason code of such a metric
TOO_CLOSE = "anchors_too_close"
COLUMNS = ["dataset", "metric", "low", "high", "reason"]


def find_anchors(scores: "pd.DataFrame", metrics: "pd.DataFrame", min_span: float = MIN_SPAN) -> "pd.DataFrame":
    """Return the anchors of every metric in every data set.

    Parameters
    ----------
    scores
        Rows of ``scores.tsv``.
    metrics
        The metrics to scale, indexed by name, with the columns ``anchor_low`` and ``anchor_high`` of
        ``assets/metrics.tsv``.
    min_span
        Smallest distance between the anchors.

    Returns
    -------
    ``COLUMNS``: a row per data set and metric. ``reason`` is empty, ``no_anchor_<controls>`` or ``anchors_too_close``.
    """
    import pandas as pd

    rows = []
    for dataset, part in scores[scores["group"] == "all"].groupby("dataset", sort=True):
        for metric, row in metrics.iterrows():
            low, high = (_anchor(str(row[c]), str(metric), part) for c in ("anchor_low", "anchor_high"))
            absent = [str(row[c]) for c, v in (("anchor_low", low), ("anchor_high", high)) if v is None]
            reason = f"no_anchor_{'_'.join(absent)}" if absent else ""
            if low is not None and high is not None and high - low < min_span:
                reason = TOO_CLOSE
            rows.append({"dataset": dataset, "metric": metric, "low": low, "high": high, "reason": reason})
    return pd.DataFrame(rows, columns=COLUMNS).astype({"low": float, "high": float})


def _anchor(text: str, metric: str, part: "pd.DataFrame") -> float | None:
    """Return an anchor's value: the number itself, or the control's mean over seeds; None where it has none."""
    try:
        return float(text)
    except ValueError:
        found = part[
            (part["method"] == text)
            & (part["family"] == "control")
            & (part["correction"] == "raw")
            & (part["metric"] == metric)
        ]
        known = found.loc[found["status"] == "ok", "value"].dropna()
        return float(known.mean()) if len(known) else None


def scaled_values(scores: "pd.DataFrame", anchors: "pd.DataFrame") -> "pd.Series":
    """Return (value - low) / (high - low) of the rows of all cells, not capped; NaN where there are no usable anchors.

    Parameters
    ----------
    scores
        Rows of ``scores.tsv``.
    anchors
        Those of :func:`find_anchors`.

    Returns
    -------
    A value per row of ``scores``, with its index.
    """
    usable = anchors[anchors["reason"] == ""]
    rows = scores.reset_index().merge(usable, how="left", on=["dataset", "metric"]).set_index("index")
    scaled = (rows["value"] - rows["low"]) / (rows["high"] - rows["low"])
    return scaled.where(rows["group"] == "all").astype(float)
