#!/usr/bin/env python3
"""Memory and time of every step by the size of the data, and the coefficients of ``assets/resources.tsv`` from them.

    python benchmarks/resources.py --cells 1000 10000 100000 --scratch DIR        # measure; goes on where it stopped
    python benchmarks/resources.py --fit                                          # print coefficients

Counts are those of ``preparation.py`` with more molecules a cell (20,000 genes; a case of fewer genes and components
tells columns from cells). Every step is one process on one embedding and one core, as the pipeline works on the members
of a group one after the other. A result is a JSON file of a size in ``--results``; ``bench_page.py`` writes the table
"Memory asked and used" of ``docs/performance.md`` from them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
sys.path[:0] = [str(PROJECT / "bin"), str(HERE)]

# ruff: noqa: T201

#: process -> method; scVI trains for few batches, as its memory does not grow with them
METHODS = {name.upper(): name for name in ("pca", "harmony", "scanorama", "combat", "linear", "fastmnn", "scvi")}
PARAMS = {"scvi_max_epochs": 1, "scvi_limit_train_batches": 200, "n_pcs": 50}
#: columns that a process counts, `n_genes` or `n_dims`, as in `ext data` of its module
GENES = {*METHODS, "PREPARE_DATASET", "WRITE_DATASET", "DIAGNOSE_EMBEDDING"}
#: median molecules of a cell, which fall on about 2,000 of the 20,000 genes
MOLECULES = 4_500
#: share that is added to what was used: other data and machines differ
MARGIN = 1.5
#: cells from which on a case says how time and memory grow
LARGE = 10_000


def steps(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return executable and options of every process, in an order in which they can run."""
    data = {part: folder / "out" / f"sim.{part}" for part in ("obs.parquet", "pca.parquet", "prepared.h5ad")}
    obs, pca, prepared = data.values()
    params, out, stem = folder / "params.json", folder / "out", folder / "out" / "sim.pca.raw.0"
    given = {"embedding": Path(f"{stem}.parquet"), "sidecar": Path(f"{stem}.json"), "obs": obs}
    unchecked = {"embedding": Path(f"{stem}.unchecked.parquet"), "sidecar": Path(f"{stem}.unchecked.json"), "obs": obs}
    knn = given | {"knn": Path(f"{stem}.knn.npz")}
    about = {"dataset": "sim", "params": params, "outdir": out}
    data_set = {"datasets": folder / "datasets.json"}
    found = {"PREPARE_DATASET": ("prepare_dataset", about | data_set | {"h5ad": folder / "cells.h5ad"})}
    table = {"prepared": prepared, "obs": obs, "pca": pca, "methods_table": PROJECT / "assets" / "methods.tsv"}
    found |= {process: ("integrate_cells", about | table | {"method": method}) for process, method in METHODS.items()}
    diagnosed = knn | {"scores": Path(f"{stem}.scores.tsv"), "prepared": prepared, "pca": pca}
    tables = {"programmes": PROJECT / "assets" / "programmes.tsv", "metrics_table": PROJECT / "assets" / "metrics.tsv"}
    return found | {
        "DESCRIBE_DESIGN": ("describe_design", about | data_set | {"prepared": prepared, "obs": obs, "pca": pca}),
        "VALIDATE_UNCORRECTED": ("validate_embedding", unchecked | {"outdir": out}),
        "CORRECT_EMBEDDING": (
            "correct_embedding",
            given | {"correction": "center_l2", "params": params, "outdir": out},
        ),
        "FIND_NEIGHBORS": ("find_neighbors", given | {"outdir": out}),
        "SCORE_EMBEDDING": ("score_embedding", knn | {"pca": pca, "outdir": out}),
        "PROBE_EMBEDDING": (
            "probe_embedding",
            given | {"splits": out / "sim.splits.parquet", "params": params, "outdir": out},
        ),
        "DRAW_UMAPS": ("draw_umaps", knn | {"params": params, "outdir": out}),
        "DIAGNOSE_EMBEDDING": (
            "diagnose_embedding",
            diagnosed | tables | {"params": params, "outdir": out},
        ),
        "WRITE_DATASET": (
            "write_dataset_h5ad",
            {"prepared": prepared, "embeddings": given["embedding"], "sidecars": given["sidecar"]}
            | {"output": folder / "sim.h5ad"},
        ),
    }


