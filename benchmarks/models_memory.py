#!/usr/bin/env python3
"""Measure that the memory of an embedding run does not grow with the number of cells.

Writes .h5ad files of synthetic cells x 20,000 genes (uncompressed CSR, piece by piece), makes tiny weights of a model,
runs ``bin/embed_cells.py`` on each file and reads the largest resident memory of that process from ``/proc`` (Linux). A
block of 2,000 cells is drawn (``make_cells`` of the benchmark of models) and repeated. Example::

    python benchmarks/models_memory.py --cells 50000,200000 --models scgpt,geneformer --scratch DIR --json memory.json

Needs about 8 kB of disk per cell. Exits with 1 where a limit (``--limit_mb``, ``--growth``) is passed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "bin")]

from models_worker import N_GENES, gene_names, make_cells  # noqa: E402

# ruff: noqa: T201

BLOCK = 2000


def write_file(path: Path, n: int, *, median_genes: float, seed: int) -> None:
    """Write n synthetic cells, a block at a time."""
    import anndata
    import h5py
    import numpy as np
    import pandas as pd

    block = make_cells(min(BLOCK, n), seed=seed, median_genes=median_genes)
    obs = pd.DataFrame(index=[f"cell_{i:07d}" for i in range(n)])
    anndata.AnnData(obs=obs, var=block.var).write_h5ad(path)
    lengths = np.diff(block.X.indptr)
    offsets = np.concatenate([[0], np.cumsum(np.resize(lengths, n), dtype=np.int64)])
    with h5py.File(path, "a") as file:
        if "X" in file:
            del file["X"]
        group = file.create_group("X")
        group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": np.array([n, N_GENES])}
        )
        group["indptr"] = offsets
        data = group.create_dataset("data", (offsets[-1],), "f4", chunks=(1 << 18,))
        indices = group.create_dataset("indices", (offsets[-1],), "i4", chunks=(1 << 18,))
        for first in range(0, n, block.n_obs):
            part = slice(offsets[first], offsets[min(first + block.n_obs, n)])
            data[part], indices[part] = (
                block.X.data[: part.stop - part.start],
                block.X.indices[: part.stop - part.start],
            )


def run(model: str, weights: Path, source: Path, output: Path, max_length: int) -> dict[str, Any]:
    """Embed a file in a process of its own; return its peak memory, seconds and what its sidecar says."""
    command = [
        sys.executable,
        str(HERE.parent / "bin" / "embed_cells.py"),
        "--model",
        model,
        "--weights",
        str(weights),
        "--input",
        str(source),
        "--output",
        str(output),
        "--device",
        "cpu",
        "--threads",
        "1",
        "--set",
        f"max_length={max_length}",
    ]
    if model == "nicheformer":
        command += ["--set", "gene_column=ensembl_id"]
    start, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    while process.poll() is None:
        peak = max(peak, high_water(process.pid))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"{model} on {source.name} ended with {process.returncode}")
    sidecar = json.loads(output.with_suffix(".json").read_text())
    return {
        "peak_rss_mb": round(peak, 1),
        "seconds": round(time.perf_counter() - start, 1),
        "cells_out": sidecar["cells_out"],
        "n_dims": sidecar["n_dims"],
    }


def high_water(pid: int) -> float:
    """Return the largest resident memory of a process so far, MB; 0 where it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def main() -> None:
    """Write, run, compare."""
    from scfm.testing.tiny import make_tiny
    from scfm.testing.tiny_common import gene_table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="50000,200000", help="numbers of cells, ascending")
    parser.add_argument("--models", default="scgpt,geneformer")
    parser.add_argument("--median_genes", type=float, default=1000, help="median of detected genes per cell")
    parser.add_argument(
        "--max_length",
        type=int,
        default=64,
        help="longest sequence: the tokeniser reads whole cells, attention stays short",
    )
    parser.add_argument("--limit_mb", type=float, default=3000, help="largest accepted resident memory")
    parser.add_argument("--growth", type=float, default=1.1, help="largest accepted ratio of the last to the first run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="folder for the files (removed again)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sizes, found = [int(n) for n in args.cells.split(",")], []
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        top = Path(scratch)
        symbols, ids = gene_names(N_GENES)
        for n in sizes:
            source = top / f"cells_{n}.h5ad"
            write_file(source, n, median_genes=args.median_genes, seed=args.seed)
            for model in args.models.split(","):
                weights = top / model
                if not weights.is_dir():
                    make_tiny(model, gene_table(zip(symbols, ids, strict=True)), weights)
                found.append(
                    {"model": model, "cells": n, "file_mb": round(source.stat().st_size / 2**20)}
                    | run(model, weights, source, top / "rows.parquet", args.max_length)
                )
                print("  ".join(f"{k} {v}" for k, v in found[-1].items()), flush=True)
            source.unlink()
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    bad = [r for r in found if r["peak_rss_mb"] > args.limit_mb or r["cells_out"] != r["cells"]]
    for model in args.models.split(","):
        of = [r["peak_rss_mb"] for r in found if r["model"] == model]
        print(
            f"{model}: {of[0]:.0f} -> {of[-1]:.0f} MB, {of[-1] / of[0]:.3f}x for {sizes[-1] / sizes[0]:.1f}x the cells"
        )
        bad += [model] if of[-1] > args.growth * of[0] else []
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
