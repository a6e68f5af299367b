#!/usr/bin/env python3
"""Time and peak memory of the diagnosis of three embeddings, and of the comparison of conditions.

    python benchmarks/diagnosis.py --h5ad pbmc_3tech.h5ad --label_key cell_type --json diagnosis.json
    python benchmarks/diagnosis.py --cells 1000 2000 4000 8000 --types 8 --json diagnosis.json
    python benchmarks/diagnosis.py --cells 4000 --types 2 4 8 16 --json diagnosis.json

With ``--h5ad`` a file is read, else cells of six donors in two conditions are simulated (2,000 genes, 200 of which
differ between the conditions). Its cells are prepared; PCA, Harmony and linear removal are scored and then diagnosed in
one task, and conditions are compared where there are some, each step as a process of its own with two threads. The JSON
has one case per number of cells and types, and the log-log slopes of the CPU time over cells x types.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from preparation import measure

HERE = Path(__file__).resolve().parent
BIN, ASSETS = HERE.parent / "bin", HERE.parent / "assets"
METHODS = ("pca", "harmony", "linear")
N_GENES, N_DONORS, N_PLANTED = 2000, 6, 200


def run(executable: str, folder: Path, **options: object) -> dict[str, float]:
    """Run an executable with ``--name value``; a list becomes several values."""
    command = [sys.executable, str(BIN / f"{executable}.py"), "--quiet"]
    for name, value in options.items():
        command += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return measure(command, folder)


def simulate(folder: Path, n_cells: int, n_types: int) -> dict[str, str]:
    """Write simulated cells and return the row of the samplesheet."""
    design = {
        "n_cells": n_cells, "n_genes": N_GENES, "n_types": n_types, "n_conditions": 2, "n_donors": N_DONORS,
        "paired": True, "nesting": "batch_is_donor", "n_batches": N_DONORS,
        "programmes": [{"name": "response", "genes": N_PLANTED, "size": 0.8, "conditions": [1]}],
    }  # fmt: skip
    (folder / "design.json").write_text(json.dumps(design))
    run("simulate_cells", folder, design="design.json", output="cells.h5ad")
    keys = {"batch_key": "batch", "label_key": "cell_type", "condition_key": "condition", "donor_key": "donor"}
    return {"dataset": "d", "h5ad": "cells.h5ad", **keys}


def prepare(folder: Path, row: dict[str, str]) -> dict[str, Any]:
    """Check and prepare a data set; return the files of the later steps as options."""
    (folder / "sheet.csv").write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    (folder / "params.json").write_text(json.dumps({"input": "sheet.csv", "outdir": "results"}))
    run("check_inputs", folder, params="params.json", input="sheet.csv", outdir=".")
    about = {"dataset": "d", "datasets": "datasets.json", "params": "params.json"}
    schema = HERE.parent / "nextflow_schema.json"
    run("prepare_dataset", folder, **about, h5ad=row["h5ad"], schema=schema, outdir=".")
    files = {"prepared": "d.prepared.h5ad", "obs": "d.obs.parquet", "pca": "d.pca.parquet"}
    run("describe_design", folder, **about, **files, outdir=".")
    return files


def embed(folder: Path, files: dict[str, Any]) -> dict[str, list[str]]:
    """Make the embeddings, their neighbours and scores; return them as options of the diagnosis."""
    names = [f"d.{method}.raw.0" for method in METHODS]
    settings = {"params": "params.json", "methods_table": ASSETS / "methods.tsv", "outdir": "."}
    for method, name in zip(METHODS, names, strict=True):
        run("integrate_cells", folder, method=method, dataset="d", **files, **settings)
        unchecked = {"embedding": f"{name}.unchecked.parquet", "sidecar": f"{name}.unchecked.json"}
        run("validate_embedding", folder, **unchecked, obs=files["obs"], outdir=".")
    given = {"embedding": [f"{n}.parquet" for n in names], "sidecar": [f"{n}.json" for n in names]}
    run("find_neighbors", folder, **given, obs=files["obs"], outdir=".")
    given["knn"] = [f"{n}.knn.npz" for n in names]
    run("score_embedding", folder, **given, obs=files["obs"], pca=files["pca"], outdir=".")
    return given | {"scores": [f"{n}.scores.tsv" for n in names]}


def run_case(folder: Path, row: dict[str, str], about: dict[str, Any], cpus: int) -> dict[str, Any]:
    """Prepare a data set, then time the diagnosis and the comparison of conditions."""
    files = prepare(folder, row)
    given = embed(folder, files)
    tables = {"programmes": ASSETS / "programmes.tsv", "metrics_table": ASSETS / "metrics.tsv"}
    shared = {"params": "params.json", "outdir": ".", "on_error": "stop", "cpus": cpus}
    result = about | {"cpus": cpus, "diagnose": run("diagnose_embedding", folder, **given, **files, **tables, **shared)}
    if row.get("condition_key"):
        compared = {"prepared": files["prepared"], "obs": files["obs"], "design": "d.design.json"}
        result["compare"] = run("compare_conditions", folder, dataset="d", **compared, **shared)
    return result


def slopes(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the log-log slopes of CPU time over cells x types between neighbouring simulated cases."""
    sized = sorted((c for c in cases if "n_types" in c), key=lambda c: c["n_cells"] * c["n_types"])
    found = []
    for small, large in pairwise(sized):
        factor = math.log(large["n_cells"] * large["n_types"] / (small["n_cells"] * small["n_types"]))
        for step in ("diagnose", "compare"):
            if factor:
                slope = math.log(large[step]["cpu_seconds"] / small[step]["cpu_seconds"]) / factor
                found.append({"step": step, "to": [large["n_cells"], large["n_types"]], "slope": round(slope, 2)})
    return found


def main() -> None:
    """Run the cases and add them to the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--h5ad", type=Path, help="a file instead of simulated cells")
    parser.add_argument("--batch_key", default="batch", help="of the file")
    parser.add_argument("--label_key", default="cell_type", help="of the file")
    parser.add_argument("--cells", type=int, nargs="+", default=[4000], help="simulated cells")
    parser.add_argument("--types", type=int, nargs="+", default=[8], help="simulated types")
    parser.add_argument("--cpus", type=int, default=2, help="threads of each step")
    parser.add_argument("--scratch", type=Path, default=Path("diagnosis_bench"), help="folder for the files, removed")
    parser.add_argument("--json", type=Path, default=Path("diagnosis.json"), help="cases; those of before stay")
    args = parser.parse_args()
    cases = json.loads(args.json.read_text())["cases"] if args.json.exists() else []
    sizes = [(0, 0)] if args.h5ad else [(n, k) for n in args.cells for k in args.types]
    for n_cells, n_types in sizes:
        folder = args.scratch.resolve()
        folder.mkdir(parents=True)
        if args.h5ad:
            keys = {"batch_key": args.batch_key, "label_key": args.label_key}
            row, about = {"dataset": "d", "h5ad": str(args.h5ad.resolve()), **keys}, {"file": args.h5ad.name}
        else:
            row, about = simulate(folder, n_cells, n_types), {"n_cells": n_cells, "n_types": n_types}
        case = run_case(folder, row, about, args.cpus)
        shutil.rmtree(folder)
        cases = [c for c in cases if any(c.get(k) != v for k, v in about.items())] + [case]
        args.json.write_text(json.dumps({"cases": cases, "slopes": slopes(cases)}, indent=1) + "\n")
        print(json.dumps(case), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
