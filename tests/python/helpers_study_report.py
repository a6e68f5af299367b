"""Report data of a run whose scores are the study's printed ones, so that its readings are known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from helpers_report import ASSETS
from scfm.io.tables import IDENTITY
from scfm.metrics.ranking import add_ranks, coverage_of
from scfm.metrics.totals import compute_totals
from scfm.registries.reader import read_registry
from scfm.registries.schemas import Schemas
from scfm.report.tables.load import read_metrics
from scfm.report.tables.names import Names, read_methods
from scfm.report.view.data import ReportData, read_citations

FAMILIES = {"pca": "none", "harmony": "neighbor_graph", "scanorama": "neighbor_graph", "scvi": "generative"}
SCENARIOS = ("limb", "liver", "Immune", "HLCA_assay", "HLCA_disease", "HLCA_sn")


def identify(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that name an embedding and its keys."""
    return frame.assign(
        batch_key="batch",
        label_key="cell_type",
        embedding=frame["method"] + "." + frame["correction"] + ".0",
        family=frame["method"].map(FAMILIES).fillna("foundation_model"),
        seed=0,
    )


def study_scores(scenarios=SCENARIOS) -> pd.DataFrame:
    """Return the printed scores as ``scores.tsv``; the aggregates that are printed beside them are left out."""
    metrics = read_metrics(ASSETS / "metrics.tsv", "paper").set_index("name")
    printed = pd.read_csv(ASSETS / "published" / "scib.tsv", sep="\t")
    rows = identify(
        printed[printed["scenario"].isin(scenarios) & printed["metric"].isin(metrics.index)].rename(
            columns={"scenario": "dataset"}
        )
    )
    return rows.assign(
        group="all",
        spread=np.nan,
        stderr=np.nan,
        n_cells=1000,
        n_labels=None,
        scaled=None,
        status="ok",
        reason="",
        higher_is_better=True,
    )[Schemas(ASSETS).columns("scores")]


def study_probing(embeddings: pd.DataFrame, *, classes: int = 10) -> pd.DataFrame:
    """Return synthetic probes: batch is read off uncorrected embeddings, and hardly off centred ones."""
    rng, rows = np.random.default_rng(0), []
    for row in embeddings.to_dict("records"):
        for target in ("batch", "label"):
            low = target == "batch" and (row["correction"] != "raw" or row["method"] == "harmony")
            for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
                rows.append(
                    {
                        **row,
                        "batch_key": "batch",
                        "label_key": "cell_type",
                        "target": target,
                        "scheme": "kfold",
                        "classifier": "logistic",
                        "fold": "mean",
                        "group": "all",
                        "metric": metric,
                        "value": float(np.clip((0.19 if low else 0.93) + rng.normal(0, 0.003), 0, 1)),
                        "n_test": 200,
                        "baseline_majority": 0.18
                        if metric == "accuracy"
                        else 1 / classes
                        if metric == "balanced_accuracy"
                        else 0.03,
                        "baseline_permuted": 1 / classes,
                        "permuted_q95": np.nan,
                        "p_value": np.nan,
                        "status": "ok",
                        "reason": "",
                    }
                )
    return pd.DataFrame(rows)[Schemas(ASSETS).columns("probing")]


def study_centroids(embeddings: pd.DataFrame, *, batches: int = 4, labels: int = 6) -> pd.DataFrame:
    """Return synthetic centroids: batches are torn apart where nothing was corrected."""
    rows = []
    for row in embeddings.to_dict("records"):
        rng = np.random.default_rng(len(row["embedding"]))
        types, shift = (
            4 * rng.normal(size=(labels, 2)),
            rng.normal(size=(batches, 2)) * (9 if row["correction"] == "raw" else 0.5),
        )
        for b in range(batches):
            for x in range(labels):
                place = types[x] + shift[b] + rng.normal(0, 0.3, 2)
                good = bool(rng.random() < (0.4 if row["correction"] == "raw" else 0.9))
                rows.append(
                    {
                        **row,
                        "batch_key": "batch",
                        "label_key": "cell_type",
                        "batch": f"donor {b} <i>",
                        "label": f"type {x} & co",
                        "n_cells": 40,
                        "nearest_batch": f"donor {(b + 1) % batches} <i>",
                        "nearest_label": f"type {x if good else (x + 1) % labels} & co",
                        "aligned": good,
                        "chance": 1 / labels,
                        "umap_1": place[0],
                        "umap_2": place[1],
                        "tsne_1": np.nan,
                        "tsne_2": np.nan,
                    }
                )
    return pd.DataFrame(rows)[Schemas(ASSETS).columns("centroids")].astype({"aligned": "boolean"})


