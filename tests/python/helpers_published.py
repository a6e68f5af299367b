"""Stand-ins for a run on a scenario of the study: published values with a known disturbance, in the contract's
formats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers_report import ASSETS, collected, write_run
from scfm.io.tables import IDENTITY
from scfm.metrics.ranking import add_ranks, coverage_of
from scfm.metrics.totals import compute_totals
from scfm.report.tables.load import read_metrics
from scfm.report.view.data import ReportData
from scfm.study.published import METRICS, Published

FAMILIES = {"pca": "none", "harmony": "neighbor_graph", "scanorama": "neighbor_graph", "scvi": "generative"}
RANGED = ("value", "low", "high")


def score_rows(
    scenario: str, published: Published, *, dataset: str = "own", shift: Callable[[str, str, str], float] | None = None
) -> pd.DataFrame:
    """Return ``scores.tsv`` rows: the five published metrics of every method plus ``shift(method, correction,
    metric)``.
    """
    rows = []
    table = published.scib[(published.scib["scenario"] == scenario) & published.scib["metric"].isin(METRICS)]
    for r in table.itertuples():
        rows.append(
            score_row(
                r.method,
                r.metric,
                r.value + (shift(r.method, r.correction, r.metric) if shift else 0),
                correction=r.correction,
                dataset=dataset,
            )
        )
    return pd.DataFrame(rows)


def score_row(
    method: str,
    metric: str,
    value: float,
    *,
    correction: str = "raw",
    seed: int = 0,
    status: str = "ok",
    dataset: str = "own",
) -> dict[str, Any]:
    """Return one row of ``scores.tsv``."""
    return {
        "dataset": dataset,
        "embedding": f"{method}.{correction}.{seed}",
        "method": method,
        "family": FAMILIES.get(method, "foundation_model"),
        "correction": correction,
        "seed": seed,
        "batch_key": "batch",
        "label_key": "cell_type",
        "metric": metric,
        "group": "all",
        "value": value if status == "ok" else np.nan,
        "spread": np.nan,
        "stderr": np.nan,
        "n_cells": 100,
        "n_labels": None,
        "scaled": None,
        "status": status,
        "reason": "" if status == "ok" else "too_few_cells",
        "higher_is_better": True,
    }


def probing_row(
    method: str,
    target: str,
    metric: str,
    value: float,
    *,
    correction: str = "raw",
    seed: int = 0,
    dataset: str = "own",
    **other: Any,
) -> dict[str, Any]:
    """Return one row of ``probing.tsv``: logistic regression, mean over random folds, unless stated otherwise."""
    return {
        "dataset": dataset,
        "embedding": f"{method}.{correction}.{seed}",
        "method": method,
        "family": FAMILIES.get(method, "foundation_model"),
        "correction": correction,
        "seed": seed,
        "batch_key": "batch",
        "label_key": "cell_type",
        "target": target,
        "scheme": "kfold",
        "classifier": "logistic",
        "fold": "mean",
        "group": "all",
        "metric": metric,
        "value": value,
        "n_test": 100,
        "baseline_majority": 0.1,
        "baseline_permuted": 0.1,
        "permuted_q95": np.nan,
        "p_value": np.nan,
        "status": "ok",
        "reason": "",
        **other,
    }


def probing_rows(scenario: str, published: Published, *, dataset: str = "own", shift: float = 0.0) -> pd.DataFrame:
    """Return ``probing.tsv`` rows: what can be read of the study (the middle of a range) plus a shift."""
    rows = []
    for r in published.probing[published.probing["scenario"] == scenario].itertuples():
        value = np.nanmean([getattr(r, c) for c in RANGED]) + shift
        rows.append(
            probing_row(
                r.method, r.target, r.metric, float(np.clip(value, 0, 1)), correction=r.correction, dataset=dataset
            )
        )
    return pd.DataFrame(rows)


def study_report(root: Path, scenario: str, *, noise: float = 0.02, row: dict[str, Any] | None = None) -> ReportData:
    """Return the report data of a synthetic run of the paper profile whose data set ``pbmc`` is a scenario: published
    values with seeded noise.
    """
    run = write_run(root / "run", datasets=("pbmc",))
    data = collected(run, root / "tables")
    rng = np.random.default_rng(7)
    scores = score_rows(scenario, data.published, dataset="pbmc", shift=lambda *_: float(rng.normal(0, noise)))
    others = data.scores[~data.scores["method"].isin(FAMILIES) & data.scores["metric"].isin(METRICS)]
    models = scores.loc[scores["family"] == "foundation_model", list(IDENTITY)].drop_duplicates()
    plan = models.assign(
        is_control=False, output_type="embedding", model=models["method"], status="", reason_code="", reason=""
    )
    datasets = [{**d, "scenario": scenario, **(row or {})} for d in data.datasets]
    scores = pd.concat([others, scores], ignore_index=True)
    return replace(
        data.with_tables(
            scores=scores,
            totals=add_ranks(
                compute_totals(scores, read_metrics(ASSETS / "metrics.tsv", "paper"), (0.5, 0.6), "paper"),
                coverage_of(scores, {}),
            ),
            probing=probing_rows(scenario, data.published, dataset="pbmc", shift=0.015),
        ),
        metrics=read_metrics(ASSETS / "metrics.tsv", "paper"),
        params={**data.params, "metrics_profile": "paper"},
        plan=pd.concat([data.plan, plan], ignore_index=True),
        datasets=datasets,
    )
