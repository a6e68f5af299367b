#!/usr/bin/env python3
"""Peak memory and time of the scVI step on many cells: an uncompressed CSR file, one epoch.

``python benchmarks/scvi_scale.py --cells 1000000 --folder /tmp/scvi_scale``

Makes a prepared data set of simulated counts (2,000 variable genes, about 200 of them detected in a cell, 8 types, 4
batches), runs ``bin/integrate_cells.py --method scvi`` in a process of its own and prints its peak memory as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bin"))

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem
from scipy import sparse

from scfm.io.tables import write_json, write_table

# ruff: noqa: T201

PROJECT = Path(__file__).resolve().parents[1]
N_GENES, N_DETECTED, N_TYPES, N_BATCHES = 2_000, 200, 8, 4
ROWS = 20_000


def make_counts(rng: np.random.Generator, types: np.ndarray, share: np.ndarray) -> sparse.csr_matrix:
    """Return counts of some cells, shape (n_cells, N_GENES); ``share`` is the detection of a gene by type."""
    detected = rng.random((len(types), N_GENES), dtype=np.float32) < share[types]
    counts = sparse.csr_matrix(detected, dtype=np.float32)
    counts.data = rng.geometric(0.6, counts.nnz).astype(np.float32)
    return counts


def make_data(folder: Path, n_cells: int) -> None:
    """Write ``big.prepared.h5ad`` (counts, uncompressed) and ``big.obs.parquet``."""
    rng = np.random.default_rng(0)
    share = rng.gamma(0.5, 1, (N_TYPES, N_GENES))
    share = np.clip(share * N_DETECTED / share.sum(axis=1, keepdims=True), 0, 0.9).astype(np.float32)
    ids = [f"cell_{i:08d}" for i in range(n_cells)]
    types, batches = rng.integers(0, N_TYPES, n_cells), rng.integers(0, N_BATCHES, n_cells)
    obs = pd.DataFrame(
        {"batch": [f"batch{i}" for i in batches], "label": [f"type{i}" for i in types]}, index=pd.Index(ids)
    )
    write_table(obs.assign(held_out=False).rename_axis("cell_id").reset_index(), folder / "big.obs.parquet")
    with h5py.File(folder / "big.prepared.h5ad", "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(file, "obs", obs.astype("category"))
        genes = pd.Index([f"GENE{i}" for i in range(N_GENES)])
        write_elem(file, "var", pd.DataFrame({"highly_variable": True}, index=genes))
        group = file.create_group("layers/counts")
        lengths = []
        for name, kind in (("data", "f4"), ("indices", "i4")):
            group.create_dataset(name, shape=(0,), maxshape=(None,), dtype=kind, chunks=(1 << 18,))
        for start in range(0, n_cells, ROWS):
            counts = make_counts(rng, types[start : start + ROWS], share)
            for name in ("data", "indices"):
                before = group[name].shape[0]
                group[name].resize((before + counts.nnz,))
                group[name][before:] = getattr(counts, name)
            lengths.append(np.diff(counts.indptr))
        indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)])
        group.create_dataset("indptr", data=indptr)
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_cells, N_GENES]})


def main() -> None:
    """Make the data, run the step, print peak memory and seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=200_000, help="cells of the data set")
    parser.add_argument("--folder", type=Path, required=True, help="where the data lie; made if absent")
    parser.add_argument("--minibatches", type=int, help="end the epoch after these: the memory is the same")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if not (args.folder / "big.obs.parquet").exists():
        make_data(args.folder, args.cells)
    write_json(args.folder / "params.json", {"scvi_max_epochs": 1, "scvi_limit_train_batches": args.minibatches})
    command = [sys.executable, str(PROJECT / "bin" / "integrate_cells.py"), "--method", "scvi", "--dataset", "big"]
    for name in ("prepared.h5ad", "obs.parquet"):
        command += [f"--{name.split('.')[0]}", str(args.folder / f"big.{name}")]
    command += ["--params", str(args.folder / "params.json"), "--device", "cpu", "--outdir", str(args.folder)]
    command += ["--methods_table", str(PROJECT / "assets" / "methods.tsv"), "--on_error", "stop"]
    begin = time.perf_counter()
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    size = (args.folder / "big.prepared.h5ad").stat().st_size / 1e6
    numbers = {
        "minibatches": args.minibatches,
        "cells": args.cells,
        "genes": N_GENES,
        "file_mb": size,
        "peak_rss_mb": peak,
    }
    print(json.dumps(numbers | {"seconds": time.perf_counter() - begin}, indent=1))


if __name__ == "__main__":
    main()
