#!/usr/bin/env python3
"""Time the models at official size with random weights: tokenising and forward pass, peak memory, one process per
model.

No download: weights of the official layout are drawn at random (in a temporary folder, or kept in ``--weights``), and
so are cells whose sequences are as long as those of real ones (``make_cells`` in models_worker.py). With ``--official
DIR`` the official code runs beside ours on the same cells and weights, in turns (A B A B ...), each in its own process
with the same number of threads. DIR holds clones: scGPT, Geneformer, scFoundation, UCE, nicheformer, scCello, CellPLM;
``--official_python`` is an interpreter that has what they import (torch, anndata, scanpy, pandas, transformers 4.46,
datasets, einops, local_attention, torchmetrics, pytorch_lightning, numba). Examples::

    python benchmarks/models.py --models all --json models_benchmark.json
    python benchmarks/models.py --models scgpt,uce --official clones --official_python venv/bin/python --rounds 3
    python benchmarks/models.py --models all --device cuda --precision bf16 --accuracy --json gpu.json

Times are medians over rounds, per cell; CPU is the process time, which a busy machine disturbs less than wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "bin")]

from models_worker import VOCABULARY, make_weights  # noqa: E402

# ruff: noqa: T201

#: cells of a forward pass on one CPU thread where --cells is not given: about ten seconds of the official code
CELLS = {"scfoundation": 3, "uce": 8, "nicheformer": 8, "geneformer-v2": 4, "genecompass": 4}
#: cells of a forward pass on a GPU where --cells is not given: several batches of every model
GPU_CELLS = 512
#: cells whose rows are compared with those of the CPU, and with those of the same device in float32
CPU_COMPARED, COMPARED = 4, 256

#: models whose official code models_official.py can call (GeneCompass asks for transformers 4.30 and is not done)
HAVE_OFFICIAL = set(VOCABULARY) - {"genecompass"}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="all", help=f"comma-separated, or all: {','.join(VOCABULARY)}")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--precision", choices=["fp32", "bf16"], default="fp32", help="of our side; the official side is fp32"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process")
    parser.add_argument("--cells", type=int, help="cells of a forward pass (by model where not given)")
    parser.add_argument("--token_cells", type=int, default=256, help="cells of a tokenising pass")
    parser.add_argument("--median_genes", type=float, default=2000, help="median of detected genes per cell")
    parser.add_argument(
        "--rounds", type=int, default=3, help="alternations; one more, not counted, warms up tokenisers and GPUs"
    )
    parser.add_argument(
        "--batch_tokens", type=int, help="padded tokens per batch (ours; by device and precision where not given)"
    )
    parser.add_argument(
        "--accuracy",
        action="store_true",
        help=f"compare our rows with float32 rows: bf16 with the same device ({COMPARED} cells), a GPU in fp32 with the"
        f" CPU ({CPU_COMPARED} cells)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, metavar="DIR", help="keep the random weights here for the next run")
    parser.add_argument("--official", type=Path, metavar="DIR", help="folder with clones of the official repositories")
    parser.add_argument("--official_python", default=sys.executable, help="interpreter for the official code")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    args = parser.parse_args(argv)
    args.names = list(VOCABULARY) if args.models == "all" else args.models.split(",")
    if args.cells is None and args.device == "cuda":
        args.cells = GPU_CELLS
    args.token_cells = max(args.token_cells, args.cells or 0)
    if unknown := [n for n in args.names if n not in VOCABULARY]:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(VOCABULARY)}")
    return args


class Worker:
    """A process that holds one model on one side."""

    def __init__(self, python: str, spec: dict[str, Any]) -> None:
        threads = str(spec["threads"])
        env = os.environ | {
            k: threads for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        }
        self.rows, self.name = Path(spec["rows"]), f"{spec['name']} ({spec['side']})"
        self.process = subprocess.Popen(
            [python, str(HERE / "models_worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=spec_log(spec),
            text=True,
            env=env,
        )
        self.facts = self.ask(json.dumps(spec))

    def ask(self, order: str) -> dict[str, Any]:
        """Send an order and return the reply; a process that died is an error that names its log."""
        try:
            self.process.stdin.write(order + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.wait()
            log = self.rows.with_suffix(".log").read_text().strip().splitlines()
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {log[-1] if log else 'no message'}")
        return json.loads(line)

    def close(self) -> dict[str, Any]:
        """End the process and return its peak memory."""
        last = self.ask("quit")
        self.process.wait()
        return last


def spec_log(spec: dict[str, Any]) -> Any:
    """Open the file that takes what a worker prints."""
    return Path(spec["rows"]).with_suffix(".log").open("w")


def measure(name: str, args: argparse.Namespace, weights: Path, scratch: Path) -> dict[str, Any]:
    """Measure a model on one or both sides; an official side that does not run is reported with its reason."""
    spec = {
        "name": name,
        "weights": str(make_weights(name, weights)),
        "device": args.device,
        "precision": args.precision,
        "threads": args.threads,
        "cells": args.cells or CELLS.get(name, 12),
        "token_cells": args.token_cells,
        "median_genes": args.median_genes,
        "seed": args.seed,
        "batch_tokens": args.batch_tokens,
        "references": references(args),
        "official": str(args.official) if args.official else None,
    }
    found: dict[str, Any] = {"model": name, "sides": {}}
    workers: dict[str, Worker] = {}
    for side, python in (("ours", sys.executable), ("official", args.official_python)):
        if side == "official" and not args.official:
            continue
        if side == "official" and name not in HAVE_OFFICIAL:
            continue
        try:
            workers[side] = Worker(python, spec | {"side": side, "rows": str(scratch / f"{name}.{side}.npy")})
        except RuntimeError as error:
            found["sides"][side] = {"error": str(error)}
    times: dict[str, dict[str, list[dict]]] = {side: {"tokenize": [], "forward": []} for side in workers}
    warm = ("tokenize", "forward") if args.device == "cuda" else ("tokenize",)
    for turn in range(args.rounds + 1):
        for order in ("tokenize", "forward"):
            for side, worker in workers.items():
                if turn or order in warm:
                    times[side][order].append(worker.ask(order))
    for side, worker in workers.items():
        for order in warm:
            times[side][order].pop(0)
        found["sides"][side] = worker.facts | {k: summary(v) for k, v in times[side].items()} | {"rounds": times[side]}
    found["agreement"] = compare(scratch, name)
    for side, worker in workers.items():
        found["sides"][side] |= worker.close()
    return found


def references(args: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Return what our rows are compared with: device, precision, number of cells."""
    if not args.accuracy or (args.device, args.precision) == ("cpu", "fp32"):
        return []
    if args.precision == "bf16":
        return [(args.device, "fp32", min(COMPARED, args.token_cells))]
    return [("cpu", "fp32", CPU_COMPARED)]


def summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return medians in seconds per cell."""
    return {kind: statistics.median(r[kind] / r["n"] for r in rounds) for kind in ("wall", "cpu")}


def compare(scratch: Path, name: str) -> dict[str, float] | None:
    """Return the largest difference and the lowest cosine between the rows of both sides, where both are there."""
    import numpy as np

    paths = [scratch / f"{name}.{side}.npy" for side in ("ours", "official")]
    if not all(p.is_file() for p in paths):
        return None
    a, b = (np.load(p) for p in paths)
    n = min(len(a), len(b))
    a, b = a[:n], b[:n]
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return {"max_difference": float(np.abs(a - b).max()), "min_cosine": float(cosine.min())}


def lines_of(found: dict[str, Any]) -> list[list[str]]:
    """Return the rows of the table for one model: ours, official, ratio."""
    rows = []
    for side, f in found["sides"].items():
        if "error" in f:
            rows.append([found["model"], side, f["error"][:90]])
            continue
        numbers = [
            f"{1 / f['forward']['wall']:.3f}",
            *(f"{1e3 * f['forward'][k]:.4g}" for k in ("wall", "cpu")),
            *(f"{1e3 * f['tokenize'][k]:.2f}" for k in ("wall", "cpu")),
        ]
        rows.append(
            [
                found["model"],
                f["official"] or side,
                f"{f.get('tokens_per_cell', '')}",
                *numbers,
                f"{f['peak_rss_mb']:.0f}",
            ]
        )
    both = [found["sides"].get(s) for s in ("ours", "official")]
    if all(b and "error" not in b for b in both):
        ours, official = both
        ratios = [
            f"{official[part][k] / ours[part][k]:.2f}x" for part in ("forward", "tokenize") for k in ("wall", "cpu")
        ]
        rows.append([found["model"], "ratio", "", "", *ratios, f"{official['peak_rss_mb'] / ours['peak_rss_mb']:.2f}x"])
    return rows


def ceiling(found: dict[str, Any]) -> str:
    """Say how near the forward pass is to the fastest matrix product of the device, and what ratio that product would
    allow.
    """
    ours, official = (found["sides"].get(s, {}) for s in ("ours", "official"))
    if "error" in ours:
        return ""
    flop, best = ours["flop_per_cell"], ours["fastest_product"]
    text = (
        f"{found['model']}: {flop / 1e9:.4g} GFLOP per cell at {flop / ours['forward']['wall'] / 1e9:.4g} GFLOP/s, "
        f"{flop / ours['forward']['wall'] / best:.0%} of the fastest matrix product here ({best / 1e9:.4g} GFLOP/s)"
    )
    if ours["peak_gpu_mb"] is not None:
        text += f"; batches of {ours['batch_tokens']:,} tokens, {ours['peak_gpu_mb']:,.0f} MB of GPU memory"
    for known in ours["accuracy"]:
        text += (
            f"; {known['cells']} rows against {known['reference']}: lowest cosine {known['cosine_min']:.7f}, median"
            f" {known['cosine_median']:.7f}, largest relative difference {known['max_relative']:.1e}"
        )
    if "forward" in official:
        text += f"; were everything as fast, the ratio would be {official['forward']['wall'] * best / flop:.2f}x"
    return text


def show(rows: list[list[str]]) -> None:
    """Print a table with columns of even width."""
    widths = [max(len(r[i]) for r in rows if len(r) > i and len(r) > 3) for i in range(max(map(len, rows)))]
    for row in rows:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False)).rstrip(), flush=True)


def main() -> None:
    """Measure, print, write."""
    import torch

    from scfm.task.resources import versions_of

    args = parse()
    every = []
    with tempfile.TemporaryDirectory() as scratch:
        weights = args.weights or Path(scratch) / "weights"
        for name in args.names:
            every.append(measure(name, args, weights, Path(scratch)))
            if args.json:
                setting = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()} | versions_of(
                    ["torch", "numpy", "anndata"]
                )
                device = {"cpu": torch.backends.cpu.get_cpu_capability()}
                if args.device == "cuda":
                    device["gpu"] = torch.cuda.get_device_name()
                args.json.write_text(json.dumps({"settings": setting} | device | {"models": every}, indent=1))
            head = ["model", "side", "tokens", "cells/s", "forward ms", "cpu ms", "tokenise ms", "cpu ms", "peak MB"]
            show([head, *lines_of(every[-1])])
            if limit := ceiling(every[-1]):
                print(limit, flush=True)
            if agreement := every[-1]["agreement"]:
                print(
                    f"rows of both sides: largest difference {agreement['max_difference']:.1e}, lowest cosine"
                    f" {agreement['min_cosine']:.6f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
