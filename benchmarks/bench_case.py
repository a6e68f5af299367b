#!/usr/bin/env python3
"""Run one case of ``benchmarks/bench.py`` in a process of its own.

Prints a line of JSON after every step, the last with everything: a case that is stopped keeps the steps it completed.

``python benchmarks/bench_case.py '{"what": "ours", "cells": 2000, "dims": 50, "embeddings": 1, "cpus": 1}'``
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "bin")]

from scfm.task.resources import limit_threads, peak_rss_mb, versions_of  # noqa: E402

# ruff: noqa: T201

N_LABELS, N_BATCHES = 12, 5
_PEERS = ["scib-metrics", "scib", "faiss-cpu", "hnswlib", "usearch", "pynndescent"]
PACKAGES = ["numpy", "scipy", "scikit-learn", "igraph", *_PEERS]
STEPS: dict[str, dict[str, float]] = {}


@contextmanager
def measured(name: str) -> Iterator[None]:
    """Add CPU and wall seconds of the body to a step, and the largest memory of the process up to its end."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    step = STEPS.setdefault(name, {"cpu_s": 0.0, "wall_s": 0.0})
    step["cpu_s"] += time.process_time() - cpu
    step["wall_s"] += time.perf_counter() - wall
    step["peak_mb"] = peak_rss_mb()
    print(json.dumps({"steps": STEPS}), flush=True)


def make_embedding(cells: int, dims: int, seed: int) -> tuple[Any, Any, Any]:
    """Return an embedding with labels of unequal size and shifted batches, its variance falling as in a PCA.

    Returns
    -------
    Coordinates (n_cells, n_dims) float32; label and batch of every cell, int.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    share = np.arange(1, N_LABELS + 1) / np.arange(1, N_LABELS + 1).sum()
    labels, batches = rng.choice(N_LABELS, cells, p=share), rng.choice(N_BATCHES, cells)
    scale = 3 * (np.arange(dims) + 1.0) ** -0.5
    values = rng.standard_normal((cells, dims), dtype=np.float32) * scale.astype(np.float32)
    values += (rng.standard_normal((N_LABELS, dims)) * scale).astype(np.float32)[labels]
    values += (0.2 * rng.standard_normal((N_BATCHES, dims)) * scale).astype(np.float32)[batches]
    return values, labels, batches


def make_obs(labels: Any, batches: Any) -> Any:
    """Return labels and batches as an obs table of categories."""
    import pandas as pd

    obs = pd.DataFrame({"label": labels.astype(str), "batch": batches.astype(str)}).astype("category")
    return obs.set_axis(obs.index.astype(str))


def run_ours(case: dict[str, Any]) -> dict[str, Any]:
    """Neighbours and the profile ``standard``, as the steps of the pipeline compute them."""
    import numpy as np

    from scfm.metrics.inputs import CLUSTERING_SEEDS, Groups, MetricInputs
    from scfm.metrics.registry import load_metrics, metrics_of
    from scfm.metrics.scoring import run_metric
    from scfm.neighbors.search import find_neighbors

    values_of: dict[str, list[Any]] = {}
    for seed in range(case["embeddings"]):
        values, labels, batches = make_embedding(case["cells"], case["dims"], seed)
        ids = np.array([f"cell_{i:07d}" for i in range(len(values))], dtype=object)
        with measured("neighbours"):
            near = find_neighbors(values, ids)
        print(json.dumps({"steps": STEPS, "recall": near.search.recall}), flush=True)
        groups = (Groups.of(g) for g in (labels, batches))
        data = MetricInputs(ids, *groups, values, near, values, n_seeds=CLUSTERING_SEEDS["standard"])
        for metric in metrics_of(load_metrics(), "standard"):
            with measured(metric.name):
                status, result = run_metric(metric, data)
            values_of[metric.name] = [status, result.overall.value, result.overall.stderr]
    return {"recall": near.search.recall, "lists": [near.search.n_read, near.search.n_lists], "values": values_of}


def run_benchmarker(case: dict[str, Any]) -> dict[str, Any]:
    """The Benchmarker of scib-metrics with its default metrics."""
    import anndata as ad
    import numpy as np
    from scib_metrics.benchmark import Benchmarker

    tables = [make_embedding(case["cells"], case["dims"], seed) for seed in range(case["embeddings"])]
    obs = make_obs(*tables[0][1:])
    adata = ad.AnnData(np.zeros((len(obs), 1), dtype=np.float32), obs=obs)
    for i, (values, *_) in enumerate(tables):
        adata.obsm[f"X_{i}"] = values
    keys = list(adata.obsm)
    with measured("benchmarker"):
        judge = Benchmarker(
            adata, "batch", "label", keys, pre_integrated_embedding_obsm_key=keys[0], n_jobs=case["cpus"]
        )
        judge.benchmark()
    return {"values": judge.get_results(min_max_scale=False).iloc[0].astype(str).to_dict()}


def run_scib(case: dict[str, Any]) -> dict[str, Any]:
    """Metrics of embeddings by scib, as it computes them for each; without kBET, which it has from a package of R."""
    import contextlib
    import warnings

    import anndata as ad
    import scanpy as sc
    from scib.metrics import metrics

    warnings.simplefilter("ignore")
    wanted = ["isolated_labels_asw_", "silhouette_", "nmi_", "ari_", "pcr_", "graph_conn_", "ilisi_", "clisi_"]
    for seed in range(case["embeddings"]):
        values, labels, batches = make_embedding(case["cells"], case["dims"], seed)
        adata = ad.AnnData(values, obs=make_obs(labels, batches), obsm={"X_emb": values})
        with measured("scib"), contextlib.redirect_stdout(sys.stderr):
            sc.pp.neighbors(adata, use_rep="X_emb")
            how = {"embed": "X_emb", "type_": "embed", "n_cores": case["cpus"]} | dict.fromkeys(wanted, True)
            found = metrics(adata.copy(), adata, "batch", "label", **how)
    return {"values": found[0].dropna().to_dict()}


def search_with(library: str, values: Any, k: int, cpus: int) -> Any:
    """Return the k nearest cells of every cell by a library, self counted, shape (n_cells, k)."""
    n, d = values.shape
    if library == "scfmbench":
        from scfm.neighbors.exact import by_position
        from scfm.neighbors.inverted import nearly_nearest

        return nearly_nearest(values, k, ties=by_position, seed=0)[0]
    if library == "exact":
        from scfm.neighbors.exact import by_position, nearest

        return nearest(values, k, ties=by_position)[0]
    if library == "faiss":
        import faiss

        faiss.omp_set_num_threads(cpus)
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, int(4 * n**0.5))
        index.train(values)
        index.add(values)
        index.nprobe = 64
        return index.search(values, k)[1]
    if library == "hnswlib":
        import hnswlib

        index = hnswlib.Index("l2", d)
        index.init_index(n, ef_construction=200, M=16, random_seed=0)
        index.add_items(values, num_threads=1)
        index.set_ef(200)
        return index.knn_query(values, k, num_threads=cpus)[0]
    if library == "usearch":
        import numpy as np
        from usearch.index import Index

        index = Index(ndim=d, metric="l2sq", dtype="f32", expansion_search=200)
        index.add(np.arange(n), values, threads=1)
        return index.search(values, k, threads=cpus).keys.astype(int)
    from pynndescent import NNDescent

    index = NNDescent(values, n_neighbors=k, random_state=0, n_jobs=cpus, max_candidates=60, low_memory=True)
    return index.neighbor_graph[0]


def run_search(case: dict[str, Any]) -> dict[str, Any]:
    """One library's search: recall on 1,000 cells, and a checksum that shows whether threads change the result."""
    import hashlib

    import numpy as np

    from scfm.neighbors.exact import by_position, nearest

    values, *_ = make_embedding(case["cells"], case["dims"], 0)
    with measured("search"):
        found = np.ascontiguousarray(search_with(case["library"], values, 90, case["cpus"]), dtype=np.int64)
    rows = np.sort(np.random.default_rng(7).choice(len(values), 1000, replace=False))
    truth, _ = nearest(values, 90, ties=by_position, rows=rows)
    recall = np.mean([len(np.intersect1d(a, b)) / 90 for a, b in zip(found[rows], truth, strict=True)])
    return {"recall": float(recall), "checksum": hashlib.sha256(found.tobytes()).hexdigest()[:16]}