def measure_size(case: dict[str, int], folder: Path, file: Path, only: str) -> None:
    """Measure the processes of one size that the file has no result of."""
    from preparation import measure, write_file

    from scfm.inputs.params import with_defaults
    from scfm.io.tables import read_json, write_json

    result = json.loads(file.read_text()) if file.exists() else {"case": case, "steps": {}}
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "cells.h5ad").exists():
        result |= write_file(folder / "cells.h5ad", case["cells"], case["genes"], MOLECULES)
        sheet = "dataset,h5ad,batch_key,label_key\nsim,cells.h5ad,batch,cell_type\n"
        (folder / "sheet.csv").write_text(sheet)
        params = PARAMS | {"input": str(folder / "sheet.csv"), "n_pcs": case["dims"]}
        write_json(folder / "params.json", with_defaults(params, read_json(PROJECT / "nextflow_schema.json")))
        check = [sys.executable, str(PROJECT / "bin" / "check_inputs.py"), "--fail", "--quiet", "--outdir", str(folder)]
        measure([*check, "--params", str(folder / "params.json"), "--input", str(folder / "sheet.csv")], folder)
    for process, (executable, options) in steps(folder).items():
        if process in result["steps"] or only not in process:
            continue
        argv = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        found = measure([sys.executable, str(PROJECT / "bin" / f"{executable}.py"), "--quiet", *argv], folder)
        result["steps"][process] = found
        file.write_text(json.dumps(result, indent=1) + "\n")
        print(f"{case['cells']:>9,} cells  {process:22}{found['cpu_seconds']:9.1f} s  {found['peak_rss_mb']:9.0f} MB")


def columns_of(process: str, case: dict[str, int]) -> int:
    """Return the columns that a process counts."""
    return case["genes"] if process in GENES else case["dims"]


def label_mb(process: str) -> float:
    """Return the memory that a process has whatever its data: of conf/methods.config, or of its label."""
    import re

    methods = (PROJECT / "conf" / "methods.config").read_text()
    own = re.search(rf"withName: {process} \{{.*?\[(\d+)\.GB", methods, re.DOTALL)
    if own is None:
        name = {"VALIDATE_UNCORRECTED": "VALIDATE_EMBEDDING"}.get(process, process)
        modules = [path.read_text() for path in (PROJECT / "modules" / "local").rglob("main.nf")]
        module = next(text for text in modules if f"process {name} " in text)
        label = re.search(r"label '(process_\w+)'", module)
        base = (PROJECT / "conf" / "base.config").read_text()
        own = label and re.search(rf"withLabel: {label[1]} \{{.*?\[(\d+)\.GB", base, re.DOTALL)
    assert own is not None, process
    return 1024.0 * int(own[1])


def asked_mb(process: str, case: dict[str, int]) -> float:
    """Return the memory that the pipeline asks for at the first try, in MB."""
    from scfm.planning.memory import read_needs

    needs = read_needs()
    need = needs.get(process, needs["default"]).of(case["cells"], columns_of(process, case))
    return max(label_mb(process), need / 2**20)


def fit(results: list[dict[str, Any]]) -> dict[str, tuple[float, float, float, float]]:
    """Return mb, kb_per_cell, bytes_per_value and seconds_per_1000_cells of every process.

    Non-negative least squares on what was used, relative to it, times :data:`MARGIN`; the constant is then raised until
    no measured case is above what is asked for. Processes that were measured at one size only are left out.
    """
    import numpy as np
    from scipy.optimize import nnls

    found = {}
    for process in sorted({name for result in results for name in result["steps"]}):
        rows = [(r["case"], r["steps"][process]) for r in results if process in r["steps"]]
        if max(case["cells"] for case, _ in rows) < LARGE:
            continue
        cells = np.array([case["cells"] for case, _ in rows], dtype=float)
        columns = np.array([columns_of(process, case) for case, _ in rows], dtype=float)
        used = np.array([step["peak_rss_mb"] for _, step in rows])
        terms = np.column_stack([np.ones(len(rows)), cells * 2**10 / 2**20, cells * columns / 2**20])
        weights = MARGIN * nnls(terms / used[:, None], np.ones(len(rows)))[0]
        weights[0] += max(0.0, float(np.max(MARGIN * used - terms @ weights)))
        seconds = max(step["cpu_seconds"] / case["cells"] * 1000 for case, step in rows if case["cells"] >= LARGE)
        found[process] = (*map(float, weights), MARGIN * seconds)
    return found


def main() -> None:
    """Measure, or print the coefficients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="sizes to measure")
    parser.add_argument("--genes", type=int, default=20_000, help="genes of the data")
    parser.add_argument("--dims", type=int, default=50, help="components of the PCA")
    parser.add_argument("--only", default="", help="processes whose name holds this text")
    parser.add_argument("--scratch", type=Path, default=Path("resources_bench"), help="folder for the data, kept")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "resources", help="folder of the JSON files")
    parser.add_argument("--fit", action="store_true", help="print coefficients from the results")
    args = parser.parse_args()
    args.results.mkdir(parents=True, exist_ok=True)
    if args.fit:
        results = [json.loads(path.read_text()) for path in sorted(args.results.glob("*.json"))]
        for process, (mb, per_cell, per_value, seconds) in fit(results).items():
            print(f"{process}\t{mb:.0f}\t{per_cell:.2f}\t{per_value:.3f}\t{seconds:.1f}")
        return
    for cells in args.cells:
        case = {"cells": cells, "genes": args.genes, "dims": args.dims}
        name = f"{cells}x{args.genes}x{args.dims}"
        measure_size(case, args.scratch.resolve() / name, args.results / f"{name}.json", args.only)


if __name__ == "__main__":
    main()
