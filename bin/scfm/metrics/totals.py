"""From metrics to totals: a mean of bio metrics, a mean of batch metrics, and their weighted sum.

Raw totals use the metrics as they are. Totals scaled between controls first map every metric so that 0 and 1 mean the
same for all: the anchors (columns ``anchor_low`` and ``anchor_high`` of ``assets/metrics.tsv``) are controls or numbers
fixed in advance, never the best and worst of whoever is in the table, so adding a method changes no other method's
number. In a total every scaled value is capped to 0 to 1; the uncapped value is in ``scores.tsv``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.inputs.keys import PAIR_COLUMNS
from scfm.io.tables import IDENTITY
from scfm.metrics.anchors import MIN_SPAN, TOO_CLOSE, find_anchors, scaled_values

if TYPE_CHECKING:
    import pandas as pd

KEYED = [*IDENTITY, *PAIR_COLUMNS]
COLUMNS = [
    *KEYED,
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
#: reasons of a single embedding: they say nothing about the data set
OWN_REASONS = frozenset({"graph_output", "labels_seen", "constant"})
#: the batch is declared biological: mixing is no merit, so there is no batch mean and no total
BATCH_IS_BIOLOGY = "batch_is_biology"


@dataclass(frozen=True)
class TotalRules:
    """What totals depend on besides the scores.

    Attributes
    ----------
    min_span
        Anchors closer than this can't carry a scale.
    roles
        ``{data set: batch_role}``; ``biological`` leaves no batch mean and no total. It is the primary batch key's.
    primary
        Primary batch key and label key per data set. Controls are made with these keys, so totals of other keys are
        not scaled: NA with the reason ``controls_use_primary_keys``. A data set that is not in it has no other keys.
    """

    min_span: float = MIN_SPAN
    roles: Mapping[str, str] = field(default_factory=dict)
    primary: Mapping[str, tuple[str, str]] = field(default_factory=dict)


DEFAULT_RULES = TotalRules()
#: values, metrics that count, metrics left out for all, reasons of the data set by metric
_View = tuple["pd.DataFrame", "pd.DataFrame", list[str], dict[str, str]]


def metrics_in_total(metrics: "pd.DataFrame", profile: str) -> "pd.DataFrame":
    """Return the metrics that make up the totals of a profile, indexed by name.

    Parameters
    ----------
    metrics
        ``assets/metrics.tsv`` as ``report.tables.load.read_metrics`` returns it for this profile.
    profile
        ``paper``, ``standard`` or ``full``.
    """
    runs = metrics["profile"].map(lambda p: profile in [x.strip() for x in p.split(",")])
    return metrics[metrics["in_total"].astype(bool) & runs].set_index("name")


def compute_totals(
    scores: "pd.DataFrame",
    metrics: "pd.DataFrame",
    bio_weights: Sequence[float] = (0.6, 0.5),
    profile: str = "standard",
    rules: TotalRules = DEFAULT_RULES,
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
    rules
        Span of the anchors, role of the batches, primary keys.

    Returns
    -------
    One row per embedding, pair of keys, weight and scaling (``raw``, ``controls``), ``COLUMNS``. ``bio``, ``batch``,
    ``total``: higher is better, 0 to 1 (raw ARI may be slightly negative). ``missing`` lists metrics without a value.
    A metric that is not defined for the whole data set is left out for all, and so is, of the scaled total, one whose
    anchors are too close; one that only this embedding lacks makes its mean and total NA, with a reason: a mean over
    fewer metrics than the others' is not comparable.

    Raises
    ------
    ScfmError
        A weight outside 0 to 1.
    """
    import pandas as pd

    wrong = [w for w in bio_weights if not 0 <= w <= 1]
    if wrong:
        raise ScfmError(f"Weights of the bio mean must lie between 0 and 1; got {', '.join(map(str, wrong))}.")
    chosen = metrics_in_total(metrics, profile)
    whole = scores[(scores["group"] == "all") & scores["metric"].isin(chosen.index)]
    rows = []
    for _, part in whole.groupby(["dataset", *PAIR_COLUMNS], sort=True):
        rows += _totals_of_pair(part, chosen, bio_weights, profile, rules)
    return pd.DataFrame(rows, columns=COLUMNS)


def _totals_of_pair(
    part: "pd.DataFrame", chosen: "pd.DataFrame", bio_weights: Sequence[float], profile: str, rules: TotalRules
) -> "list[dict]":
    """Return the rows of one data set with one pair of keys."""
    embeddings = part.drop_duplicates("embedding")[KEYED].set_index("embedding", drop=False)
    values, reasons = _wide(part, chosen)
    undefined = [m for m in chosen.index if _is_undefined(set(reasons[m]))]
    counted = chosen.drop(index=undefined)
    dataset, *pair = part[["dataset", *PAIR_COLUMNS]].iloc[0]
    primary = rules.primary.get(dataset, tuple(pair))
    if tuple(pair) == tuple(primary):
        controls = _between_controls(part, counted, undefined, rules.min_span)
    else:
        why = dict.fromkeys(counted.index, "controls_use_primary_keys")
        controls = (values * float("nan"), counted, undefined, why)
    is_biology = rules.roles.get(dataset) == "biological" and pair[0] == primary[0]
    views: dict[str, _View] = {"raw": (values, counted, undefined, {}), "controls": controls}
    rows = []
    for name, who in embeddings.iterrows():
        for scaling, (table, used, left_out, errors) in views.items():
            means = _means(table.loc[name], used, left_out, reasons.loc[name].to_dict() | errors)
            if is_biology:
                means |= {"batch": float("nan"), "n_batch": 0, "status": "not_applicable", "reason": BATCH_IS_BIOLOGY}
            rows += [
                who.to_dict()
                | {"profile": profile, "bio_weight": float(w), "scaling": scaling}
                | means
                | {"total": w * means["bio"] + (1 - w) * means["batch"]}
                for w in bio_weights
            ]
    return rows


def _is_undefined(reasons: set[str]) -> bool:
    """Return whether a metric is undefined for the data set, from the reasons of all embeddings (empty: a value).

    An embedding for which it is undefined anyway, such as a graph, does not make it a metric of the others.
    """
    of_others = reasons - OWN_REASONS
    return bool(of_others) and of_others <= DATASET_REASONS


def _between_controls(part: "pd.DataFrame", counted: "pd.DataFrame", undefined: list[str], min_span: float) -> "_View":
    """Return the values scaled between the controls and capped, without the metrics whose anchors are too close."""
    anchors = find_anchors(part, counted, min_span)
    capped, _ = _wide(part.assign(value=scaled_values(part, anchors).clip(0, 1)), counted)
    why = anchors.set_index("metric")["reason"]
    close = list(why.index[why == TOO_CLOSE])
    return capped, counted.drop(index=close), undefined + close, dict(why[why != ""].drop(close))


def _wide(part: "pd.DataFrame", chosen: "pd.DataFrame") -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Return values and reasons, embedding by metric; a metric without a row has the reason ``not_computed``."""
    is_ok, is_failed = part["status"] == "ok", part["status"] == "failed"
    tidy = part.assign(
        value=part["value"].where(is_ok), reason=part["reason"].mask(is_failed, "failed").mask(is_ok, "")
    )
    # pivot, not pivot_table: a repeated key is an error, not something to average
    wide = tidy.pivot(index="embedding", columns="metric", values=["value", "reason"])  # noqa: PD010
    values = wide["value"].astype(float).reindex(columns=chosen.index)
    return values, wide["reason"].reindex(columns=chosen.index).fillna("not_computed")


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
