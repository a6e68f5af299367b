"""A small, seeded run in exactly the contract's formats: two data sets, failures, controls, corrections, seeds, NA."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers_de_tables import write_de, write_orthogonal, write_query
from helpers_diagnosis import write_diagnosis
from scfm.embeddings.gate import missing_cells_warning
from scfm.io.tables import IDENTITY, read_json, read_table, write_json, write_table
from scfm.registries.messages import message
from scfm.report.tables.collect import collect_results
from scfm.report.view.data import ReportData, load_report_data

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData

ASSETS = Path(__file__).resolve().parents[2] / "assets"
DATASETS = {
    "pbmc": {
        "batches": {"3' v1": 400, "3' v2": 420, "5'": 380},
        "labels": {"B": 200, "CD4 T": 500, "Mono": 450, "HSC": 50},
    },
    "ifnb": {"batches": {"ctrl": 300, "stim": 310}, "labels": {"B": 210, "Mono": 400}},
}
#: method: (family, is_control, how well biology is kept, how well batches are mixed)
METHODS = {
    "pca": ("none", False, 0.78, 0.30),
    "harmony": ("neighbor_graph", False, 0.76, 0.72),
    "scanorama": ("neighbor_graph", False, 0.77, 0.66),
    "scvi": ("generative", False, 0.70, 0.74),
    "combat": ("linear", False, 0.60, 0.52),
    "mymodel": ("imported", False, 0.64, 0.35),
    "random": ("control", True, 0.10, 0.98),
    "shuffled": ("control", True, 0.12, 0.97),
    "shuffled_within_label": ("control", True, 0.90, 0.96),
    "label_onehot": ("control", True, 1.0, 0.97),
}
#: points of a sweep of Harmony, as METHODS
POINTS = {
    "harmony-theta0": ("neighbor_graph", False, 0.79, 0.34),
    "harmony-theta2": ("neighbor_graph", False, 0.77, 0.70),
    "harmony-theta8": ("neighbor_graph", False, 0.52, 0.76),
}
STOCHASTIC = {"scvi", "random", "shuffled"}
SEEDS = (0, 1)
BY_LABEL = ("bras", "cilisi", "kbet", "silhouette", "isolated")
FAILURE = (
    "ComBat needs at least two cells per batch & gene; batch 'ctrl' <has> a gene with none. Raise --min_cells_per_gene."
)


@dataclass
class Run:
    """Paths of a synthetic run."""

    root: Path
    plan: Path
    datasets: Path
    messages: Path
    results: Path
    params: Path
    trace: Path
    versions: Path
    plots: Path
    histories: Path


def plan_rows(datasets=tuple(DATASETS), methods=tuple(METHODS)) -> pd.DataFrame:
    """Return the plan: every method, its correction unless it is a control, and two seeds of the stochastic ones."""
    rows = []
    for dataset in datasets:
        for method in methods:
            family, control, _, _ = METHODS[method]
            for seed in SEEDS if method in STOCHASTIC else SEEDS[:1]:
                for correction in ("raw",) if control else ("raw", "center_l2"):
                    rows.append(
                        {
                            "dataset": dataset,
                            "embedding": f"{method}.{correction}.{seed}",
                            "method": method,
                            "family": family,
                            "correction": correction,
                            "seed": seed,
                            "base_method": method,
                            "instance": "",
                            "settings": "{}",
                            "is_control": control,
                            "output_type": "embedding",
                            "model": "",
                            "status": "",
                            "reason_code": "",
                            "reason": "",
                        }
                    )
    return pd.DataFrame(rows)


def point_rows(dataset: str) -> pd.DataFrame:
    """Return the plan of the sweep: every point with both seeds."""
    rows = [
        {
            "dataset": dataset,
            "embedding": f"{method}.raw.{seed}",
            "method": method,
            "family": POINTS[method][0],
            "correction": "raw",
            "seed": seed,
            "base_method": "harmony",
            "instance": "sweep",
            "settings": json.dumps({"harmony_theta": int(method.removeprefix("harmony-theta"))}),
            "is_control": False,
            "output_type": "embedding",
            **dict.fromkeys(("model", "status", "reason_code", "reason"), ""),
        }
        for method in POINTS
        for seed in SEEDS
    ]
    return pd.DataFrame(rows)


def status_of(row, step: str, status: str = "ok", reason: str = "", code: str = "") -> dict:
    """Return a status file's content."""
    return {
        "dataset": row.dataset,
        "embedding": row.embedding,
        "step": step,
        "status": status,
        "reason": reason,
        "reason_code": code,
        "seconds": 2.5,
        "peak_rss_mb": 300.0,
        "peak_gpu_mb": None,
    }


