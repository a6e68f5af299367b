#!/usr/bin/env python3
"""What a scenario of the study costs: run the pipeline with the paper profile on simulated cells of several sizes, read
Nextflow's trace, and extrapolate to the scenarios' sizes. One command::

    python benchmarks/study.py --scratch study_benchmark --cells 2000,4000,8000 --json study.json

Cells are simulated (16 batches, 18 labels, 33,159 genes, about 2,700 of them detected in a cell), with a PCA-like
embedding of 50 and one of 1,152 dimensions (that of Geneformer V2-316M) brought along as tables. Foundation models are
not run: their speed is measured by ``benchmarks/models.py``. Time per task is CPU time (realtime x %cpu of the trace),
less that of a start on almost no cells. It grows from the largest size that was run by a power of the cells: 2 where
the work is known to be quadratic (exact neighbours, silhouettes), else the power fitted through the sizes, at least 1
and at most 2. scVI runs ``--scvi_epochs`` epochs and is scaled to the epochs of the library's rule at the size asked
for. Memory is a straight line through the sizes. Sizes whose trace is in the scratch folder already are not run again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "bin"))

if TYPE_CHECKING:
    import numpy as np

# ruff: noqa: T201

GENES, COUNTS, BATCHES, LABELS, WIDE = 33_159, 4_000, 16, 18, 1_152
#: cells at which a step costs little but its start
SMALL = 300
#: powers that are known from what a step computes
POWERS = {"FIND_NEIGHBORS": 2.0, "SCORE_EMBEDDING": 2.0, "SCVI": 1.0}
UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
SIZES = {"KB": 1e-3, "MB": 1.0, "GB": 1e3}


def simulate(cells: int, folder: Path, seed: int = 0) -> Path:
    """Write ``<cells>.h5ad``, a table of an embedding with 1,152 dimensions and a samplesheet; return the
    samplesheet.
    """
    import anndata as ad
    import numpy as np
    import pandas as pd
    from scipy import sparse

    from scfm.io.tables import write_embedding

    rng = np.random.default_rng(seed)
    label, batch = rng.integers(LABELS, size=cells), rng.integers(BATCHES, size=cells)
    base = rng.gamma(0.25, size=GENES)
    profile = base * rng.lognormal(0, 0.8, (LABELS, GENES))
    technique = rng.lognormal(0, 0.4, (BATCHES, GENES))
    ids = [f"cell_{i}" for i in range(cells)]
    blocks = [_draw(np.flatnonzero(label == k), batch, profile[k], technique, rng) for k in range(LABELS)]
    order = np.argsort(np.concatenate([rows for rows, _ in blocks]))
    counts = sparse.vstack([block for _, block in blocks], format="csr")[order]
    obs = pd.DataFrame(
        {
            "donor_id": pd.Categorical([f"C{b}" for b in batch]),
            "cell_type": pd.Categorical([f"type {k}" for k in label]),
        },
        index=ids,
    )
    var = pd.DataFrame(index=[f"ENSG{i:011d}" for i in range(GENES)])
    ad.AnnData(counts.astype(np.float32), obs=obs, var=var).write_h5ad(folder / f"{cells}.h5ad")
    wide = (
        rng.standard_normal((cells, WIDE))
        + rng.standard_normal((LABELS, WIDE))[label]
        + 0.5 * rng.standard_normal((BATCHES, WIDE))[batch]
    )
    write_embedding(folder / f"{cells}.wide.parquet", ids, wide.astype(np.float32))
    sheet = folder / f"{cells}.csv"
    sheet.write_text(
        f"dataset,h5ad,batch_key,label_key,organism,embeddings\nsize_{cells},{cells}.h5ad,donor_id,cell_type,human,wide={cells}.wide.parquet\n"
    )
    return sheet


def _draw(
    rows: "np.ndarray", batch: "np.ndarray", profile: "np.ndarray", technique: "np.ndarray", rng: "np.random.Generator"
) -> tuple[Any, Any]:
    """Draw the counts of the cells of one label: about ``COUNTS`` a cell, from the profile of label and batch."""
    import numpy as np
    from scipy import sparse

    parts = []
    for row in rows:
        edges = np.cumsum(profile * technique[batch[row]])
        genes = np.searchsorted(edges, rng.random(rng.poisson(COUNTS)) * edges[-1])
        found, n = np.unique(genes, return_counts=True)
        parts.append(sparse.csr_matrix((n, found, [0, len(found)]), shape=(1, GENES)))
    return rows, sparse.vstack(parts, format="csr")


def run(cells: int, scratch: Path, epochs: int) -> list[dict[str, str]]:
    """Run the pipeline on simulated cells, unless it was already, and return the rows of its trace."""
    out = scratch / f"out_{cells}"
    trace = out / "pipeline_info" / "execution_trace.txt"
    if not (out / "tables").is_dir():
        env = os.environ | {
            "PATH": f"{PROJECT}/.tools/bin:{PROJECT}/.venv/bin:{os.environ['PATH']}",
            "NXF_OFFLINE": "true",
            "NXF_SYNTAX_PARSER": "v2",
            "NXF_ANSI_LOG": "false",
        }
        command = [
            "nextflow",
            "run",
            str(PROJECT),
            "-profile",
            "paper",
            "--models",
            "none",
            "--input",
            str(simulate(cells, scratch)),
            "--scvi_max_epochs",
            str(epochs),
            "--outdir",
            str(out),
        ]
        subprocess.run(command, check=True, cwd=scratch, env=env, stdin=subprocess.DEVNULL)
    with trace.open() as handle:
        return [row for row in csv.DictReader(handle, delimiter="\t") if row["status"] == "COMPLETED"]


def seconds(text: str) -> float:
    """Return Nextflow's duration (``1m 3s``, ``250ms``) in seconds."""
    return sum(float(n) * UNITS[u] for n, u in re.findall(r"([\d.]+)\s*(ms|[dhms])", text))


