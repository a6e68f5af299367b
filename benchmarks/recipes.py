#!/usr/bin/env python3
"""Measure how much memory and time a recipe needs to take a part of the rows out of a big file.

Writes an h5ad file of synthetic cells x 20,000 genes (counts in ``raw.X``, compressed CSR, piece by piece) unless the
folder holds it, then runs ``bin/apply_recipe.py`` in a process of its own for each share of rows and reads that
process's largest resident memory. Rows are chosen at random over the whole file, the hardest case for reading.
Example::

    python benchmarks/recipes.py --cells 300000 --share 0.01 0.1 --folder DIR --json recipes.json

Real data have about 2,000 nonzeros per cell; 600 by default, to be made in a minute (``--nonzeros``). Exits with 1
where ``--limit_mb`` is passed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bin"))

# ruff: noqa: T201

N_GENES, BLOCK = 20_000, 2_000
STORAGE = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
#: runs in the measured process: the executable, then its own peak
WORKER = (
    "import sys, apply_recipe; from scfm.task.resources import peak_rss_mb; "
    "apply_recipe.main(sys.argv[1:]); print('PEAK', peak_rss_mb())"
)


def write_file(path: Path, n_cells: int, nonzeros: int, shares: list[float]) -> None:
    """Write synthetic cells by blocks; the same block of counts is repeated. ``obs['p<share>']`` marks rows."""
    import anndata
    import h5py
    import numpy as np
    import pandas as pd
    from scipy import sparse

    rng = np.random.default_rng(0)
    indices = np.sort(np.stack([rng.choice(N_GENES, nonzeros, replace=False) for _ in range(BLOCK)]), axis=1).astype(
        np.int32
    )
    data = rng.geometric(0.4, indices.shape).astype(np.float32)
    draws = rng.random(n_cells)
    obs = {f"p{share}": pd.Categorical(np.where(draws < share, "yes", "no")) for share in shares}
    obs |= {
        "donor_id": pd.Categorical(rng.choice(["a", "b", "c"], n_cells)),
        "joinid": [f"j{i:08x}" for i in range(n_cells)],
    }
    frame = pd.DataFrame(obs, index=[f"cell-{i:08d}" for i in range(n_cells)])
    var = pd.DataFrame(
        {"feature_name": [f"SYM{i}" for i in range(N_GENES)]}, index=[f"ENSG{i:011d}" for i in range(N_GENES)]
    )
    blank = sparse.csr_matrix((n_cells, N_GENES), dtype=np.float32)
    partial = path.with_suffix(".part")
    whole = anndata.AnnData(blank, obs=frame, var=var)
    whole.raw = anndata.AnnData(blank, obs=frame[[]], var=var)
    whole.write_h5ad(partial, convert_strings_to_categoricals=False)
    with h5py.File(partial, "a") as file:
        group = file["raw/X"]
        for name in ("data", "indices", "indptr"):
            del group[name]
        group["indptr"] = np.arange(n_cells + 1, dtype=np.int64) * nonzeros
        stored = {"data": data.ravel(), "indices": indices.ravel()}
        for name, values in stored.items():
            target = group.create_dataset(
                name, (n_cells * nonzeros,), values.dtype, chunks=(min(1 << 16, values.size),), **STORAGE
            )
            for first in range(0, n_cells, BLOCK):
                last = min(first + BLOCK, n_cells)
                target[first * nonzeros : last * nonzeros] = values[: (last - first) * nonzeros]
    partial.replace(path)


def run(source: Path, share: float, folder: Path) -> dict[str, Any]:
    """Apply a recipe that keeps a share of the rows; return peak memory, time and sizes."""
    recipe = folder / f"share_{share}.yml"
    recipe.write_text(
        f"name: share\nsources:\n  big:\n    keep:\n      - {{column: p{share}, equals: 'yes'}}\ncell_ids: {{prefix:"
        " cell_}\n"
    )
    start = time.perf_counter()
    command = [
        sys.executable,
        "-c",
        WORKER,
        "--recipe",
        recipe,
        "--dataset",
        "part",
        "--source",
        f"big={source}",
        "--outdir",
        folder,
        "--quiet",
    ]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=ROOT / "bin", check=False)
    if done.returncode:
        raise SystemExit(f"apply_recipe.py failed: {done.stderr.strip()[-2000:]}")
    report = json.loads((folder / "part.recipe.json").read_text())
    written = folder / "part.recipe.h5ad"
    result = {
        "share": share,
        "cells": report["n_cells"],
        "genes": report["n_genes"],
        "peak_mb": float(done.stdout.split()[-1]),
        "seconds": time.perf_counter() - start,
        "output_mb": written.stat().st_size / 2**20,
    }
    written.unlink()
    return result


def main() -> int:
    """Print a table; write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=300_000)
    parser.add_argument("--nonzeros", type=int, default=600, help="per cell")
    parser.add_argument("--share", type=float, nargs="+", default=[0.01], help="of the rows")
    parser.add_argument(
        "--folder",
        type=lambda text: Path(text).resolve(),
        help="where the big file is kept and looked for; a temporary folder by default",
    )
    parser.add_argument("--limit_mb", type=float, default=1000.0, help="largest resident memory that is no failure")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        shares = "_".join(map(str, args.share))
        source = (args.folder or Path(scratch)) / f"cells_{args.cells}x{args.nonzeros}_{shares}.h5ad"
        if not source.is_file():
            write_file(source, args.cells, args.nonzeros, args.share)
        size = source.stat().st_size / 2**20
        rows = [run(source, share, Path(scratch)) for share in args.share]
    print(f"{args.cells:,} cells x {N_GENES:,} genes, {args.nonzeros} nonzeros per cell, {size:,.0f} MB on disk")
    print(f"{'share':>8} {'cells':>9} {'peak MB':>9} {'seconds':>9} {'output MB':>10}")
    for row in rows:
        print(
            f"{row['share']:>8} {row['cells']:>9,} {row['peak_mb']:>9.0f} {row['seconds']:>9.1f}"
            f" {row['output_mb']:>10.1f}"
        )
    if args.json:
        args.json.write_text(
            json.dumps(
                {"cells": args.cells, "genes": N_GENES, "nonzeros": args.nonzeros, "file_mb": size, "runs": rows},
                indent=2,
            )
        )
    worst = max(row["peak_mb"] for row in rows)
    if worst > args.limit_mb:
        print(f"FAILED: {worst:.0f} MB is above the limit of {args.limit_mb:.0f} MB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
