"""From metrics to totals: a mean of bio metrics, a mean of batch metrics, and their weighted sum.

Raw totals use the metrics as they are. Totals scaled between controls first map every metric so that 0 and 1 mean the
same for all: the anchors (columns ``anchor_low`` and ``anchor_high`` of ``assets/metrics.tsv``) are controls or numbers
fixed in advance, never the best and worst of whoever is in the table, so adding a method changes no other method's
number. Scaled values are not clipped: below 0 or above 1 is information.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.inputs.keys import PAIR_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

IDENTITY = ["dataset", "embedding", "method", "family", "correction", "seed", *PAIR_COLUMNS]
COLUMNS = [
    *IDENTITY,
    "profile",
    "bio_weight",
    "scaling",
    "bio",
    "batch",
    "total",
    "n_bio",
    "n_batch",
    "missing",
    "status",
    "reason",
]
GROUPS = ("bio", "batch")
#: a metric that is undefined for one of these reasons everywhere is undefined for the data set, not for an embedding
DATASET_REASONS = frozenset(
    {"one_batch", "one_label", "label_in_one_batch", "too_few_cells", "too_few_neighbors", "no_batch_effect"}
)
#: anchors closer than this can't carry a scale
_MIN_SPAN = 1e-6


def compute_totals(
    scores: "pd.DataFrame",
    metrics: "pd.DataFrame",
    bio_weights: Sequence[float] = (0.6, 0.5),
    profile: str = "standard",
    primary: Mapping[str, tuple[str, str]] | None = None,
) -> "pd.DataFrame":
    """Return the totals of all embeddings.

    Parameters
    ----------
    scores
        Rows of ``scores.tsv`` of any number of data sets and embeddings.
    metrics
        ``assets/metrics.tsv`` as a frame; ``in_total`` is boolean, ``profile`` text.
    bio_weights
        Weights of the bio mean; the batch mean has the rest. 0.6 is scIB's, 0.5 the study's.
    profile
        Profile of the run: its metrics with ``in_total`` count, no others.
    primary
        Primary batch key and label key per data set. Controls are made with these keys, so totals of other keys are
        not scaled: NA with the reason ``controls_use_primary_keys``. Without it every pair of keys is a primary one.

    Returns
    -------
    One row per embedding, pair of keys, weight and scaling (``raw``, ``controls``), ``COLUMNS``. ``bio``, ``batch``,
    ``total``: higher is better; raw ones lie in 0 to 1 (ARI may be slightly negative). ``missing`` lists metrics
    without a value. A metric that is not defined for the whole data set is left out for all; one that only this
    embedding lacks makes its mean and total NA, with a reason: a mean over fewer metrics than the others' is not
    comparable.

    Raises
    ------
    ScfmError
        A weight outside 0 to 1.
    """
    import pandas as pd

    wrong = [w for w in bio_weights if not 0 <= w <= 1]
    if wrong:
        raise ScfmError(f"Weights of the bio mean must lie between 0 and 1; got {', '.join(map(str, wrong))}.")
    chosen = metrics[metrics["in_total"].astype(bool) & metrics["profile"].map(lambda p: profile in _names(p))]
    chosen = chosen.set_index("name")
    whole = scores[(scores["group"] == "all") & scores["metric"].isin(chosen.index)]
    rows = []
    for (dataset, *pair), part in whole.groupby(["dataset", *PAIR_COLUMNS], sort=True):
        is_primary = primary is None or tuple(pair) == tuple(primary.get(dataset, pair))
        rows += _totals_of_pair(part, chosen, bio_weights, profile, is_primary=is_primary)
    return pd.DataFrame(rows, columns=COLUMNS)


def _names(profile: "str | Sequence[str]") -> list[str]:
    """Return the profiles of a metric, from the text of the table or a list."""
    return [p.strip() for p in profile.split(",")] if isinstance(profile, str) else list(profile)


def _totals_of_pair(
    part: "pd.DataFrame", chosen: "pd.DataFrame", bio_weights: Sequence[float], profile: str, *, is_primary: bool
) -> "list[dict]":
    """Return the rows of one data set with one pair of keys."""
    embeddings = part.drop_duplicates("embedding")[IDENTITY].set_index("embedding", drop=False)
    is_ok, is_failed = part["status"] == "ok", part["status"] == "failed"
    tidy = part.assign(
        value=part["value"].where(is_ok), reason=part["reason"].mask(is_failed, "failed").mask(is_ok, "")
    )
    # pivot, not pivot_table: a repeated key is a fault, not something to average
    wide = tidy.pivot(index="embedding", columns="metric", values=["value", "reason"])  # noqa: PD010
    values = wide["value"].astype(float).reindex(columns=chosen.index)
    reasons = wide["reason"].reindex(columns=chosen.index).fillna("not_computed")
    undefined = [m for m in chosen.index if set(reasons[m]) <= DATASET_REASONS]
    counted = chosen.drop(index=undefined)
    if is_primary:
        scaled, anchor_faults = _scale(values[counted.index], part, counted)
    else:
        scaled = values[counted.index] * float("nan")
        anchor_faults = dict.fromkeys(counted.index, "controls_use_primary_keys")
    rows = []
    for name, who in embeddings.iterrows():
        for scaling, table, faults in (("raw", values, {}), ("controls", scaled, anchor_faults)):
            means = _means(table.loc[name], counted, undefined, reasons.loc[name].to_dict() | faults)
            rows += [
                who.to_dict()
                | {"profile": profile, "bio_weight": float(w), "scaling": scaling}
                | means
                | {"total": w * means["bio"] + (1 - w) * means["batch"]}
                for w in bio_weights
            ]
    return rows


def _means(values: "pd.Series", counted: "pd.DataFrame", undefined: list[str], reasons: dict[str, str]) -> dict:
    """Return the means of one embedding, and why one is missing."""
    means: dict = {}
    why = []
    for group in GROUPS:
        names = counted.index[counted["group"] == group]
        means[group] = float(values[names].mean(skipna=False)) if len(names) else float("nan")
        means[f"n_{group}"] = int(values[names].notna().sum())
        if not len(names):
            why.append((f"no_{group}_metric", "not_applicable"))
    gone = [m for m in counted.index if values[m] != values[m]]
    why = [
        (f"{m}:{reasons[m]}", "failed" if reasons[m] in {"failed", "not_computed"} else "not_applicable") for m in gone
    ] + why
    states = {state for _, state in why}
    means["status"] = "failed" if "failed" in states else "not_applicable" if states else "ok"
    means["missing"] = ",".join([*gone, *undefined])
    means["reason"] = ",".join(reason for reason, _ in why)
    return means


def _scale(
    values: "pd.DataFrame", part: "pd.DataFrame", counted: "pd.DataFrame"
) -> "tuple[pd.DataFrame, dict[str, str]]":
    """Scale every metric between its anchors; return also the metrics that can't be, with the reason."""
    faults: dict[str, str] = {}
    scaled = values.copy()
    for metric, row in counted.iterrows():
        low, high = (_anchor(str(row[c]), str(metric), part) for c in ("anchor_low", "anchor_high"))
        if low is None or high is None:
            absent = [str(row[c]) for c, v in (("anchor_low", low), ("anchor_high", high)) if v is None]
            faults[str(metric)] = f"no_anchor_{'_'.join(absent)}"
        elif high - low < _MIN_SPAN:
            faults[str(metric)] = "anchors_coincide"
        else:
            scaled[metric] = (values[metric] - low) / (high - low)
    scaled[list(faults)] = float("nan")
    return scaled, faults


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