def sidecar_of(row, n: int, *, lost: int = 0) -> dict:
    """Return a sidecar, with the warning of the validation gate where cells are lost."""
    not_embedded = {f"c{i}": "no gene in the vocabulary" for i in range(lost)}
    about = {"dataset": row.dataset, "method": row.method, "embedding": row.embedding}
    entries, warnings = missing_cells_warning(list(not_embedded), not_embedded, n, **about)
    return {
        "dataset": row.dataset,
        "embedding": row.embedding,
        "method": row.method,
        "family": row.family,
        "correction": row.correction,
        "seed": int(row.seed),
        "is_control": bool(row.is_control),
        "output_type": "embedding",
        "settings": {"theta": 2},
        "versions": {"python": "3.11.7"},
        "device": "cpu",
        "seconds": 3.0,
        "peak_rss_mb": 512.0,
        "peak_gpu_mb": None,
        "cells_in": n,
        "cells_out": n - lost,
        "n_dims": 50,
        "cells_per_second": (n - lost) / 3.0,
        "warnings": warnings,
        "status": "ok",
        "reason": "",
        "not_embedded": entries,
    }


def score_rows(row, metrics: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return scores: a base per method and group of metrics plus noise; one metric is not defined in ``ifnb``."""
    _, _, bio, batch = (METHODS | POINTS)[row.method]
    batch = min(0.95, batch + 0.15) if row.correction != "raw" else batch
    facts = DATASETS[row.dataset]
    rows = []
    for m in metrics.itertuples():
        base = bio if m.group == "bio" else batch
        groups = ["all", *facts["labels"]] if any(k in m.name for k in BY_LABEL) else ["all"]
        for group in groups:
            value, state, reason = float(np.clip(base + rng.normal(0, 0.04), 0, 1)), "ok", ""
            if (group == "HSC" and m.group == "batch") or (row.dataset == "ifnb" and "kbet" in m.name):
                value, state, reason = (
                    np.nan,
                    "not_applicable",
                    "label_in_one_batch" if group == "HSC" else "too_few_cells",
                )
            rows.append(
                {
                    **identity(row),
                    "batch_key": "batch",
                    "label_key": "cell_type",
                    "metric": m.name,
                    "group": group,
                    "value": value,
                    "spread": np.nan,
                    "stderr": np.nan,
                    "n_cells": facts["labels"].get(group, sum(facts["labels"].values())),
                    "n_labels": len(groups) - 1 if group == "all" and len(groups) > 1 else None,
                    "scaled": None,
                    "status": state,
                    "reason": reason,
                    "higher_is_better": m.higher_is_better,
                }
            )
    return pd.DataFrame(rows)


def probing_rows(row, rng: np.random.Generator) -> pd.DataFrame:
    """Return probing results with baselines: folds, their mean and sd, over all cells and per class."""
    _, _, bio, batch = METHODS[row.method]
    facts = DATASETS[row.dataset]
    rows = []
    for target, classes in (("label", facts["labels"]), ("batch", facts["batches"])):
        for scheme in ("kfold", "leave_one_batch_out"):
            if target == "batch" and scheme == "leave_one_batch_out":
                continue
            for classifier in ("logistic", "knn"):
                centre = bio if target == "label" else 1.1 - batch
                centre -= 0.08 if scheme == "leave_one_batch_out" else 0
                for fold in ("0", "1", "mean", "sd"):
                    for metric in ("auroc", "balanced_accuracy", "accuracy", "macro_f1"):
                        is_tested = classifier == "knn" and fold != "sd"
                        value = 0.02 if fold == "sd" else float(np.clip(centre + rng.normal(0, 0.02), 0, 1))
                        rows.append(
                            {
                                **identity(row),
                                "batch_key": "batch",
                                "label_key": "cell_type",
                                "target": target,
                                "scheme": scheme,
                                "classifier": classifier,
                                "fold": fold,
                                "group": "all",
                                "metric": metric,
                                "value": value,
                                "n_test": 240,
                                "baseline_majority": 1 / len(classes),
                                "baseline_permuted": 1 / len(classes) + 0.01,
                                "permuted_q95": 1 / len(classes) + 0.05 if is_tested else np.nan,
                                "p_value": (0.002 if value > 0.6 else 0.4) if is_tested else np.nan,
                                "status": "ok",
                                "reason": "",
                            }
                        )
    return pd.DataFrame(rows)


def centroid_rows(row, rng: np.random.Generator) -> pd.DataFrame:
    """Return centroids of every batch and label: ``HSC`` lies in one batch only; ``pbmc`` has maps, ``ifnb`` none."""
    _, _, _, batch = METHODS[row.method]
    facts = DATASETS[row.dataset]
    groups = [
        (b, x) for b in facts["batches"] for x in facts["labels"] if x != "HSC" or b == next(iter(facts["batches"]))
    ]
    rows = []
    for name, label in groups:
        others = [g for g in groups if g[0] != name]
        likes = [g for g in others if g[1] == label]
        good = bool(rng.random() < batch)
        near = (likes if good and likes else others)[0]
        place = rng.normal(size=4) if row.dataset == "pbmc" else [np.nan] * 4
        rows.append(
            {
                "dataset": row.dataset,
                "embedding": row.embedding,
                "method": row.method,
                "family": row.family,
                "correction": row.correction,
                "seed": row.seed,
                "batch_key": "batch",
                "label_key": "cell_type",
                "batch": name,
                "label": label,
                "n_cells": 40,
                "nearest_batch": near[0],
                "nearest_label": near[1],
                "aligned": near[1] == label if likes else pd.NA,
                "chance": len(likes) / len(others) if likes else np.nan,
                **dict(zip(("umap_1", "umap_2", "tsne_1", "tsne_2"), place, strict=True)),
            }
        )
    return pd.DataFrame(rows)


def load_metrics() -> pd.DataFrame:
    """Return the project's table of metrics."""
    from scfm.report.tables.load import read_metrics

    return read_metrics(ASSETS / "metrics.tsv", "full")


def write_facts(results: Path, dataset: str) -> None:
    """Write what PREPARE_DATASET says of a data set."""
    facts = DATASETS[dataset]
    write_json(
        results / f"{dataset}.facts.json",
        {
            "n_cells": sum(facts["batches"].values()),
            "n_genes": 1767,
            "n_hvg": 1000,
            "batches": facts["batches"],
            "labels": facts["labels"],
            "batch_role": "biological" if dataset == "ifnb" else "technical",
            "keys": {"batch": "batch", "label": "cell_type"},
            "key_pairs": [
                {
                    "batch_key": "batch",
                    "label_key": "cell_type",
                    "is_primary": True,
                    "n_scored": sum(facts["labels"].values()),
                    "batches": facts["batches"],
                    "labels": facts["labels"],
                }
            ],
            "dropped": {"no_label": 4} if dataset == "pbmc" else {},
            "warnings": [message("W-BAL-01", reasons="Batch sizes differ 4-fold", absent="", dataset=dataset)],
        },
    )


def write_design(results: Path, dataset: str) -> None:
    """Write what DESCRIBE_DESIGN says of cells drawn for a data set."""
    from scfm.design.describe import describe_design
    from scfm.design.limits import DesignLimits
    from scfm.design.write import write_design as write

    facts, rng = DATASETS[dataset], np.random.default_rng(0)
    batch = np.repeat(list(facts["batches"]), list(facts["batches"].values()))
    label = rng.permutation(np.repeat(list(facts["labels"]), list(facts["labels"].values())))[: len(batch)]
    label = np.concatenate([label, rng.choice(list(facts["labels"]), len(batch) - len(label))])
    obs = pd.DataFrame({"cell_id": [f"c{i}" for i in range(len(batch))], "batch": batch, "label": label})
    obs = obs.assign(condition=None, donor=None, tissue=None, sample=batch, n_counts=100.0, n_genes=9, scored=True)
    obs = obs.assign(**{"batch:batch": batch, "label:cell_type": label})
    scores = rng.normal(size=(len(batch), 3)) + (batch == batch[0])[:, None]
    row = {"dataset": dataset, "batch_key": "batch", "label_key": "cell_type"}
    write(describe_design(obs, scores, row=row, limits=DesignLimits()), results)
    about = {"dataset": dataset, "embedding": "", "step": "design", "status": "ok", "reason": "", "reason_code": ""}
    write_json(results / f"{dataset}.design.status.json", about)


def write_plot(path: Path, width: int = 900, height: int = 420) -> None:
    """Write a picture that is not empty."""
    from PIL import Image

    rng = np.random.default_rng(len(path.name))
    picture = np.full((height, width, 3), 255, dtype=np.uint8)
    points = rng.normal(0.5, 0.13, (4000, 2)) * [height, width]
    keep = (points > 0).all(axis=1) & (points < [height, width]).all(axis=1)
    picture[tuple(points[keep].astype(int).T)] = rng.integers(0, 200, (int(keep.sum()), 3))
    Image.fromarray(picture).save(path)


def write_history(path: Path, rng: np.random.Generator) -> None:
    """Write a loss history that overfits after epoch 30."""
    epochs = np.arange(60)
    train = 400 + 300 * np.exp(-epochs / 8)
    validation = train + 8 + np.where(epochs > 30, (epochs - 30) * 1.5, 0) + rng.normal(0, 0.5, 60)
    write_table(
        pd.DataFrame({"epoch": epochs, "elbo_train": train, "elbo_validation": validation}),
        str(path).replace(".csv", ".tsv"),
    )
    pd.DataFrame({"epoch": epochs, "elbo_train": train, "elbo_validation": validation}).to_csv(path, index=False)
    Path(str(path).replace(".csv", ".tsv")).unlink()


#: data sets that are pilots
PILOTS = {"ifnb": {"pilot_of": "atlas", "pilot_cells": 900, "full_cells": 90_000}}


def write_run(root: Path, *, seed: int = 0, datasets=tuple(DATASETS), methods=tuple(METHODS)) -> Run:
    """Write a whole run.

    In ``ifnb`` ComBat fails at ``embed`` with a reason; in ``pbmc`` the imported embedding passes the validation gate
    but leaves no scores at all, and Scanorama has lost seven cells, so that all others are scored again without them.
    """
    results, plots, histories = (root / name for name in ("results", "plots", "histories"))
    for folder in (results, plots, histories):
        folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    plan, metrics = plan_rows(datasets, methods), load_metrics()
    points = point_rows("pbmc") if "pbmc" in datasets and "harmony" in methods else plan.iloc[:0]
    write_table(pd.concat([plan, points], ignore_index=True), root / "plan.tsv")
    write_json(
        root / "datasets.json",
        [
            {
                "dataset": d,
                "h5ad": f"{d}.h5ad",
                "batch_key": "batch",
                "label_key": "cell_type",
                "condition_key": "condition" if d == datasets[-1] else "",
                "gmt": "sets.gmt" if d == datasets[-1] else "",
                "n_cells": sum(DATASETS[d]["batches"].values()),
                **PILOTS.get(d, {}),
            }
            for d in datasets
        ],
    )
    write_json(
        root / "input_warnings.json",
        [
            message("E-IN-03/label", n_cells=1200, dataset=datasets[0], values={"n_missing": 4, "key": "cell_type"}),
        ],
    )
    for dataset in datasets:
        write_facts(results, dataset)
        write_design(results, dataset)
    write_de(results, datasets[-1])
    write_orthogonal(results, datasets[-1])
    write_query(results, datasets[-1])
    for row in plan.itertuples():
        _write_embedding(results, row, metrics, rng)
        if not (row.dataset == "ifnb" and row.method == "combat"):
            for key in ("batch", "label"):
                write_plot(plots / f"{row.dataset}.{row.embedding}.umap_{key}.png")
        if row.method == "scvi" and row.correction == "raw":
            write_history(histories / f"{row.dataset}.{row.embedding}.history.csv", rng)
    for row in points.itertuples():
        _write_point(results, row, metrics, np.random.default_rng(int(row.seed)))
    write_diagnosis(results, plan)
    if "pbmc" in datasets:
        for kind in ("common", "held_out"):
            _write_pass(results, plan[plan["dataset"] == "pbmc"], metrics, kind)
    for family in sorted(plan["family"].unique()):
        write_plot(plots / f"{datasets[0]}.{family}.umap_gallery.png", 1800, 700)
    (root / "params.json").write_text(
        json.dumps({"metrics_profile": "full", "total_weights": "0.6,0.5", "seeds": "0,1"})
    )
    (root / "versions.yml").write_text(
        'SCVI:\n  python: "3.11.7"\n  scvi-tools: "1.4.2"\nWorkflow:\n  scfmbench: "0.1.0"\n'
    )
    (root / "trace.tsv").write_text(
        "task_id\tname\tstatus\texit\tattempt\trealtime\tpeak_rss\n"
        "1\tNFCORE:PREPARE_DATASET (pbmc)\tCOMPLETED\t0\t1\t1m 3s\t1.5 GB\n"
        "2\tSCFM:SCORE_EMBEDDING (pbmc.mymodel.raw.0)\tFAILED\t137\t1\t250\t1048576\n"
        "3\tSCFM:SCORE_EMBEDDING (pbmc.mymodel.raw.0)\tFAILED\t137\t2\t250\t-\n"
    )
    return Run(
        root,
        root / "plan.tsv",
        root / "datasets.json",
        root / "input_warnings.json",
        results,
        root / "params.json",
        root / "trace.tsv",
        root / "versions.yml",
        plots,
        histories,
    )


def _write_point(results: Path, row, metrics: pd.DataFrame, rng: np.random.Generator) -> None:
    """Write what the steps leave of a point of a sweep: scores, and nothing after them."""
    name = f"{row.dataset}.{row.embedding}"
    write_json(results / f"{name}.json", sidecar_of(row, sum(DATASETS[row.dataset]["batches"].values())))
    write_table(score_rows(row, metrics, rng), results / f"{name}.scores.tsv")
    for step in ("embed", "validate", "neighbors", "score"):
        write_json(results / f"{name}.{step}.status.json", status_of(row, step))


def _write_embedding(results: Path, row, metrics: pd.DataFrame, rng: np.random.Generator) -> None:
    """Write the files that the steps of one embedding leave."""
    from scfm.report.tables.status import steps_of

    stem = f"{row.dataset}.{row.embedding}"
    if row.dataset == "ifnb" and row.method == "combat":
        if row.correction == "raw":
            write_json(results / f"{stem}.embed.status.json", status_of(row, "embed", "failed", FAILURE, "ScfmError"))
        return
    missing = row.dataset == "pbmc" and row.method == "mymodel" and row.correction == "raw"
    for step in steps_of(row.correction):
        if not (missing and step == "score"):
            write_json(results / f"{stem}.{step}.status.json", status_of(row, step))
    lost = 7 if row.method == "scanorama" and row.dataset == "pbmc" and row.correction == "raw" else 0
    write_json(results / f"{stem}.json", sidecar_of(row, sum(DATASETS[row.dataset]["batches"].values()), lost=lost))
    if not missing:
        write_table(score_rows(row, metrics, rng), results / f"{stem}.scores.tsv")
    write_table(probing_rows(row, rng), results / f"{stem}.probing.tsv")
    write_table(centroid_rows(row, np.random.default_rng(len(stem))), results / f"{stem}.centroids.tsv")


def _write_pass(results: Path, plan: pd.DataFrame, metrics: pd.DataFrame, kind: str) -> None:
    """Write what a further pass leaves: the list of its cells, and the scores on them."""
    n_cells = sum(DATASETS["pbmc"]["labels"].values())
    facts = {"dataset": "pbmc", "n_scored": n_cells, "n_common": n_cells - 7, "differ": True}
    ranked = sorted(plan.loc[~plan["is_control"], "embedding"])
    write_json(results / f"pbmc.{kind}.json", facts | {"ranked": ranked, "embeddings": sorted(plan["embedding"])})
    rng = np.random.default_rng(3)
    for row in plan.itertuples():
        stem, rows = f"pbmc.{row.embedding}", score_rows(row, metrics, rng)
        own = results / f"{stem}.scores.tsv"
        rows = read_table(own) if own.exists() else rows
        write_table(rows, results / f"{stem}.scores_{kind}.tsv")
        write_json(results / f"{stem}.score_{kind}.status.json", status_of(row, f"score_{kind}"))


def report_data(root: Path, **options) -> "ReportData":
    """Write a run, collect it, and return what the report reads; ``options`` are those of :func:`write_run`."""
    return collected(write_run(root / "run", **options), root / "tables")


def identity(row: tuple) -> dict[str, object]:
    """Return which embedding a row of the plan is about."""
    return {column: getattr(row, column) for column in IDENTITY}


def collected(run: Run, tables: Path) -> ReportData:
    """Collect the tables of a run into a folder and return the report data made from them."""
    collect(run, tables)
    return read_report(run, tables)


def collect(run: Run, tables: Path) -> None:
    """Collect the tables of a run into a folder."""
    collect_results(
        plan=run.plan,
        datasets=run.datasets,
        results=[run.results],
        metrics_table=ASSETS / "metrics.tsv",
        methods_table=ASSETS / "methods.tsv",
        params=read_json(run.params),
        messages=run.messages,
        trace=run.trace,
        outdir=tables,
    )


def read_report(run: Run, tables: Path) -> ReportData:
    """Return the report data of a run whose tables are collected."""
    return load_report_data(
        tables=tables,
        plan=run.plan,
        assets=ASSETS,
        params=run.params,
        versions=run.versions,
        plots=run.plots,
        histories=run.histories,
    )


def collect_command(run: Run, tables: Path) -> list[str]:
    """Return the command line that collects the tables of a run into a folder, without a trace."""
    options = {
        "--plan": run.plan,
        "--datasets": run.datasets,
        "--messages": run.messages,
        "--results": run.results,
        "--metrics_table": ASSETS / "metrics.tsv",
        "--methods_table": ASSETS / "methods.tsv",
        "--params": run.params,
        "--outdir": tables,
    }
    script = ASSETS.parent / "bin" / "collect_results.py"
    return [sys.executable, str(script), *(str(word) for option in options.items() for word in option)]