def megabytes(text: str) -> float:
    """Return Nextflow's memory (``1.2 GB``) in megabytes."""
    found = re.match(r"([\d.]+)\s*(KB|MB|GB)", text)
    return float(found[1]) * SIZES[found[2]] if found else 0.0


def step_of(name: str) -> str:
    """Return what is measured together: the process, with the width of the embedding where it matters."""
    process, _, tag = name.rpartition(":")[2].partition(" ")
    method = tag.strip("()").split(".")[1] if "." in tag else ""
    if process in {"FIND_NEIGHBORS", "SCORE_EMBEDDING", "PROBE_EMBEDDING"}:
        return f"{process} {'1,152 dimensions' if method == 'wide' else '20 to 100 dimensions'}"
    return process


def summarise(trace: list[dict[str, str]]) -> dict[str, dict[str, float]]:
    """Return per step the mean CPU seconds and the largest peak memory (MB) of a task."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in trace:
        share = float(row["%cpu"].rstrip("%") or 100) / 100 if row["%cpu"] not in {"-", ""} else 1.0
        found.setdefault(step_of(row["name"]), []).append(
            (seconds(row["realtime"]) * share, megabytes(row["peak_rss"]))
        )
    return {
        step: {"seconds": sum(s for s, _ in rows) / len(rows), "mb": max(m for _, m in rows)}
        for step, rows in found.items()
    }


def extrapolate(
    by_size: dict[int, dict[str, dict[str, float]]], targets: list[int], epochs: int
) -> dict[str, dict[str, Any]]:
    """Return per step the power of its time, and seconds and memory (MB) at the targets."""
    import numpy as np

    from scfm.integration.scvi import default_epochs

    sizes = sorted(by_size)
    largest = sizes[-1]
    result: dict[str, dict[str, Any]] = {}
    for step, start in by_size[SMALL].items():
        grown = np.array([max(by_size[n][step]["seconds"] - start["seconds"], 0.02) for n in sizes[1:]])
        fitted = float(np.polyfit(np.log(sizes[1:]), np.log(grown), 1)[0])
        power = POWERS.get(step, POWERS.get(step.split()[0], min(max(fitted, 1.0), 2.0)))
        line = np.polyfit(sizes, [by_size[n][step]["mb"] for n in sizes], 1)
        entry: dict[str, Any] = {"power": power, "fitted_power": fitted}
        for target in targets:
            more = grown[-1] * (target / largest) ** power
            if step == "SCVI":
                more *= default_epochs(target) / epochs
            entry[str(target)] = {
                "seconds": start["seconds"] + float(more),
                "mb": float(max(line[1] + max(line[0], 0.0) * target, start["mb"])),
            }
        result[step] = entry
    return result


def show(by_size: dict[int, Any], result: dict[str, Any], targets: list[int]) -> None:
    """Print the measurements and what they extrapolate to."""
    sizes = sorted(by_size)
    print(f"{'step':42}" + "".join(f"{n:>9,}" for n in sizes) + f"{'power':>6}" + "".join(f"{n:>16,}" for n in targets))
    for step in sorted(result):
        row = "".join(f"{by_size[n][step]['seconds']:9.1f}" for n in sizes)
        far = "".join(
            f"{result[step][str(n)]['seconds']:8.0f} s{result[step][str(n)]['mb'] / 1e3:4.1f}GB" for n in targets
        )
        print(f"{step:42}{row}{result[step]['power']:6.2f}  {far}")


def main() -> None:
    """Measure, extrapolate, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for cells, work and results")
    parser.add_argument("--cells", default="2000,4000,8000", help="sizes to run")
    parser.add_argument("--targets", default="20000,68429,200000", help="sizes to extrapolate to")
    parser.add_argument("--scvi_epochs", type=int, default=10, help="epochs that are run")
    parser.add_argument("--json", type=Path, help="also write everything here")
    args = parser.parse_args()
    args.scratch.mkdir(parents=True, exist_ok=True)
    sizes, targets = [SMALL, *map(int, args.cells.split(","))], [int(t) for t in args.targets.split(",")]
    by_size = {n: summarise(run(n, args.scratch, args.scvi_epochs)) for n in sizes}
    result = extrapolate(by_size, targets, args.scvi_epochs)
    show(by_size, result, targets)
    if args.json:
        args.json.write_text(
            json.dumps({"measured": by_size, "extrapolated": result, "scvi_epochs": args.scvi_epochs}, indent=2)
        )


if __name__ == "__main__":
    main()
