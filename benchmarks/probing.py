#!/usr/bin/env python3
"""Time the probe of one embedding against a plain scikit-learn loop over the same folds.

One command: ``python benchmarks/probing.py`` (about a minute); ``--cells 68000 --dims 1152`` for the study's size.
The plain loop is what one writes first: a pipeline per fold and target for logistic regression and for k nearest
neighbours, once on the true and once on the permuted classes. Both run with the same number of threads.
"""

from __future__ import annotations

import argparse
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


def main() -> None:
    """Run both and print seconds, ratio and the largest difference of the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[1200, 6000])
    parser.add_argument("--dims", type=int, nargs="+", default=[50, 256])
    parser.add_argument("--labels", type=int, default=12)
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no_reference", action="store_true", help="time ours only")
    args = parser.parse_args()

    from threadpoolctl import threadpool_limits

    from scfm.probing.probe import ProbeSettings, probe
    from scfm.probing.splits import make_splits, scored_cells

    # ruff: noqa: T201
    print("cells\tdims\tours_s\tsklearn_s\tratio\tmax_difference")
    with threadpool_limits(limits=args.threads):
        for n_cells, n_dims in zip(args.cells, args.dims, strict=True):
            obs, values = make_study(n_cells, n_dims, n_labels=args.labels, n_batches=args.batches)
            splits = make_splits(obs, n_folds=5, seed=123)
            probe(scored_cells(obs)[:200], values[:200], splits, ProbeSettings())  # imports and first calls
            start = time.perf_counter()
            table, _ = probe(scored_cells(obs), values, splits, ProbeSettings(balanced=False))
            ours = time.perf_counter() - start
            if args.no_reference:
                print(f"{n_cells}\t{n_dims}\t{ours:.2f}\tNA\tNA\tNA", flush=True)
                continue
            start = time.perf_counter()
            reference = plain_loop(obs, values, splits)
            theirs = time.perf_counter() - start
            mean = table[(table["fold"] == "mean") & (table["metric"] == "accuracy") & (table["status"] == "ok")]
            mean = mean.set_index(["target", "scheme", "classifier"])["value"]
            gap = max(abs(mean[key] - value) for key, value in reference.items())
            print(f"{n_cells}\t{n_dims}\t{ours:.2f}\t{theirs:.2f}\t{theirs / ours:.2f}\t{gap:.4f}", flush=True)


if __name__ == "__main__":
    main()
