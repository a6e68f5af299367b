#!/usr/bin/env python3
"""Time our metrics against scib-metrics on the same embedding, neighbours, batches and labels, in one run.

Prints a table (seconds of our function, of scib-metrics' first call with compilation, of its second call, their ratios
to ours, and the difference of the values) and writes the same as JSON. Example::

    python benchmarks/metrics.py --cells 1200 --dims 50 --json metrics_benchmark.json

Needs scib-metrics 0.5.10 in the environment; the pipeline itself does not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin"))

from scfm.task.resources import limit_threads, versions_of

# ruff: noqa: T201


def make_data(cells: int, dims: int, seed: int) -> Any:
    """Return inputs of metrics: 8 overlapping labels of unequal size, 3 batches that are shifted."""
    import numpy as np

    from scfm.metrics.inputs import Groups, MetricInputs
    from scfm.neighbors.search import find_neighbors

    rng = np.random.default_rng(seed)
    share = np.arange(1, 9) / 36
    labels, batches = rng.choice(8, cells, p=share), rng.choice(3, cells)
    before = rng.standard_normal((cells, dims)) + rng.standard_normal((8, dims))[labels]
    shift = rng.standard_normal((3, dims))[batches]
    ids = np.array([f"cell_{i:07d}" for i in range(cells)], dtype=object)
    values = (before + 0.3 * shift).astype(np.float32)
    start = time.perf_counter()
    near = find_neighbors(values, ids)
    print(f"Neighbours of {cells} cells x {dims} dimensions: {time.perf_counter() - start:.2f} s")
    return MetricInputs(ids, Groups.of(labels), Groups.of(batches), values, near, (before + shift).astype(np.float32))


def reference_functions(data: Any) -> dict[str, Callable[[], float]]:
    """Return scib-metrics' functions by the name of our metric; NMI and ARI of a clustering are one call there."""
    import numpy as np
    import scib_metrics as sm
    from scib_metrics.nearest_neighbors import NeighborsResults

    labels = np.array(data.labels.names)[data.labels.codes]
    batches = np.array(data.batches.names)[data.batches.codes]
    near = NeighborsResults(indices=data.neighbors.indices, distances=data.neighbors.distances)
    values = data.coordinates
    return {
        "leiden_nmi": lambda: sm.nmi_ari_cluster_labels_leiden(near.subset_neighbors(15), labels)["nmi"],
        "kmeans_nmi": lambda: sm.nmi_ari_cluster_labels_kmeans(values, labels)["nmi"],
        "silhouette_label": lambda: sm.silhouette_label(values, labels),
        "clisi": lambda: sm.clisi_knn(near, labels),
        "isolated_labels": lambda: sm.isolated_labels(values, labels, batches),
        "bras": lambda: sm.bras(values, labels, batches),
        "ilisi": lambda: sm.ilisi_knn(near, batches),
        "kbet": lambda: sm.kbet_per_label(near.subset_neighbors(50), batches, labels),
        "graph_connectivity": lambda: sm.graph_connectivity(near.subset_neighbors(15), labels),
        "pcr_comparison": lambda: sm.pcr_comparison(data.pca, values, batches, categorical=True),
        "batch_asw": lambda: sm.silhouette_batch(values, labels, batches),
    }


def timed(function: Callable[[], float]) -> tuple[float, float]:
    """Return wall seconds and value of a call."""
    start = time.perf_counter()
    value = float(function())
    return time.perf_counter() - start, value


def import_seconds(module: str) -> float:
    """Return the wall seconds that a fresh interpreter needs to import a module."""
    code = f"import sys; sys.path.insert(0, {sys.path[0]!r}); import {module}"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - start


def compare(data: Any) -> list[dict[str, Any]]:
    """Time both sides metric by metric; ours with nothing kept from a metric before."""
    from dataclasses import replace

    from scfm.metrics.registry import load_metrics

    metrics = load_metrics()
    rows = []
    for name, reference in reference_functions(data).items():
        function = metrics[name].function()
        timed(lambda f=function: f(replace(data, _kept={})).overall.value)  # imports of libraries are told apart
        ours, value = timed(lambda f=function: f(replace(data, _kept={})).overall.value)
        first, _ = timed(reference)
        second, expected = timed(reference)
        rows.append(
            {
                "metric": name,
                "ours_s": ours,
                "scib_first_s": first,
                "scib_second_s": second,
                "ratio_first": first / ours,
                "ratio_second": second / ours,
                "value": value,
                "difference": value - expected,
            }
        )
    return rows


def show(rows: list[dict[str, Any]], imports: dict[str, float]) -> None:
    """Print the table."""
    print(
        f"{'metric':20}{'ours s':>9}{'scib first s':>14}{'scib again s':>14}"
        f"{'x first':>9}{'x again':>9}{'value':>9}{'difference':>12}"
    )
    for r in rows:
        print(
            f"{r['metric']:20}{r['ours_s']:9.3f}{r['scib_first_s']:14.3f}{r['scib_second_s']:14.3f}{r['ratio_first']:9.1f}"
            f"{r['ratio_second']:9.1f}{r['value']:9.4f}{r['difference']:12.1e}"
        )
    ours, first, again = (sum(r[k] for r in rows) for k in ("ours_s", "scib_first_s", "scib_second_s"))
    print(f"{'sum':20}{ours:9.3f}{first:14.3f}{again:14.3f}{first / ours:9.1f}{again / ours:9.1f}")
    print(f"import: ours {imports['ours']:.2f} s, scib_metrics {imports['scib_metrics']:.2f} s")


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=1200)
    parser.add_argument("--dims", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("metrics_benchmark.json"))
    args = parser.parse_args()
    limit_threads(args.cpus)
    data = make_data(args.cells, args.dims, args.seed)
    imports = {
        "ours": import_seconds("scfm.metrics.run, igraph, scipy.sparse.csgraph"),
        "scib_metrics": import_seconds("scib_metrics"),
    }
    rows = compare(data)
    show(rows, imports)
    about = {"cells": args.cells, "dims": args.dims, "seed": args.seed, "cpus": args.cpus}
    versions = versions_of(["scib-metrics", "jax", "numpy", "scipy", "igraph", "scikit-learn"])
    args.json.write_text(
        json.dumps({**about, "versions": versions, "import_s": imports, "metrics": rows}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
