"""Run the metrics of a profile on one embedding, each on its own, into the rows of ``<id>.scores.tsv``."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from scfm.errors import NotApplicable, ScfmError
from scfm.inputs.keys import PAIR_COLUMNS, KeyPair
from scfm.io.tables import IDENTITY
from scfm.metrics.inputs import MetricInputs
from scfm.metrics.registry import Metric
from scfm.metrics.results import MetricResult, Score
from scfm.task.cli import describe_error, stops_task
from scfm.task.resources import Stopwatch

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

ALL = "all"
#: what the two groups of the inputs are called where nothing names the keys
UNNAMED = KeyPair("batch", "label", is_primary=True)
OUTCOME = ("value", "spread", "stderr", "n_cells", "n_labels", "scaled", "status", "reason", "higher_is_better")
LABELS_SEEN = "The embedding was made with the labels of these cells."
COLUMNS = (*IDENTITY, *PAIR_COLUMNS, "metric", "group", *OUTCOME)


def run_metric(metric: Metric, data: MetricInputs) -> tuple[str, MetricResult]:
    """Compute one metric.

    Returns
    -------
    ``ok``, ``not_applicable`` or ``failed``, and the values. An unexpected error affects this metric only and is
    reported as such: no other number takes its place. A lack of memory is raised, so that the task runs again with
    more.
    """
    watch = Stopwatch()
    try:
        if metric.group == "batch":
            data.need_batches()
        if metric.group == "bio" and "labels" in metric.needs and data.labels_seen:
            raise NotApplicable(LABELS_SEEN, "labels_seen")
        result = metric.function()(data)
    except NotApplicable as error:
        log.info("%s: not applicable, %s", metric.name, error)
        return "not_applicable", MetricResult(Score(None, data.n_cells, error.code))
    except Exception as error:  # the documented failure policy: one broken metric leaves the others standing
        if stops_task(error):
            raise
        log.error("%s failed: %s", metric.name, describe_error(error))
        log.debug("traceback", exc_info=True)
        return "failed", MetricResult(Score(None, data.n_cells, describe_error(error)))
    log.info("%s = %.4f (%.2f s)", metric.name, result.overall.value, watch.seconds)
    return "ok", result


def _rows(metric: Metric, status: str, result: MetricResult) -> Iterable[dict[str, Any]]:
    """Yield the row of all cells, then one per label; ``scaled`` is known when the controls are (COLLECT_RESULTS)."""
    known = sum(s.value is not None for s in result.by_label.values()) if result.by_label else None
    for group, score in ((ALL, result.overall), *((group_name(n), s) for n, s in result.by_label.items())):
        state = status if group == ALL or score.value is not None else "not_applicable"
        yield {
            "metric": metric.name,
            "group": group,
            "value": score.value,
            "spread": score.spread,
            "stderr": score.stderr,
            "n_cells": score.n_cells,
            "n_labels": known if group == ALL else None,
            "scaled": None,
            "status": state,
            "reason": score.reason,
            "higher_is_better": metric.higher_is_better,
        }


def group_name(label: str) -> str:
    """Return the group of a label; one that is called like the group of all cells is marked."""
    return f"{ALL} (label)" if label == ALL else label


def score(data: MetricInputs, metrics: Iterable[Metric], sidecar: dict, pair: KeyPair = UNNAMED) -> "pd.DataFrame":
    """Return the score table of one embedding with one pair of keys.

    Parameters
    ----------
    data
        The embedding with batches, labels, neighbours. A metric that was computed on inputs that share their results
        (:meth:`MetricInputs.with_groups`) is not computed again where it reads the same groups.
    metrics
        What to compute.
    sidecar
        Who the embedding is.
    pair
        Keys that the batches and labels are from.

    Returns
    -------
    One row per metric and group (``all`` or a label), columns as in ``assets/schema_scores.json``.
    """
    import pandas as pd

    who = {c: sidecar[c] for c in IDENTITY} | pair.names
    rows = [who | row for metric in metrics for row in _rows(metric, *_run_once(metric, data))]
    types = {"value": float, "spread": float, "stderr": float, "scaled": float, "n_labels": "Int64"}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(types)


def _run_once(metric: Metric, data: MetricInputs) -> tuple[str, MetricResult]:
    """Compute a metric, or return what was computed from the same groups."""
    if data.n_cells < 2:
        return "not_applicable", MetricResult(Score(None, data.n_cells, "too_few_cells"))
    if metric.group == "batch" and len(data.batches.names) < 2:
        return run_metric(metric, data)  # not kept: with other batch keys it may have a value
    reads = [part for part in ("labels", "batches") if part in metric.needs]
    outcome: tuple[str, MetricResult] = data.keep(f"metric {metric.name}", partial(run_metric, metric, data), of=reads)
    return outcome


def failure_sentence(scores: "pd.DataFrame", n_metrics: int, where: str) -> str:
    """Return how many metrics failed and why, each reason once; empty where none did.

    Parameters
    ----------
    scores
        Score tables of one embedding.
    n_metrics
        Metrics that were asked for.
    where
        End of the first sentence.
    """
    bad = scores[scores["status"] == "failed"]
    if bad.empty:
        return ""
    reasons = dict.fromkeys(f"{m}: {r}" for m, r in zip(bad["metric"], bad["reason"], strict=True))
    return f"{bad['metric'].nunique()} of {n_metrics} metrics failed{where}. {' '.join(reasons)}"


def failed_step(sentence: str, on_error: str) -> dict[str, str]:
    """Return the fields of the status file of a step in which something failed; none where the sentence is empty.

    Raises
    ------
    ScfmError
        With ``on_error="stop"``, the sentence.
    """
    if sentence and on_error == "stop":
        raise ScfmError(sentence)
    return {"status": "failed", "reason": sentence, "reason_code": "metric_failed"} if sentence else {}


def study_table(scores: "pd.DataFrame", metrics: Iterable[Metric]) -> "pd.DataFrame":
    """Return the table of the study: row ``X_emb`` with the values, row ``Metric Type``; Total is half bio, half batch.

    Parameters
    ----------
    scores
        Score table of one embedding.
    metrics
        Metrics of the profile ``paper``, in the study's order of columns.

    Returns
    -------
    Index ``Embedding``; a mean over metrics one of which is missing is missing.
    """
    import pandas as pd

    metrics = list(metrics)
    kind = {"bio": "Bio conservation", "batch": "Batch correction"}
    whole = scores[scores["group"] == ALL].set_index("metric")["value"]
    values = pd.Series({m.title: whole.get(m.name, float("nan")) for m in metrics})
    types = pd.Series({m.title: kind[m.group] for m in metrics})
    for title in ("Batch correction", "Bio conservation"):
        values[title] = values[types[types == title].index].mean(skipna=False)
    values["Total"] = 0.5 * values["Bio conservation"] + 0.5 * values["Batch correction"]
    types = types.reindex(values.index, fill_value="Aggregate score")
    table = pd.DataFrame({"X_emb": values.astype(object), "Metric Type": types}).T
    table.index.name = "Embedding"
    return table
