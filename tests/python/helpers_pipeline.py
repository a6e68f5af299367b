"""Run the pipeline from a test and read back what it wrote."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

from helpers_environments import hiding_environment

PROJECT = Path(__file__).resolve().parents[2]
#: what Nextflow needs of a checkout
PARTS = [
    "assets",
    "bin",
    "conf",
    "main.nf",
    "modules",
    "nextflow.config",
    "nextflow_schema.json",
    "subworkflows",
    "workflows",
]
KEYS = ["dataset", "embedding", "metric", "group"]


@dataclass
class Run:
    """A finished run."""

    folder: Path
    outdir: Path
    status: int
    log: str

    def table(self, name: str) -> pd.DataFrame:
        """One of the published tables."""
        return pd.read_csv(self.outdir / "tables" / f"{name}.tsv", sep="\t", keep_default_na=False, na_values=["NA"])

    def trace(self) -> list[dict]:
        """Rows of the execution trace."""
        with (self.outdir / "pipeline_info" / "execution_trace.txt").open() as handle:
            return list(csv.DictReader(handle, delimiter="\t"))

    def score(self, metric: str) -> pd.Series:
        """One metric over all cells, by embedding name."""
        scores = self.table("scores")
        rows = scores[(scores["metric"] == metric) & (scores["group"] == "all")]
        return rows.set_index("embedding")["value"]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a run: the project's own tools first, then the ``PATH`` of ``extra``; the v2 parser.

    Every task imports what the environment of its process has, and nothing else of what is installed here.
    """
    extra = dict(extra or {})
    paths = [str(PROJECT / ".tools" / "bin"), str(PROJECT / ".venv" / "bin"), extra.pop("PATH", os.environ["PATH"])]
    return (
        os.environ
        | hiding_environment()
        | extra
        | {
            "PATH": os.pathsep.join(paths),
            "NXF_SYNTAX_PARSER": "v2",
            "NXF_OFFLINE": "true",
            "NXF_ANSI_LOG": "false",
        }
    )


def command(*options: str, project: Path = PROJECT, outdir: Path) -> list[str]:
    """The command line of a run."""
    return ["nextflow", "run", str(project), "--outdir", str(outdir), *options]


def launch_config(profile: str, *parts: str) -> str:
    """A ``nextflow.config`` for the folder of a run: Nextflow 25.04 looks for the names of the profiles in it too.

    With the v2 parser of 25.04 it drops the parameters of profiles; v1 keeps them.
    """
    blocks = [f"    {name} {{ }}" for name in profile.split(",")]
    return "\n".join([*parts, "profiles {", *blocks, "}", ""])


def run_pipeline(
    folder: Path,
    *options: str,
    project: Path = PROJECT,
    out: str = "out",
    parser: str = "v2",
    timeout: int = 1500,
    extra: Mapping[str, str] | None = None,
) -> Run:
    """Run the pipeline in ``folder`` and wait for its end; ``extra`` is added to the environment."""
    if shutil.which("nextflow", path=environment()["PATH"]) is None:
        pytest.skip("nextflow is not on PATH; run `make setup`")
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        command(*options, project=project, outdir=folder / out),
        cwd=folder,
        env=environment(extra) | {"NXF_SYNTAX_PARSER": parser},
        timeout=timeout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Run(folder, folder / out, done.returncode, done.stdout)


def wait_for(pattern: str, seconds: int = 600, number: int = 1) -> int:
    """Process id of a process whose command line holds the pattern: the first, or the second that is there with it."""
    for _ in range(seconds * 10):
        found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=False).stdout.split()
        if len(found) >= number:
            return int(found[number - 1])
        time.sleep(0.1)
    raise AssertionError(f"no process '{pattern}' came up")


def kill_at(pattern: str, folder: Path, *options: str, out: str = "out") -> None:
    """Start a run and kill, at once, the task whose command line holds the pattern and Nextflow itself."""
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command(*options, outdir=folder / out),
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.kill(wait_for(pattern), signal.SIGKILL)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def copy_project(target: Path) -> Path:
    """Copy what a run needs of the checkout, so that a test may edit it."""
    for part in PARTS:
        source = PROJECT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / part)
    data = target / "tests" / "data"
    data.mkdir(parents=True)
    for name in ("demo.h5ad", "demo_samplesheet.csv"):
        shutil.copy2(PROJECT / "tests" / "data" / name, data / name)
    return target


def names_of(rows: list[dict], status: str) -> list[str]:
    """Process names (without the workflow's) of the tasks with a status."""
    return [row["name"].split(" ")[0].split(":")[-1] for row in rows if row["status"] == status]


def same_scores(left: pd.DataFrame, right: pd.DataFrame, embeddings: list[str]) -> float:
    """Largest difference of any score between two runs; asserts that both hold the same rows."""
    a, b = (frame[frame["embedding"].isin(embeddings)].set_index(KEYS)["value"].sort_index() for frame in (left, right))
    assert len(a) > 0
    assert a.index.equals(b.index)
    assert (a.isna() == b.isna()).all()
    return float((a - b).abs().max())


def same_tables(left: Run, right: Run) -> None:
    """Assert that every table of results is the same in two runs, to the last digit; ``resources`` is measured."""
    names, others = (
        sorted(path.stem for path in (run.outdir / "tables").glob("*.tsv") if path.stem != "resources")
        for run in (left, right)
    )
    assert names and names == others
    for name in names:
        pd.testing.assert_frame_equal(left.table(name), right.table(name), check_exact=True, obj=name)


def valid_rows(run: Run, name: str) -> int:
    """Validate every row of a table with jsonschema itself, not with the code that wrote it; the number of rows."""
    schema = json.loads((PROJECT / "assets" / f"schema_{name}.json").read_text())
    rows = json.loads(run.table(name).to_json(orient="records", double_precision=15))
    check = jsonschema.Draft202012Validator(schema["items"])
    errors = [error.message for row in rows for error in check.iter_errors(row)]
    assert errors == [], errors[:3]
    assert list(run.table(name).columns) == list(schema["items"]["properties"])
    return len(rows)
