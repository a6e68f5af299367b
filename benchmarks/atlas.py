#!/usr/bin/env python3
"""Run the whole pipeline on simulated cells and keep time and memory of every step.

    python benchmarks/atlas.py --cells 300000 --folder DIR

Counts are those of ``preparation.py`` (20,000 genes), beside them an embedding of 64 dimensions to import. Methods pca
and harmony, centring, two controls, the profile standard, probing, UMAPs and the report, on 2 cores and 16 GB. A run
that was interrupted is resumed. The result is a JSON file in ``--results``; ``bench_page.py`` writes it into
``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# ruff: noqa: T201

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
sys.path[:0] = [str(HERE), str(PROJECT / "bin")]
DIMS = 64
CORES, MEMORY = 2, "16.GB"
OPTIONS = ["--methods", "pca,harmony", "--corrections", "center", "--controls", "shuffled,label_onehot", "--seeds", "0"]


def write_inputs(folder: Path, n_cells: int) -> None:
    """Write counts, an embedding of the same cells and the samplesheet, where they are not there yet."""
    import h5py
    import numpy as np
    from anndata.io import read_elem
    from preparation import write_file

    from scfm.io.tables import write_embedding

    if (folder / "samplesheet.csv").exists():
        return
    write_file(folder / "cells.h5ad", n_cells)
    with h5py.File(folder / "cells.h5ad") as file:
        obs = read_elem(file["obs"])
    rng = np.random.default_rng(1)
    values = rng.standard_normal((n_cells, DIMS), dtype=np.float32)
    for key, distance in (("cell_type", 2.0), ("batch", 0.5)):
        codes = obs[key].cat.codes.to_numpy()
        values += (distance * rng.standard_normal((codes.max() + 1, DIMS))).astype(np.float32)[codes]
    write_embedding(folder / "other.parquet", obs.index.to_numpy(), values)
    row = "sim,cells.h5ad,batch,cell_type,other=other.parquet"
    (folder / "samplesheet.csv").write_text(f"dataset,h5ad,batch_key,label_key,embeddings\n{row}\n")


def read_trace(path: Path) -> dict[str, dict[str, float]]:
    """Return tasks, CPU seconds, longest task and largest memory of every process of a run.

    Raises
    ------
    SystemExit
        A task did not end well.
    """
    from scfm.report.tables.resources import parse_duration, parse_size

    found: dict[str, dict[str, float]] = {}
    with path.open() as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            if row["status"] not in ("COMPLETED", "CACHED"):
                raise SystemExit(f"{path}: {row['name']} is {row['status']}.")
            name = row["name"].split(" ")[0].rpartition(":")[2]
            part = found.setdefault(name, {"tasks": 0, "cpu_s": 0.0, "longest_s": 0.0, "peak_mb": 0.0})
            seconds, share = parse_duration(row["realtime"]) or 0.0, row["%cpu"].rstrip("%")
            part["tasks"] += 1
            part["cpu_s"] += seconds * (float(share) / 100 if share not in ("", "-") else 1.0)
            part["longest_s"] = max(part["longest_s"], seconds)
            part["peak_mb"] = max(part["peak_mb"], parse_size(row["peak_rss"]) or 0.0)
    return found


def main() -> None:
    """Simulate, run, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=300_000)
    parser.add_argument("--folder", type=Path, required=True, help="folder for data, work and results")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "atlas", help="folder of the JSON files")
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    write_inputs(folder, args.cells)
    (folder / "limits.config").write_text(f"executor.cpus = {CORES}\nexecutor.memory = '{MEMORY}'\n")
    command = ["nextflow", "run", str(PROJECT), "-resume", "-c", "limits.config", "--input", "samplesheet.csv"]
    limits = ["--max_cpus", str(CORES), "--max_memory", MEMORY, "--outdir", "out"]
    load, start = os.getloadavg()[0], time.perf_counter()
    done = subprocess.run([*command, *limits, *OPTIONS], cwd=folder, check=False)
    if done.returncode:
        raise SystemExit(f"The run ended with {done.returncode}; the same command resumes it.")
    found: dict[str, Any] = {"cells": args.cells, "load_before": load, "wall_s": time.perf_counter() - start}
    found["processes"] = read_trace(folder / "out" / "pipeline_info" / "execution_trace.txt")
    found["report_mb"] = (folder / "out" / "report" / "scfmbench_report.html").stat().st_size / 1e6
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / f"{args.cells}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
