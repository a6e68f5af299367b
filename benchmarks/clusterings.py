#!/usr/bin/env python3
"""Time five seeds of Leiden and k-means, beside the search of the resolution and all other metrics, in one run.

Prints CPU seconds and shares, in one thread. Example::

    python benchmarks/clusterings.py --h5ad ../shared/data/pbmc_3tech.h5ad --batch batch --label cell_type
    python benchmarks/clusterings.py --cells 10000
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "bin")]

from scfm.task.resources import limit_threads  # noqa: E402

# ruff: noqa: T201


def read_data(path: Path, batch: str, label: str, dims: int) -> Any:
    """Return inputs of metrics of the uncorrected PCA of a data set."""
    import anndata as ad
    import numpy as np
    import scipy.sparse as sp

    from scfm.metrics.inputs import Groups, MetricInputs
    from scfm.neighbors.search import find_neighbors

    data = ad.read_h5ad(path)
    data = data[data.obs_names.sort_values()]
    counts = sp.csr_array(data.X)
    values = np.log1p((counts.T * (1e4 / counts.sum(axis=1))).T.toarray())
    left, size, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    pca = (left[:, :dims] * size[:dims]).astype(np.float32)
    ids = np.asarray(data.obs_names, dtype=object)
    labels, batches = (Groups.of(data.obs[key].astype(str).to_numpy()) for key in (label, batch))
    return MetricInputs(ids, labels, batches, pca, find_neighbors(pca, ids), pca)


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of a call, and what it gave."""
    start = time.process_time()
    found = function()
    return time.process_time() - start, found


def measure(data: Any) -> dict[str, float]:
    """Return CPU seconds of each part of the metrics of the profile ``standard``."""
    from dataclasses import replace

    from scfm.metrics.connectivities import umap_connectivities
    from scfm.metrics.kmeans import kmeans_clusters
    from scfm.metrics.leiden import RESOLUTIONS, K, _Network, best_agreement
    from scfm.metrics.registry import load_metrics, metrics_of
    from scfm.metrics.scoring import score

    who = {"dataset": "d", "embedding": "pca.raw.0", "method": "pca", "family": "none", "correction": "raw", "seed": 0}
    rest = [m for m in metrics_of(load_metrics(), "standard") if not m.name.startswith(("leiden", "kmeans"))]
    near = data.nearest(K)
    fresh = replace(data, _kept={})
    parts = {"other metrics": seconds(lambda: score(fresh, rest, who))[0]}
    parts["Leiden, graph"], network = seconds(lambda: _Network(umap_connectivities(near.indices, near.distances)))
    parts["Leiden, ten resolutions, seed 42"], found = seconds(lambda: [network.clusters(r, 42) for r in RESOLUTIONS])
    best = best_agreement(found, data.labels.codes)
    parts["Leiden, four further seeds"] = seconds(
        lambda: [network.clusters(best.resolution, s) for s in range(43, 47)]
    )[0]
    n_labels, values = len(data.labels.names), data.values()
    parts["k-means, seed 0"] = seconds(lambda: kmeans_clusters(values, n_labels, 0))[0]
    parts["k-means, four further seeds"] = seconds(lambda: [kmeans_clusters(values, n_labels, s) for s in range(1, 5)])[
        0
    ]
    return parts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--h5ad", type=Path, help="counts in X; without it cells are simulated")
    parser.add_argument("--batch", help="key of the batches")
    parser.add_argument("--label", help="key of the labels")
    parser.add_argument("--cells", type=int, default=10_000, help="simulated cells")
    parser.add_argument("--dims", type=int, default=50, help="components")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the median is printed")
    args = parser.parse_args()
    limit_threads(1)

    import statistics

    from metrics import make_data

    data = read_data(args.h5ad, args.batch, args.label, args.dims) if args.h5ad else make_data(args.cells, args.dims, 0)
    rounds = [measure(data) for _ in range(args.rounds)]
    parts = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
    total = sum(parts.values())
    print(f"{data.n_cells} cells x {data.values().shape[1]}: {total:.2f} s of CPU")
    for name, value in parts.items():
        print(f"{value:8.2f} s  {value / total:5.0%}  {name}")


if __name__ == "__main__":
    main()
