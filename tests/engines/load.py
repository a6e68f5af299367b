"""Many data sets, runs side by side, and results that are read elsewhere: what a stub run can show in minutes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pandas as pd

from engines.suite import Case
from engines.world import DEMO, World
from helpers_pipeline import Run, command, environment, run_pipeline

METHODS = ["pca", "harmony", "scanorama"]
PLAIN = ["--controls", "none", "--corrections", "none"]


def many_data_sets(folder: Path, number: int = 100) -> str:
    """Many data sets with three methods each, as a stub run."""
    names = [f"d{i:03d}" for i in range(number)]
    rows = "".join(f"{name},{DEMO},batch,cell_type\n" for name in names)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sheet.csv").write_text(f"dataset,h5ad,batch_key,label_key\n{rows}")
    (folder / "nextflow.config").write_text("process.resourceLimits = [cpus: 1, memory: '1.GB']\n")
    options = ["--input", "sheet.csv", "--methods", ",".join(METHODS), "--seeds", "0", *PLAIN]
    run = run_pipeline(folder, "-stub", *options, timeout=3000)
    assert run.status == 0, run.log[-3000:]
    trace = run.trace()
    assert {row["status"] for row in trace} == {"COMPLETED"}, Counter(row["status"] for row in trace)
    plan = pd.read_csv(run.outdir / "pipeline_info" / "plan.tsv", sep="\t", keep_default_na=False)
    assert Counter(plan["dataset"]) == dict.fromkeys(names, len(METHODS)), Counter(plan["dataset"])
    for name in names:
        found = {path.stem for path in (run.outdir / name / "embeddings").glob("*.parquet")}
        assert found == {f"{name}.{method}.raw.0" for method in METHODS}, found
        assert (run.outdir / name / f"{name}.h5ad").exists()
    return f"{len(trace)} tasks completed, {len(plan)} embeddings, a file of every data set"


def parallel_runs(folder: Path, number: int = 8) -> str:
    """Stub runs started at the same time, each in a folder of its own and with a heap of 300 MB."""
    options = ["--input", "sheet.csv", "--methods", "pca,harmony", "--seeds", "0", *PLAIN]
    started: dict[Path, subprocess.Popen[bytes]] = {}
    for i in range(number):
        place = folder / f"run{i}"
        place.mkdir(parents=True)
        (place / "sheet.csv").write_text(f"dataset,h5ad,batch_key,label_key\nd{i},{DEMO},batch,cell_type\n")
        with (place / "log").open("wb") as log:
            started[place] = subprocess.Popen(
                command("-stub", *options, outdir=place / "out"),
                cwd=place,
                env=environment() | {"NXF_OPTS": "-Xmx300m"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
    runs = [Run(p, p / "out", process.wait(timeout=1500), (p / "log").read_text()) for p, process in started.items()]
    files = []
    for i, run in enumerate(runs):
        assert run.status == 0, run.log[-3000:]
        names = {path.relative_to(run.outdir).as_posix() for path in run.outdir.rglob("*") if path.is_file()}
        others = [name for name in names if re.search(rf"\bd(?!{i}\b)\d\b", name)]
        assert f"d{i}/d{i}.h5ad" in names and not others, others
        files.append({name.replace(f"d{i}", "d") for name in names})
    assert all(found == files[0] for found in files)
    return f"{number} runs completed, each with its own {len(files[0])} files and none of another"


def moved_outdir(folder: Path) -> str:
    """The output folder is moved, the work folder deleted, and the results are read."""
    run = World(folder / "run", sets="a").reference
    moved = folder / "elsewhere"
    run.outdir.rename(moved)
    shutil.rmtree(run.folder)
    return f"{read_alone(moved)} files, no link among them, all read without the work folder"


def read_alone(outdir: Path) -> int:
    """Read every file of an output folder that was moved; assert that none needs another folder.

    Returns
    -------
    Number of files.
    """
    import anndata as ad

    paths = sorted(path for path in outdir.rglob("*") if not path.is_dir())
    assert paths and not [path for path in outdir.rglob("*") if path.is_symlink()]
    for path in paths:
        assert os.access(path, os.R_OK)
        if path.suffix == ".h5ad":
            assert ad.read_h5ad(path).n_obs > 0
        elif path.suffix == ".parquet":
            assert len(pd.read_parquet(path)) > 0
        elif path.suffix == ".tsv":
            assert len(pd.read_csv(path, sep="\t").columns) > 1, path
    assert (outdir / "report" / "scfmbench_report.html") in paths
    return len(paths)


def cases(_: World) -> dict[str, Case]:
    """Return every case by name."""
    return {
        "100 data sets, 3 methods": many_data_sets,
        "8 runs at the same time": parallel_runs,
        "the output folder moved": moved_outdir,
    }
