#!/usr/bin/env python3
"""Time our steps and their peers on simulated embeddings, in one run: ``make bench`` and ``make bench-quick``.

Every case runs in a process of its own, so its CPU time has the imports and its peak memory is its own. Its result is a
JSON file in ``--results``; a case that has one is not run again. Cases of up to 30,000 cells are run three times
(medians) unless the first run takes a third of the limit; larger ones once. ``bench_page.py`` writes the section of
``docs/performance.md`` from the files.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# ruff: noqa: T201

HERE = Path(__file__).resolve().parent
#: scib has an environment of its own
SCIB_PYTHON = HERE.parent / ".tools" / "scib" / "bin" / "python"
LIBRARIES = ("exact", "scfmbench", "faiss", "hnswlib", "usearch", "pynndescent")
QUICK_MAX_CELLS = 10_000
#: CPU seconds of a process after which a case is stopped: 20 minutes, an hour of those that a goal is set for
LIMIT, LONG_LIMIT = 1200, 3600


def cases(cpus: int) -> Iterator[dict[str, Any]]:
    """Yield all cases: those that a goal is set for first, the largest of them last, then the others."""
    for cells, embeddings in ((1_200, 4), (30_000, 2), (10_000, 1), (100_000, 1)):
        for what in ("ours", "benchmarker", *["scib"] * (cells <= 30_000)):
            yield {"what": what, "cells": cells, "dims": 50, "embeddings": embeddings, "cpus": cpus}
    for separable in (False, True):
        for peer in (False, True):
            case = {"what": "probing", "peer": peer, "cells": 30_000, "dims": 512, "cpus": cpus}
            yield case | ({"separable": True} if separable else {})
    yield {"what": "intervals", "cells": 50_000, "dims": 50, "draws": 100, "cpus": cpus}
    for cells, peer in ((100_000, True), (1_000_000, False)):
        yield {"what": "preparation", "peer": peer, "cells": cells, "dims": 20_000, "cpus": cpus}
    yield {"what": "ours", "cells": 1_000_000, "dims": 50, "embeddings": 1, "cpus": 2, "limit": LONG_LIMIT}
    yield {"what": "probing", "peer": False, "cells": 200_000, "dims": 512, "cpus": 2, "limit": LONG_LIMIT}
    for cells, dims in ((2_000, 50), (10_000, 512), (10_000, 1_280), (30_000, 50), (30_000, 512)):
        yield {"what": "ours", "cells": cells, "dims": dims, "embeddings": 1, "cpus": cpus}
    for cells, dims in ((100_000, 512), (300_000, 50)):
        yield {"what": "ours", "cells": cells, "dims": dims, "embeddings": 1, "cpus": cpus, "limit": LONG_LIMIT}
    for cells, dims in ((10_000, 50), (10_000, 512), (10_000, 1_280), (30_000, 50), (30_000, 512), (30_000, 1_280)):
        for library in LIBRARIES:
            for threads in (1, 2):
                yield {"what": "search", "library": library, "cells": cells, "dims": dims, "cpus": threads}
    for cells, dims in ((2_000, 50), (10_000, 512)):
        for peer in (False, True):
            yield {"what": "probing", "peer": peer, "cells": cells, "dims": dims, "cpus": cpus}


def name_of(case: dict[str, Any]) -> str:
    """Return the name of a case's file."""
    peer = {"probing": "sklearn", "preparation": "scanpy"}.get(case["what"], "") if case.get("peer") else ""
    who = case.get("library") or peer
    who += "separable" if case.get("separable") else ""
    parts = [case["what"], who, f"{case['cells']}x{case['dims']}", f"{case.get('embeddings', 1)}e", f"{case['cpus']}t"]
    return "_".join(part for part in parts if part) + ".json"


def run_once(case: dict[str, Any], limit: int) -> dict[str, Any]:
    """Run a case in a fresh process of at most ``limit`` CPU seconds; return its steps, seconds, and how it ended."""
    python = str(SCIB_PYTHON) if case["what"] == "scib" else sys.executable
    if shutil.which(python) is None:
        return {"missing": python, "cpu_s": 0.0, "wall_s": 0.0}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [python, str(HERE / "bench_case.py"), json.dumps(case)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5)),
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        found |= json.loads(line) if line.startswith("{") else {}
    if done.returncode == -signal.SIGXCPU:
        found["stopped_after_s"] = limit
    elif done.returncode:
        found["failed"] = (done.stderr.strip().splitlines() or ["no message"])[-1]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found | {"cpu_s": cpu, "wall_s": time.perf_counter() - start}


def run_case(case: dict[str, Any], limit: int, rounds: int) -> dict[str, Any]:
    """Run a case as often as its size asks for, a slow one once, and keep the run with the median CPU time."""
    limit = case.get("limit", limit)
    runs = [run_once(case, limit)]
    if case["cells"] <= 30_000 and runs[0]["cpu_s"] < limit / 3:
        runs += [run_once(case, limit) for _ in range(rounds - 1)]
    runs.sort(key=lambda r: r["cpu_s"])
    middle = runs[len(runs) // 2]
    spread = [runs[0]["cpu_s"], runs[-1]["cpu_s"]]
    return {"case": case, "rounds": len(runs), "cpu_range_s": spread, "load": os.getloadavg()[0], **middle}


def main() -> None:
    """Run the cases that have no result yet until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the JSON files")
    parser.add_argument("--quick", action="store_true", help=f"cases of up to {QUICK_MAX_CELLS:,} cells")
    parser.add_argument("--only", default="", help="cases whose file name contains this")
    parser.add_argument("--cpus", type=int, default=1, help="threads of both sides where a case sets none")
    parser.add_argument("--rounds", type=int, default=3, help="runs of a case of up to 30,000 cells")
    parser.add_argument("--minutes", type=float, default=100.0, help="start no case after this time")
    args = parser.parse_args()
    args.results.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    wanted = [c for c in cases(args.cpus) if not args.quick or c["cells"] <= QUICK_MAX_CELLS]
    wanted = [c for c in wanted if args.only in name_of(c)]
    left = [c for c in wanted if not (args.results / name_of(c)).exists()]
    print(f"{len(wanted)} cases, {len(wanted) - len(left)} have a result")
    for i, case in enumerate(left):
        remaining = 60 * args.minutes - (time.perf_counter() - start)
        if remaining <= 0:
            print(f"Time is over: {len(left) - i} cases are left for the next call.")
            break
        found = run_case(case, LIMIT, args.rounds)
        (args.results / name_of(case)).write_text(json.dumps(found, indent=1) + "\n")
        how = found.get("failed") or found.get("missing") or ""
        print(
            f"{name_of(case):48}{found['cpu_s']:10.1f} s CPU  {found.get('peak_mb', float('nan')):8.0f} MB  {how}",
            flush=True,
        )
    rates = [json.loads(path.read_text())["cpu_s"] for path in args.results.glob("*.json")]
    print(f"{len(rates)} results, median {statistics.median(rates):.1f} s of CPU" if rates else "no result")


if __name__ == "__main__":
    main()
