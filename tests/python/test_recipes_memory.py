"""Memory of a recipe: measured in a process of its own, it follows neither the size of the file nor that of the
selection.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers_recipes import ROOT


def measure(folder: Path, n_cells: int, *shares: float) -> dict[float, dict]:
    """Return what benchmarks/recipes.py measures, by share of rows."""
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "recipes.py"),
        "--cells",
        str(n_cells),
        "--nonzeros",
        "600",
        "--share",
        *map(str, shares),
        "--folder",
        str(folder),
        "--json",
        str(folder / "out.json"),
        "--limit_mb",
        "1000",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {run["share"]: run for run in json.loads((folder / "out.json").read_text())["runs"]}


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").is_file(),
    reason="the largest resident memory of a process is read from /proc (Linux)",
)
def test_one_percent_of_a_big_file_needs_little_memory(tmp_path: Path) -> None:
    small, big = measure(tmp_path, 4_000, 0.5), measure(tmp_path, 60_000, 0.01, 0.5)
    assert 400 < big[0.01]["cells"] < 800
    # all counts of 60,000 cells are 288 MB, half of them 144 MB
    assert big[0.01]["peak_mb"] < 400
    assert big[0.01]["peak_mb"] - small[0.5]["peak_mb"] < 80
    assert big[0.5]["peak_mb"] - small[0.5]["peak_mb"] < 140
    assert big[0.5]["cells"] > 10 * small[0.5]["cells"]


def test_a_limit_that_is_passed_fails_the_benchmark(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "recipes.py"),
        "--cells",
        "2000",
        "--nonzeros",
        "20",
        "--folder",
        str(tmp_path),
        "--limit_mb",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is above the limit of 1 MB" in done.stderr
