"""How much the batch metrics depend on imbalance: the same metrics on batches of one size with labels that all share.

After Maan et al. 2024, doi 10.1038/s41587-023-02097-9: uneven batches and labels change what integration does and what
scores say of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scfm.diagnosis.data import Cells, Embedded
from scfm.diagnosis.settings import DiagnosisSettings
from scfm.errors import NotApplicable
from scfm.metrics.inputs import Groups, MetricInputs
from scfm.metrics.registry import Metric
from scfm.metrics.scoring import ALL, run_metric
from scfm.neighbors.search import restrict_neighbors
from scfm.registries.messages import message

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: draws of cells; cells per batch at most; neighbours per cell, self counted
DRAWS, CAP, K = 3, 2000, 90
COLUMNS = (
    "metric",
    "n_cells",
    "n_balanced",
    "n_batches",
    "n_labels",
    "value",
    "balanced",
    "spread",
    "change",
    "status",
    "reason",
)


def balanced_draws(cells: Cells, rows: "np.ndarray", settings: DiagnosisSettings) -> "list[np.ndarray]":
    """Draw as many cells of every batch, of the labels that every batch has.

    Parameters
    ----------
    cells
        The data set.
    rows
        Positions of the cells that may be drawn, ascending, shape (n,).
    settings
        ``min_cells`` of a label in every batch, and the seed.

    Returns
    -------
    Positions among ``rows``, ascending, one array per draw.

    Raises
    ------
    NotApplicable
        ``one_batch``; ``no_common_label``: no label has enough cells in every batch.
    """
    import numpy as np

    labels, batches = cells.labels.codes[rows], cells.batches.codes[rows]
    present = np.unique(batches)
    if len(present) < 2:
        raise NotApplicable("All cells are of one batch.", "one_batch")
    table = np.zeros((len(cells.labels.names), len(cells.batches.names)), dtype=int)
    np.add.at(table, (labels, batches), 1)
    common = np.flatnonzero((table[:, present] >= settings.min_cells).all(axis=1))
    if not len(common):
        raise NotApplicable(f"No label has {settings.min_cells} cells in every batch.", "no_common_label")
    size = min(CAP, int(table[np.ix_(common, present)].sum(axis=0).min()))
    usable = np.isin(labels, common)
    draws = []
    for number in range(DRAWS):
        rng = np.random.default_rng([settings.seed, 3, number])
        parts = [rng.choice(np.flatnonzero(usable & (batches == b)), size, replace=False) for b in present]
        draws.append(np.sort(np.concatenate(parts)))
    return draws


def balanced_rows(
    embedded: Embedded,
    before: Embedded,
    cells: Cells,
    settings: DiagnosisSettings,
    *,
    scores: "pd.DataFrame | None",
    metrics: Sequence[Metric],
) -> "pd.DataFrame":
    """Compute the batch metrics of an embedding again on balanced cells.

    Parameters
    ----------
    embedded, before
        The embedding and the uncorrected one of the same cells.
    cells, settings
        The data set; thresholds.
    scores
        Rows of ``scores.tsv`` of this embedding with the primary keys; only metrics with a value there are computed.
    metrics
        The batch metrics.

    Returns
    -------
    ``COLUMNS``, a row per metric: ``value`` of all cells, ``balanced`` the mean over draws, ``spread`` largest minus
    smallest draw, ``change`` balanced minus value.
    """
    import pandas as pd

    known = {} if scores is None else _values(scores)
    wanted = [m for m in metrics if m.name in known]
    try:
        draws = balanced_draws(cells, embedded.rows, settings)
    except NotApplicable as error:
        rows = [_row(m, known[m.name], len(embedded.rows)) | {"reason": error.code} for m in wanted]
        return pd.DataFrame(rows, columns=list(COLUMNS))
    inputs = [_inputs(embedded, before, cells, draw) for draw in draws]
    rows = []
    for metric in wanted:
        row = _row(metric, known[metric.name], len(embedded.rows))
        row |= {
            "n_balanced": inputs[0].n_cells,
            "n_batches": len(inputs[0].batches.names),
            "n_labels": len(inputs[0].labels.names),
        }
        outcomes = [run_metric(metric, data) for data in inputs]
        values = [found.overall.value for status, found in outcomes if status == "ok"]
        if len(values) < len(outcomes):
            status, found = next(o for o in outcomes if o[0] != "ok")
            rows.append(row | {"status": status, "reason": found.overall.reason})
            continue
        mean = sum(values) / len(values)
        row |= {"balanced": mean, "spread": max(values) - min(values), "change": mean - row["value"]}
        rows.append(row | {"status": "ok", "reason": ""})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _values(scores: "pd.DataFrame") -> dict[str, float]:
    """Return the values over all cells by metric."""
    found = scores[(scores["group"] == ALL) & (scores["status"] == "ok")]
    return dict(zip(found["metric"], found["value"].astype(float), strict=True))


def _row(metric: Metric, value: float, n_cells: int) -> dict[str, Any]:
    """Return the row of a metric that has no balanced value yet."""
    about: dict[str, Any] = {"metric": metric.name, "n_cells": n_cells, "value": value}
    return about | {"n_balanced": 0, "n_batches": 0, "n_labels": 0, "status": "not_applicable"}


def _inputs(embedded: Embedded, before: Embedded, cells: Cells, draw: "np.ndarray") -> MetricInputs:
    """Return what the metrics read of some cells of an embedding."""
    rows, values = embedded.rows[draw], embedded.coordinates[draw]
    labels, batches = (Groups.of(cells.obs[c].to_numpy()[rows]) for c in ("label", "batch"))
    near = restrict_neighbors(embedded.near, values, draw, k=K)
    return MetricInputs(cells.ids[rows], labels, batches, values, near, before.coordinates[draw])


def balance_messages(
    table: "pd.DataFrame", metrics: Sequence[Metric], settings: DiagnosisSettings, about: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return W-BAL-03 where the mean of the batch metrics changes by more than ``--diagnose_balance_change``.

    Parameters
    ----------
    table
        That of :func:`balanced_rows`.
    metrics
        The batch metrics; of those counted in the mean higher is better.
    settings, about
        Thresholds; ``dataset, method, embedding, seed`` of the message.
    """
    counted = {m.name for m in metrics if m.higher_is_better}
    rows = table[(table["status"] == "ok") & table["metric"].isin(counted)]
    if rows.empty or abs(float(rows["change"].mean())) <= settings.balance_change:
        return []
    first = rows.iloc[0]
    values = {"before": float(rows["value"].mean()), "after": float(rows["balanced"].mean()), "n_metrics": len(rows)}
    values |= {name: int(first[name]) for name in ("n_cells", "n_balanced", "n_labels")}
    return [message("W-BAL-03", **about, values=values, threshold=settings.balance_change)]
