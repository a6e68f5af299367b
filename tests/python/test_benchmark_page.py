"""``docs/performance.md``: its section on large data is what the kept results of ``make bench`` say."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def _load(name: str):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


page, bench, resources = _load("bench_page"), _load("bench"), _load("resources")
MEASURED = BENCHMARKS / "results" / "resources"


def test_the_section_is_made_from_the_kept_results() -> None:
    text = (BENCHMARKS.parent / "docs" / "performance.md").read_text()
    kept = text.split(page.BEGIN)[1].split(page.END)[0].strip()
    assert kept == page.section(page.read_results(BENCHMARKS / "results"), MEASURED)


def test_slopes_are_those_of_powers() -> None:
    assert page.slope((1e4, 3.0), (1e5, 3.0 * 10**1.5)) == pytest.approx(1.5)
    assert page.slope((2.0, 8.0), (4.0, 16.0)) == pytest.approx(1.0)


def test_every_case_has_a_file_of_its_own() -> None:
    names = [bench.name_of(case) for case in bench.cases(1)]
    assert len(set(names)) == len(names)
    assert {c["what"] for c in bench.cases(1)} == {"ours", "benchmarker", "search", "probing"}
    assert max(c["cells"] for c in bench.cases(1)) == 1_000_000


def test_a_run_takes_up_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """A case without a result is run, in a process of its own; one with a result is not."""
    small = {"what": "ours", "cells": 60, "dims": 5, "embeddings": 1, "cpus": 1}
    monkeypatch.setattr(bench, "cases", lambda cpus: [small])
    arguments = ["bench.py", "--results", str(tmp_path), "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    bench.main()
    (path,) = tmp_path.glob("*.json")
    (found,) = page.read_results(tmp_path)
    assert found["steps"]["neighbours"]["wall_s"] > 0  # the CPU clock may be too coarse for 60 cells
    assert found["values"]["bras"][0] == "ok"
    assert not math.isnan(found["values"]["bras"][1])
    before = path.stat().st_mtime_ns
    bench.main()
    assert path.stat().st_mtime_ns == before
    assert "1 cases, 1 have a result" in capsys.readouterr().out


def test_coefficients_of_memory_are_recovered_with_their_margin() -> None:
    """Memory by known coefficients, on sizes that tell cells from columns."""
    sizes = [(1_000, 20_000, 50), (10_000, 20_000, 50), (100_000, 20_000, 50), (10_000, 2_000, 20)]
    results = []
    for cells, genes, dims in sizes:
        used = {"SCVI": 500 + cells * (4 * 2**10 + 2.0 * genes) / 2**20, "PROBE_EMBEDDING": 300 + cells * 2**10 / 2**20}
        steps = {name: {"peak_rss_mb": mb, "cpu_seconds": cells / 100} for name, mb in used.items()}
        results.append({"case": {"cells": cells, "genes": genes, "dims": dims}, "steps": steps})
    found = resources.fit(results)
    assert found["SCVI"] == pytest.approx([m * resources.MARGIN for m in (500, 4, 2.0, 10)], rel=1e-6)
    assert found["PROBE_EMBEDDING"][:3] == pytest.approx([m * resources.MARGIN for m in (300, 1, 0)], abs=1e-6)