def run_probing(case: dict[str, Any]) -> dict[str, Any]:
    """Our probe, or the loop of scikit-learn that it is compared with (``benchmarks/probing.py``).

    Neighbours are a step of their own, as in the pipeline, whose metrics need them too. Up to 30,000 cells the losses
    of one fold are computed after it, outside the measured part.
    """
    from probing import losses, make_study, plain_loop

    from scfm.neighbors.search import find_neighbors
    from scfm.probing.probe import ProbeSettings, probe
    from scfm.probing.splits import make_splits, scored_cells

    obs, values = make_study(case["cells"], case["dims"], n_labels=N_LABELS, n_batches=N_BATCHES)
    if case.get("separable"):
        axis = obs["label"].astype(int).to_numpy()  # a coordinate of its own for every label
        values[range(len(values)), axis] += 40 * values.std()
    splits = make_splits(obs, n_folds=5, seed=123)
    if case["peer"]:
        with measured("probing"):
            plain_loop(obs, values, splits)
        return {}
    with measured("neighbours"):
        near = find_neighbors(values, obs["cell_id"].to_numpy())
    with measured("probing"):
        _, notes = probe(scored_cells(obs), values, splits, ProbeSettings(balanced=False), known=near)
    effects = [effect for note in notes if note["code"] == "I-PRB-03" for effect in note["values"]["effects"]]
    return {"effects": effects} | (losses(obs, values, splits) if case["cells"] <= 30_000 else {})


def run_intervals(case: dict[str, Any]) -> dict[str, Any]:
    """Coverage of the intervals of sampled metrics (``benchmarks/intervals.py``)."""
    from intervals import intervals

    with measured("intervals"):
        return {"metrics": intervals(case["cells"], case["draws"])}


def run_preparation(case: dict[str, Any]) -> dict[str, Any]:
    """Check and preparation of a file of counts (``benchmarks/preparation.py``), scanpy's steps on it where asked."""
    import tempfile

    from preparation import run_case

    with tempfile.TemporaryDirectory() as folder:
        return run_case(case["cells"], Path(folder), with_scanpy=case["peer"], methods=[])


RUNNERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "ours": run_ours,
    "benchmarker": run_benchmarker,
    "scib": run_scib,
    "search": run_search,
    "probing": run_probing,
    "intervals": run_intervals,
    "preparation": run_preparation,
}


def main() -> None:
    """Run the case of the first argument."""
    case = json.loads(sys.argv[1])
    limit_threads(case["cpus"])
    try:
        found = RUNNERS[case["what"]](case)
    except ImportError as error:
        found = {"missing": error.name or str(error)}
    print(json.dumps({**found, "steps": STEPS, "peak_mb": peak_rss_mb(), "versions": versions_of(PACKAGES)}))


if __name__ == "__main__":
    main()
