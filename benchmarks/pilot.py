#!/usr/bin/env python3
"""Compare what a pilot predicts with what the full run takes: time and memory of a few methods on simulated cells.

``python benchmarks/pilot.py --folder DIR`` simulates the cells, runs the pipeline with ``--pilot`` and then on all
cells, one task at a time, and prints predicted and measured values side by side. It ends with status 1 where one is off
by more than the factor. A run that was interrupted goes on where it stopped (``-resume``).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

# ruff: noqa: T201

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "bin"))

if TYPE_CHECKING:
    import pandas as pd

#: name of the simulated data set
DATASET = "simulated"
#: design of the cells: five batches of unlike sizes, eight types, one of them rare
DESIGN = {
    "n_types": 8,
    "n_batches": 5,
    "batch_shares": [0.35, 0.25, 0.2, 0.12, 0.08],
    "type_shares": [0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.04, 0.01],
}
#: one task at a time: tasks that share the cores would be measured with each other
CONFIG = "executor {\n    queueSize = 1\n}\n"
SKIPPED = ("--skip_umap", "--skip_probing", "--skip_diagnosis")


def simulate(folder: Path, n_cells: int, n_genes: int) -> None:
    """Write the cells and the samplesheet, unless they are there."""
    import json

    target = folder / "simulated.h5ad"
    (folder / "design.json").write_text(json.dumps(DESIGN))
    (folder / "samplesheet.csv").write_text(
        f"dataset,h5ad,batch_key,label_key,batch_role\n{DATASET},{target.name},batch,cell_type,technical\n"
    )
    (folder / "one_task.config").write_text(CONFIG)
    if not target.exists():
        command = [sys.executable, PROJECT / "bin" / "simulate_cells.py", "--design", "design.json", "--seed", "0"]
        sizes = ["--n_cells", str(n_cells), "--n_genes", str(n_genes), "--output", target.name]
        subprocess.run([*map(str, command), *sizes], cwd=folder, check=True)


def run_pipeline(folder: Path, name: str, args: argparse.Namespace, *more: str) -> Path:
    """Run the pipeline and return its output folder.

    Raises
    ------
    subprocess.CalledProcessError
        The run failed; its reason is above.
    """
    command = [
        *("nextflow", "-c", "one_task.config", "run", str(PROJECT), "-resume", "-work-dir", f"work_{name}"),
        *("--input", "samplesheet.csv", "--outdir", name, "--methods", args.methods, "--seeds", "0"),
        *("--controls", "none", "--corrections", "none", "--max_cpus", str(args.cpus), "--max_memory", args.max_memory),
        *(SKIPPED if args.only_needed else ()),
        *more,
    ]
    print(" ".join(command), flush=True)
    subprocess.run(command, cwd=folder, check=True)
    return folder / name


def predicted(outdir: Path) -> "pd.DataFrame":
    """Return the predicted rows of ``cost.tsv``: ``method, part, quantity, predicted, exponent``."""
    import pandas as pd

    cost = pd.read_csv(outdir / "tables" / "cost.tsv", sep="\t", keep_default_na=False, na_values=["NA"])
    rows = cost[(cost["kind"] == "predicted") & (cost["status"] == "ok")]
    return rows.rename(columns={"value": "predicted"})[["method", "part", "quantity", "predicted", "exponent"]]


def measured(outdir: Path) -> "pd.DataFrame":
    """Return what the full run took, counted as the pilots are: ``method, part, quantity, measured``."""
    from scfm.registries.schemas import Schemas
    from scfm.registries.typed import read_typed
    from scfm.report.tables.cost import cost_of_dataset
    from scfm.report.tables.load import read_plan

    resources = read_typed(outdir / "tables" / "resources.tsv", "resources", Schemas())
    rows = cost_of_dataset(read_plan(outdir / "pipeline_info" / "plan.tsv"), resources, DATASET)
    return rows.rename(columns={"value": "measured"})


def compare(before: "pd.DataFrame", after: "pd.DataFrame", factor: float) -> "pd.DataFrame":
    """Return predicted and measured values with their ratio, and whether it is within the factor.

    Parameters
    ----------
    before, after
        From :func:`predicted` and :func:`measured`.
    factor
        Largest ratio of the larger to the smaller value.

    Returns
    -------
    A row per method, part and quantity that either has; ``within`` is false where one of the two is missing.
    """
    table = before.merge(after, how="outer", on=["method", "part", "quantity"])
    table["ratio"] = table["predicted"] / table["measured"]
    table["within"] = table["ratio"].between(1 / factor, factor)
    return table.sort_values(["quantity", "part", "method"], ignore_index=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate, run twice, print the comparison; 1 where a value is off by more than the factor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder for cells, runs and results; kept")
    parser.add_argument("--n_cells", type=int, default=50_000, help="cells of the full run (%(default)s)")
    parser.add_argument("--n_genes", type=int, default=2_000, help="genes (%(default)s)")
    parser.add_argument("--pilot", type=int, default=10_000, help="cells of the largest pilot (%(default)s)")
    parser.add_argument("--methods", default="pca,harmony,scanorama,fastmnn", help="%(default)s")
    parser.add_argument("--cpus", type=int, default=2, help="cores of a task at most (%(default)s)")
    parser.add_argument("--max_memory", default="12.GB", help="memory of a task at most (%(default)s)")
    parser.add_argument("--factor", type=float, default=1.5, help="largest ratio (%(default)s)")
    parser.add_argument("--everything", dest="only_needed", action="store_false", help="also UMAPs, probes, diagnosis")
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    simulate(args.folder, args.n_cells, args.n_genes)
    pilot = run_pipeline(args.folder, "pilot", args, "--pilot", str(args.pilot))
    full = run_pipeline(args.folder, "full", args)
    table = compare(predicted(pilot), measured(full), args.factor)
    table.to_csv(args.folder / "pilot.tsv", sep="\t", index=False)
    print(table.round(2).to_string(index=False))
    off = int((~table["within"]).sum())
    print(f"{len(table) - off} of {len(table)} values are within a factor of {args.factor:g}.")
    return int(off > 0)


if __name__ == "__main__":
    sys.exit(main())
