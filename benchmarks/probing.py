#!/usr/bin/env python3
"""Time the probe of one embedding against a plain scikit-learn loop over the same folds.

One command: ``python benchmarks/probing.py`` (about a minute); ``--cells 68000 --dims 1152`` for the study's size.
The plain loop is what one writes first: a pipeline per fold and target for logistic regression and for k nearest
neighbours, once on the true and once on the permuted classes. Both run with the same number of threads.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin"))


def make_study(n_cells: int, n_dims: int, *, n_labels: int, n_batches: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return obs table and a correlated embedding with label and batch signal."""
    rng = np.random.default_rng(0)
    label, batch = rng.integers(0, n_labels, n_cells), rng.integers(0, n_batches, n_cells)
    values = 1.5 * rng.normal(size=(n_labels, n_dims))[label] / np.sqrt(n_dims / 16)
    values += rng.normal(size=(n_batches, n_dims))[batch] / np.sqrt(n_dims / 16) + rng.normal(size=(n_cells, n_dims))
    values = values @ (rng.normal(size=(n_dims, n_dims)) * np.exp(rng.normal(size=n_dims)) / np.sqrt(n_dims))
    obs = pd.DataFrame(
        {
            "cell_id": [f"c{i:06d}" for i in range(n_cells)],
            "batch": batch.astype(str),
            "label": label.astype(str),
            "scored": True,
        }
    )
    return obs, values.astype(np.float32)


def plain_loop(obs: pd.DataFrame, values: np.ndarray, splits: pd.DataFrame) -> dict[tuple, float]:
    """Return mean accuracies by (target, scheme, classifier) from scikit-learn pipelines."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng, found = np.random.default_rng(0), {}
    for (target, scheme), part in splits.groupby(["target", "scheme"]):
        fold = part.set_index("cell_id")["fold"][obs["cell_id"]].to_numpy()
        true = obs[target].to_numpy()
        models = {
            "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
            "knn": KNeighborsClassifier(15, algorithm="brute"),
        }
        for name, model in models.items():
            scores = []
            for held_out in np.unique(fold):
                test = fold == held_out
                scores.append(model.fit(values[~test], true[~test]).score(values[test], true[test]))
                model.fit(values[~test], rng.permutation(true[~test])).predict(values[test])
            found[target, scheme, name] = float(np.mean(scores))
    return found


def losses(obs: pd.DataFrame, values: np.ndarray, splits: pd.DataFrame) -> dict[str, float]:
    """Return the loss of the first label fold: ours, and scikit-learn's as the study calls it; both in float64."""
    from sklearn.linear_model import LogisticRegression

    from scfm.probing.softmax import fit_softmax
    from scfm.probing.softmax_loss import centre_and_scale, in_blocks

    part = splits[(splits["target"] == "label") & (splits["scheme"] == "kfold")].set_index("cell_id")["fold"]
    train = part[obs["cell_id"]].to_numpy() != "0"
    true = np.unique(obs["label"].to_numpy()[train], return_inverse=True)[1]
    mean, scale = centre_and_scale(values[train])
    scaled = (values[train] - mean) / scale
    ones = np.ones(len(true))
    fit = fit_softmax(
        in_blocks(values[train], mean, scale), true, true.max() + 1, c=1, cell_weights=ones, max_iter=1000
    )
    model = LogisticRegression(max_iter=1000).fit(scaled.astype(np.float32), true)
    found = {}
    for name, weights in (("ours", fit.weights), ("sklearn", np.hstack([model.coef_, model.intercept_[:, None]]))):
        logits = scaled @ weights[:, :-1].T.astype(float) + weights[:, -1]
        top = logits.max(axis=1)
        entropy = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top - logits[np.arange(len(true)), true]
        found[f"loss_{name}"] = float(entropy.mean() + (weights[:, :-1].astype(float) ** 2).sum() / 2 / len(true))
    return found


def run_case(n_cells: int, n_dims: int, args: argparse.Namespace) -> dict[str, float]:
    """Return CPU and wall seconds of ours, with and without known neighbours, and of the plain loop, at one size."""
    from scfm.neighbors.search import find_neighbors
    from scfm.probing.probe import ProbeSettings, probe
    from scfm.probing.splits import make_splits, scored_cells

    obs, values = make_study(n_cells, n_dims, n_labels=args.labels, n_batches=args.batches)
    splits, cells = make_splits(obs, n_folds=5, seed=123), scored_cells(obs)
    case = {"benchmark": "probing", "n_cells": n_cells, "n_dims": n_dims, "threads": args.threads}
    known = find_neighbors(values, obs["cell_id"].to_numpy(), k=90, cpus=args.threads)
    settings = ProbeSettings(balanced=False)
    table = None
    for name, neighbors in (("ours", None), ("ours_known_neighbors", known)):
        cpu, wall = time.process_time(), time.perf_counter()
        table, notes = probe(cells, values, splits, settings, known=neighbors, n_threads=args.threads)
        case[f"{name}_cpu_s"], case[f"{name}_s"] = time.process_time() - cpu, time.perf_counter() - wall
    case["effect_of_sample"] = [e for n in notes if n["code"] == "I-PRB-03" for e in n["values"]["effects"]]
    if args.no_reference:
        return case
    cpu, wall = time.process_time(), time.perf_counter()
    reference = plain_loop(obs, values, splits)
    case["sklearn_cpu_s"], case["sklearn_s"] = time.process_time() - cpu, time.perf_counter() - wall
    mean = table[(table["fold"] == "mean") & (table["metric"] == "accuracy") & (table["status"] == "ok")]
    mean = mean.set_index(["target", "scheme", "classifier"])["value"]
    case["max_difference"] = max(abs(mean[key] - value) for key, value in reference.items())
    return case | losses(obs, values, splits)


def main() -> None:
    """Run all sizes, print a line of JSON each, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[1200, 6000])
    parser.add_argument("--dims", type=int, nargs="+", default=[50, 256], help="one for each of --cells")
    parser.add_argument("--labels", type=int, default=12)
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no_reference", action="store_true", help="time ours only")
    parser.add_argument("--json", type=Path, default=Path("probing.json"))
    args = parser.parse_args()

    from threadpoolctl import threadpool_limits

    cases = []
    with threadpool_limits(limits=args.threads):
        run_case(300, 8, argparse.Namespace(**{**vars(args), "no_reference": True}))  # imports and first calls
        for n_cells, n_dims in zip(args.cells, args.dims, strict=True):
            cases.append(run_case(n_cells, n_dims, args))
            args.json.write_text(json.dumps({"cases": cases}, indent=1) + "\n")
            print(json.dumps(cases[-1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