def study_data(scenarios=SCENARIOS, *, scores: pd.DataFrame | None = None, **centroids) -> ReportData:
    """Return the report's data; ``centroids`` are the numbers of batches and labels."""
    schemas = Schemas(ASSETS)
    scores = study_scores(scenarios) if scores is None else scores
    metrics, methods = read_metrics(ASSETS / "metrics.tsv", "paper"), read_methods(ASSETS / "methods.tsv")
    embeddings = scores.drop_duplicates(["dataset", "embedding"])[list(IDENTITY)].reset_index(drop=True)
    plan = embeddings.assign(
        base_method=embeddings["method"],
        instance="",
        settings="{}",
        is_control=embeddings["family"] == "control",
        output_type="embedding",
        model="",
        status="",
        reason_code="",
        reason="",
    )
    totals = (
        add_ranks(compute_totals(scores, metrics, (0.6, 0.5), "paper"), coverage_of(scores, {}))
        if len(scores)
        else pd.DataFrame(columns=schemas.columns("totals"))
    )
    catalogue = read_registry(ASSETS / "datasets.tsv", kind="dataset")
    status = plan[[*IDENTITY, "is_control"]].assign(step="score", status="ok", reason_code="", reason="")
    return ReportData(
        plan=plan,
        tables={name: pd.DataFrame(columns=schemas.columns(name)) for name in schemas.tables}
        | {
            "scores": scores,
            "totals_held_out": totals.iloc[:0],
            "totals": totals,
            "other_totals": totals.iloc[:0],
            "probing": study_probing(embeddings),
            "centroids": study_centroids(embeddings, **centroids),
            "status": status,
        },
        messages=[],
        datasets=[describe(s, catalogue[s]) for s in scenarios],
        embeddings=[],
        verdict={"n_failed": 0},
        metrics=metrics,
        methods=methods,
        params={"metrics_profile": "paper", "total_weights": "0.5,0.6"},
        versions={},
        **read_citations(ASSETS),
        names=Names.of(methods, metrics, plan),
        assets=Path(ASSETS),
    )


def describe(scenario: str, row: dict) -> dict:
    """Return an entry of ``datasets.json`` with what the preparation found."""
    return {
        "dataset": scenario,
        "scenario": scenario,
        "batch_key": row["batch_key"],
        "label_key": row["label_key"],
        "prepared": {
            "n_cells": 68429,
            "n_genes": 33159,
            "batches": {f"b{i}": 100 for i in range(10)},
            "labels": {f"t{i}": 50 for i in range(10)},
            "batch_role": row["batch_role"],
            "dropped": {},
            "confounding": [
                {
                    "column": "study",
                    "key": "",
                    "levels": 2,
                    "n_cells": 68429,
                    "relation": "one_to_one",
                    "cramers_v": 1.0,
                    "same_as": ["study_id"],
                },
                {
                    "column": "donor_id",
                    "key": "donor",
                    "levels": 12,
                    "n_cells": 68000,
                    "relation": "column_in_batch",
                    "cramers_v": 1.0,
                    "same_as": [],
                },
                {
                    "column": "10x <v>",
                    "key": "",
                    "levels": 2,
                    "n_cells": 68429,
                    "relation": "batch_in_column",
                    "cramers_v": 1.0,
                    "same_as": [],
                },
                {
                    "column": row["label_key"],
                    "key": "label",
                    "levels": 10,
                    "n_cells": 68429,
                    "relation": "partial",
                    "cramers_v": 0.41,
                    "same_as": [],
                },
                {
                    "column": "sex",
                    "key": "",
                    "levels": 2,
                    "n_cells": 68429,
                    "relation": "crossed",
                    "cramers_v": 0.02,
                    "same_as": [],
                },
            ],
        },
    }
