"""``docs/performance.md``: its section on large data is what the kept results of ``make bench`` say."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def _load(name: str):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


page, bench, resources = _load("bench_page"), _load("bench"), _load("resources")
atlas, intervals = _load("atlas"), _load("intervals")


def test_the_section_is_made_from_the_kept_results() -> None:
    text = (BENCHMARKS.parent / "docs" / "performance.md").read_text()
    kept = text.split(page.BEGIN)[1].split(page.END)[0].strip()
    assert kept == page.section(page.read_results(BENCHMARKS / "results"), BENCHMARKS / "results")


def test_the_plot_of_the_same_results_is_the_same_file(tmp_path: Path) -> None:
    results = page.read_results(BENCHMARKS / "results")
    for name in "ab":
        (tmp_path / name).mkdir()
        page.plot(results, tmp_path / name / "plot.svg")
    assert (tmp_path / "a" / "plot.svg").read_bytes() == (tmp_path / "b" / "plot.svg").read_bytes()


def test_a_method_asks_for_what_the_growth_that_was_measured_leads_to() -> None:
    """At 300,000 cells, from what 1,000 and 10,000 used. The preparation leaves memory for the disk long before."""
    kept = BENCHMARKS / "results" / "resources"
    low, high = (json.loads((kept / f"{n}x20000x50.json").read_text()) for n in (1_000, 10_000))
    both = set(low["steps"]) & set(high["steps"]) - {"PREPARE_DATASET"}
    assert {"PCA", "HARMONY", "SCANORAMA", "COMBAT", "SCVI"} <= both
    for process in sorted(both):
        first, last = (r["steps"][process]["peak_rss_mb"] for r in (low, high))
        expected = last + (last - first) / 9_000 * 290_000
        assert resources.asked_mb(process, {"cells": 300_000, "genes": 20_000, "dims": 50}) >= expected, process


def test_processes_measured_at_small_sizes_only_have_no_fit() -> None:
    step = {"peak_rss_mb": 500.0, "cpu_seconds": 2.0}
    found = resources.fit([{"case": {"cells": 1_000, "genes": 20_000, "dims": 50}, "steps": {"PCA": step}}])
    assert found == {}


def test_slopes_are_those_of_powers() -> None:
    assert page.slope((1e4, 3.0), (1e5, 3.0 * 10**1.5)) == pytest.approx(1.5)
    assert page.slope((2.0, 8.0), (4.0, 16.0)) == pytest.approx(1.0)


def test_every_case_has_a_file_of_its_own() -> None:
    names = [bench.name_of(case) for case in bench.cases(1)]
    assert len(set(names)) == len(names)
    kinds = {"ours", "benchmarker", "scib", "search", "probing", "intervals", "preparation"}
    assert {c["what"] for c in bench.cases(1)} == kinds
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


def test_a_value_of_a_cell_is_computed_once_and_looked_up_by_every_draw() -> None:
    calls = []

    def doubled(values: np.ndarray, codes: np.ndarray, rows: np.ndarray | None = None, *, device: str) -> np.ndarray:
        calls.append(device)
        return 2 * values[rows] + codes[rows]

    once = intervals.Once(doubled, "rows", 2)
    values, codes = np.arange(5.0), np.array([0, 0, 1, 1, 1])
    assert once(values, codes, np.array([1, 4]), device="cpu").tolist() == [2, 9]
    assert once(values, codes, rows=np.array([0, 2]), device="cpu").tolist() == [0, 5]
    assert once(values, codes[::-1], np.array([0]), device="cpu").tolist() == [1]
    assert len(calls) == 2


def test_processes_of_a_run_and_a_task_that_failed(tmp_path: Path) -> None:
    head = "name\tstatus\trealtime\t%cpu\tpeak_rss\n"
    rows = "W:PCA (a)\tCOMPLETED\t10s\t150.0%\t1.5 GB\nW:PCA (b)\tCACHED\t1m\t50.0%\t800 MB\n"
    trace = tmp_path / "trace.txt"
    trace.write_text(head + rows)
    assert atlas.read_trace(trace) == {"PCA": {"tasks": 2, "cpu_s": 45.0, "longest_s": 60.0, "peak_mb": 1536.0}}
    trace.write_text(head + rows.replace("CACHED", "FAILED"))
    with pytest.raises(SystemExit, match=r"PCA \(b\) is FAILED"):
        atlas.read_trace(trace)


def test_tables_of_the_page_name_what_was_measured(tmp_path: Path) -> None:
    part = {"tasks": 2, "cpu_s": 45.0, "longest_s": 60.0, "peak_mb": 1500.0}
    run = {"cells": 300_000, "load_before": 1.0, "wall_s": 1800.0, "report_mb": 4.2, "processes": {"PCA": part}}
    (tmp_path / "300000.json").write_text(json.dumps(run))
    assert "| `PCA` | 2 | 45.0 | 60.0 | 1,500 |" in page.atlas_table(tmp_path)
    case = {"what": "probing", "cells": 30_000, "dims": 512, "cpus": 1}
    step = {"cpu_s": 10.0, "wall_s": 9.0, "peak_mb": 500.0}
    ours = {"case": case | {"peer": False}, "steps": {"probing": step}, "cpu_s": 14.0, "wall_s": 13.0, "peak_mb": 600.0}
    ours |= {"loss_ours": 1.0, "loss_sklearn": 1.5}
    theirs = {"case": case | {"peer": True}, "steps": {"probing": {"cpu_s": 40.0}}, "cpu_s": 41.0}
    found = page.probing_table([ours, theirs])
    assert "| 30,000 x 512 | 1 | 10.0 | 9.0 | in it | 500 | 40.0 | **4.0** | 4.0 | -5.0e-01 |" in found
    assert "not run" in page.probing_table([ours])
    ours["steps"] = {"neighbours": {"cpu_s": 10.0}, "probing": step}
    assert "| 10.0 | 500 | 40.0 | **4.0** | 2.0 |" in page.probing_table([ours, theirs])
    metric = {"exact": 0.5, "covered": 0.94, "largest_error": 0.001, "largest_stderr": 0.0005}
    result = {"case": {"what": "intervals", "cells": 50_000, "draws": 100}, "metrics": {"kbet": metric}}
    assert "| `kbet` | 0.5000 | 94% | 0.0010 | 0.0005 |" in page.intervals_table([result])
    step = {"cpu_seconds": 9.0, "peak_rss_mb": 300.0}
    result = {"case": {"what": "preparation"}, "n_cells": 100_000, "n_values": 52e6, "file_mb": 92.0}
    result |= {"check": step, "prepare": step}
    assert "9.0 s, 300 MB | 9.0 s, 300 MB | not run |" in page.preparation_table([result])
