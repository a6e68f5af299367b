#!/usr/bin/env python3
"""Run the demo and write into ``docs/performance.md`` where its time goes: imports, time without a running task, work.

``python benchmarks/demo.py`` runs it twice in a folder of its own: the first run compiles what is kept for the next
one, the second is measured. Times of tasks are those of Nextflow's trace, seconds of imports those that every
executable logs at its end (``scfm.task.imports``).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

# ruff: noqa: T201

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
sys.path[:0] = [str(PROJECT / "bin")]
BEGIN, END = "<!-- made by benchmarks/demo.py: begin -->", "<!-- made by benchmarks/demo.py: end -->"
_IMPORTS = re.compile(r"(\d+\.\d+) s of imports$", re.MULTILINE)

#: numbers of the last measurement, and what the page says before there are any
RESULTS = HERE / "results_demo.json"
NOT_MEASURED = "`python benchmarks/demo.py` has not been run on idle cores."

Task = dict[str, Any]


def read_tasks(trace: Path, work: Path) -> list[Task]:
    """Return the tasks of a finished run: process, start and end in seconds since the epoch, seconds of imports.

    Raises
    ------
    SystemExit
        A task was not completed in this run, or its log says nothing about imports.
    """
    from scfm.report.tables.resources import parse_duration

    tasks = []
    with trace.open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    for row in rows:
        if row["status"] != "COMPLETED":
            raise SystemExit(f"{trace}: {row['name']} is {row['status']}; a run is measured where all tasks complete.")
        start = datetime.fromisoformat(row["submit"]).timestamp()
        folder, rest = row["hash"].split("/")
        (log,) = (work / folder).glob(f"{rest}*/.command.err")
        imports = _IMPORTS.findall(log.read_text())
        if not imports:
            raise SystemExit(f"{log} has no line about imports.")
        name = row["name"].split(" ")[0].rpartition(":")[2]
        tasks.append({"process": name, "start": start, "end": start + (parse_duration(row["duration"]) or 0.0)})
        tasks[-1]["imports"] = sum(map(float, imports))
    return tasks


def busy_seconds(tasks: Sequence[Mapping[str, Any]]) -> float:
    """Return how long at least one task was running."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted((task["start"], task["end"]) for task in tasks):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def measure(tasks: Sequence[Mapping[str, Any]], wall: float, cores: int) -> dict[str, Any]:
    """Return where the time of a run went.

    Parameters
    ----------
    tasks
        See :func:`read_tasks`.
    wall
        Seconds from the command to its end.
    cores
        Tasks that ran side by side at most.

    Returns
    -------
    ``wall_s``; ``idle_s``, the seconds without a running task; ``imports_s`` of all tasks together; ``share``, the
    share of the core seconds that are imports or without a running task; and the tasks by process.
    """
    idle = wall - busy_seconds(tasks)
    imports = sum(task["imports"] for task in tasks)
    by_process: dict[str, dict[str, float]] = {}
    for task in tasks:
        found = by_process.setdefault(task["process"], {"tasks": 0, "seconds": 0.0, "imports": 0.0})
        found["tasks"] += 1
        found["seconds"] += task["end"] - task["start"]
        found["imports"] += task["imports"]
    return {
        "cores": cores,
        "wall_s": wall,
        "idle_s": idle,
        "imports_s": imports,
        "share": (idle * cores + imports) / (wall * cores),
        "load_before": os.getloadavg()[0],
        "processes": by_process,
    }


def section(found: Mapping[str, Any]) -> str:
    """Return the text between the markers of the page."""
    n_tasks = int(sum(p["tasks"] for p in found["processes"].values()))
    lines = [
        f"`make demo`, warm, on {found['cores']} cores (load before it: {found['load_before']:.1f}):"
        f" **{found['wall_s']:.0f} s**, {n_tasks} tasks. No task runs for {found['idle_s']:.1f} s of it (start and end"
        " of Nextflow, and what it needs between tasks), and all tasks together import packages for"
        f" {found['imports_s']:.1f} s: {found['share']:.0%} of the core seconds.",
        "",
        "| process | tasks | seconds | of these, imports |",
        "| --- | --- | --- | --- |",
    ]
    for name, p in sorted(found["processes"].items(), key=lambda item: -item[1]["seconds"]):
        lines.append(f"| {name} | {int(p['tasks'])} | {p['seconds']:.1f} | {p['imports']:.1f} |")
    return "\n".join(lines)


def kept_section(results: Path = RESULTS) -> str:
    """Return the text between the markers for the numbers that are kept."""
    return section(json.loads(results.read_text())) if results.exists() else NOT_MEASURED


def run_demo(folder: Path) -> float:
    """Run the demo in a folder; return its seconds."""
    command = ["nextflow", "run", str(PROJECT), "-profile", "test", "--outdir", str(folder / "out")]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> None:
    """Run, measure, keep the numbers and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="do not run it before, to compile")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the numbers are kept")
    parser.add_argument("--page", type=Path, default=PROJECT / "docs" / "performance.md", help="page to write into")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        for name in ["measured"] if args.once else ["compiling", "measured"]:
            folder = Path(scratch) / name
            folder.mkdir()
            load = os.getloadavg()[0]
            wall = run_demo(folder)
        tasks = read_tasks(folder / "out" / "pipeline_info" / "execution_trace.txt", folder / "work")
    found = measure(tasks, wall, cores=os.cpu_count() or 1) | {"load_before": load}
    args.json.write_text(json.dumps(found, indent=1) + "\n")
    text = args.page.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{args.page} must have the lines '{BEGIN}' and '{END}' once each.")
    before, rest = text.split(BEGIN)
    args.page.write_text(f"{before}{BEGIN}\n\n{kept_section(args.json)}\n\n{END}{rest.split(END)[1]}")
    print(section(found))


if __name__ == "__main__":
    main()
