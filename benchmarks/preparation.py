#!/usr/bin/env python3
"""Time and peak memory of the check of the inputs and of the preparation, on simulated counts of any size.

    python benchmarks/preparation.py --cells 100000 1000000 --scratch DIR --json preparation.json

Writes a sparse h5ad of cells x 20,000 genes (median about 500 genes a cell, 8 types, 5 batches) chunk by chunk, then
runs ``bin/check_inputs.py`` and ``bin/prepare_dataset.py`` on it, each as a process of its own. The JSON has one case
per number of cells and, between two cases, the slopes of time and memory (log-log). A million cells need 10 GB of disk.
``--scanpy`` also times scanpy's own steps on the file in memory,
``--methods harmony scanorama`` times methods on what was prepared. The files are removed unless ``--keep`` is given.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "bin")]

N_GENES, N_TYPES, N_BATCHES = 20_000, 8, 5
#: molecules of a cell: median and spread of the logarithms
DEPTH, SPREAD = 590, 0.35
CHUNK = 4096

SCANPY = """
import sys, anndata as ad, scanpy as sc
data = ad.read_h5ad(sys.argv[1])
sc.pp.normalize_total(data, target_sum=1e4)
sc.pp.log1p(data)
sc.pp.highly_variable_genes(data, flavor="cell_ranger", n_top_genes=2000, batch_key="batch")
sc.pp.pca(data, n_comps=50, mask_var="highly_variable")
data.write_h5ad(sys.argv[2], compression="gzip")
"""


def write_file(path: Path, n_cells: int, n_genes: int = N_GENES, molecules: float = DEPTH) -> dict[str, float]:
    """Write simulated counts: molecules fall on genes by a profile of the cell's type and batch.

    Returns
    -------
    ``n_values``, ``median_genes``.
    """
    import anndata as ad
    import numpy as np
    import pandas as pd
    from scipy import sparse

    from scfm.io.csr import CsrWriter
    from scfm.io.hdf5 import put_anndata, writing_hdf5

    rng = np.random.default_rng(0)
    logs = 1.8 * rng.standard_normal(n_genes)
    logs = logs + 0.7 * rng.standard_normal((N_TYPES, 1, n_genes)) * (rng.random((N_TYPES, 1, n_genes)) < 0.2)
    logs = (logs + 0.2 * rng.standard_normal((1, N_BATCHES, n_genes))).reshape(-1, n_genes)
    profiles = np.cumsum(np.exp(logs), axis=1)
    profiles /= profiles[:, -1:]
    kind, batch = rng.integers(0, N_TYPES, n_cells), rng.integers(0, N_BATCHES, n_cells)
    depth = (molecules * np.exp(SPREAD * rng.standard_normal(n_cells))).astype(int) + 1
    width = len(str(n_cells))
    ids = pd.Index([f"cell_{i:0{width}d}" for i in rng.permutation(n_cells)])  # not in the order of the file
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical.from_codes(batch, [f"batch_{i}" for i in range(N_BATCHES)]),
            "cell_type": pd.Categorical.from_codes(kind, [f"type_{i}" for i in range(N_TYPES)]),
        },
        index=ids,
    )
    var = pd.DataFrame(index=[f"ENSG{j:011d}" for j in range(n_genes)])
    genes = []
    with writing_hdf5(path) as file:
        put_anndata(file, ad.AnnData(obs=obs, var=var))
        writer = CsrWriter(file, n_genes)
        for start in range(0, n_cells, CHUNK):
            rows = slice(start, min(start + CHUNK, n_cells))
            profile, sizes = (kind * N_BATCHES + batch)[rows], depth[rows]
            cell, drawn = np.repeat(np.arange(len(sizes)), sizes), np.empty(sizes.sum(), dtype=np.int64)
            for number in np.unique(profile):
                own = profile[cell] == number
                drawn[own] = np.searchsorted(profiles[number], rng.random(int(own.sum())))
            places, counts = np.unique(cell * n_genes + np.minimum(drawn, n_genes - 1), return_counts=True)
            shape = (len(sizes), n_genes)
            chunk = sparse.csr_matrix((counts.astype(np.float32), np.divmod(places, n_genes)), shape=shape)
            genes.append(np.diff(chunk.indptr))
            writer.append(chunk)
        writer.close()
    genes = np.concatenate(genes)
    return {"n_values": int(genes.sum()), "median_genes": float(np.median(genes))}


def measure(command: list[str], cwd: Path) -> dict[str, float]:
    """Run a command; return its wall and CPU seconds and its peak resident memory in MB."""
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.chdir(cwd)
        os.execvp(command[0], command)
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command[:2])} ended with {os.waitstatus_to_exitcode(status)}")
    cpu = usage.ru_utime + usage.ru_stime
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_rss_mb": round(usage.ru_maxrss / 1024, 1),
    }


def run_case(n_cells: int, folder: Path, *, with_scanpy: bool, methods: list[str]) -> dict[str, Any]:
    """Write the file of one size and run the steps on it."""
    folder.mkdir(parents=True, exist_ok=True)
    path, python = folder / "cells.h5ad", sys.executable
    result: dict[str, Any] = {"benchmark": "preparation", "n_cells": n_cells, "n_genes": N_GENES}
    result |= write_file(path, n_cells) | {"file_mb": round(path.stat().st_size / 1e6, 1)}
    sheet = folder / "samplesheet.csv"
    sheet.write_text(f"dataset,h5ad,batch_key,label_key\nsim,{path.name},batch,cell_type\n")
    params = folder / "params.json"
    params.write_text(json.dumps({"input": str(sheet), "outdir": "results"}))
    schema = str(HERE.parent / "nextflow_schema.json")
    check = [python, str(HERE.parent / "bin" / "check_inputs.py"), "--params", str(params), "--input", str(sheet)]
    result["check"] = measure([*check, "--outdir", str(folder), "--fail", "--quiet"], folder)
    prepare = [python, str(HERE.parent / "bin" / "prepare_dataset.py"), "--dataset", "sim", "--quiet"]
    prepare += ["--datasets", str(folder / "datasets.json"), "--h5ad", str(path), "--params", str(params)]
    result["prepare"] = measure([*prepare, "--schema", schema, "--outdir", str(folder / "out")], folder)
    status = json.loads((folder / "out" / "sim.prepare.status.json").read_text())
    if status["status"] != "ok":
        raise SystemExit(status["reason"])
    result["prepared_mb"] = round((folder / "out" / "sim.prepared.h5ad").stat().st_size / 1e6, 1)
    if with_scanpy:
        result["scanpy"] = measure([python, "-c", SCANPY, str(path), str(folder / "scanpy.h5ad")], folder)
    table = str(HERE.parent / "assets" / "methods.tsv")
    for method in methods:
        files = {part: str(folder / "out" / f"sim.{part}") for part in ("obs.parquet", "pca.parquet", "prepared.h5ad")}
        command = [python, str(HERE.parent / "bin" / "integrate_cells.py"), "--method", method, "--dataset", "sim"]
        command += ["--obs", files["obs.parquet"], "--pca", files["pca.parquet"], "--prepared", files["prepared.h5ad"]]
        command += ["--params", str(params), "--methods_table", table, "--outdir", str(folder / method), "--quiet"]
        result[method] = measure(command, folder)
        status = json.loads((folder / method / f"sim.{method}.raw.0.embed.status.json").read_text())
        if status["status"] != "ok":
            raise SystemExit(status["reason"])
    return result


def slopes(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the log-log slopes of time and memory between neighbouring sizes."""
    found = []
    for small, large in pairwise(cases):
        factor = math.log(large["n_cells"] / small["n_cells"])
        for step in sorted(name for name, value in large.items() if isinstance(value, dict)):
            of = {m: math.log(large[step][m] / small[step][m]) / factor for m in ("cpu_seconds", "peak_rss_mb")}
            found.append({"from": small["n_cells"], "to": large["n_cells"], "step": step} | of)
    return found


def main() -> None:
    """Run all sizes and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 100_000], help="ascending")
    parser.add_argument("--scratch", type=Path, default=Path("preparation_bench"), help="folder for the files")
    parser.add_argument("--json", type=Path, default=Path("preparation.json"))
    parser.add_argument("--scanpy", action="store_true", help="time scanpy on the same file")
    parser.add_argument("--methods", nargs="*", default=[], help="methods to time")
    parser.add_argument("--keep", action="store_true", help="leave the files")
    args = parser.parse_args()
    cases = []
    for n_cells in args.cells:
        folder = args.scratch / str(n_cells)
        cases.append(run_case(n_cells, folder.resolve(), with_scanpy=args.scanpy, methods=args.methods))
        if not args.keep:
            shutil.rmtree(folder)
        args.json.write_text(json.dumps({"cases": cases, "slopes": slopes(cases)}, indent=1) + "\n")
        print(json.dumps(cases[-1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
