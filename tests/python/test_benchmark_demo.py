"""``benchmarks/demo.py``: where the time of a run went, from its trace and the logs of its tasks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
HEADER = "hash\tname\tstatus\tsubmit\tduration\n"


def _load():
    spec = importlib.util.spec_from_file_location("demo", PROJECT / "benchmarks" / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


demo = _load()


def _run(folder: Path, *rows: tuple[str, str, str, str, str], log: str = "12:00:00 x INFO 1.50 s of imports\n") -> Path:
    """Write a trace, and the log of every task in it."""
    (folder / "trace.txt").write_text(HEADER + "".join("\t".join(row) + "\n" for row in rows))
    for task_hash, *_ in rows:
        task = folder / "work" / f"{task_hash}0123"
        task.mkdir(parents=True)
        (task / ".command.err").write_text(log)
    return folder / "trace.txt"


def test_two_tasks_side_by_side_and_one_after_a_pause(tmp_path: Path) -> None:
    day = "2026-11-26 10:00"
    trace = _run(
        tmp_path,
        ("aa/000001", "W:A:SCORE (x)", "COMPLETED", f"{day}:00.000", "10s"),
        ("bb/000002", "W:A:SCORE (y)", "COMPLETED", f"{day}:05.000", "10s"),
        ("cc/000003", "W:B:PROBE (x)", "COMPLETED", f"{day}:20.000", "2s"),
    )
    tasks = demo.read_tasks(trace, tmp_path / "work")
    assert demo.busy_seconds(tasks) == pytest.approx(17)
    found = demo.measure(tasks, wall=30.0, cores=2)
    assert (found["idle_s"], found["imports_s"]) == pytest.approx((13, 4.5))
    assert found["share"] == pytest.approx((13 * 2 + 4.5) / 60)
    assert found["processes"]["SCORE"] == pytest.approx({"tasks": 2, "seconds": 20, "imports": 3})


def test_a_run_that_was_cached_or_says_nothing_is_no_measurement(tmp_path: Path) -> None:
    row = ("aa/000001", "W:A:SCORE (x)", "CACHED", "2026-11-26 10:00:00.000", "10s")
    with pytest.raises(SystemExit, match=r"SCORE \(x\) is CACHED"):
        demo.read_tasks(_run(tmp_path, row), tmp_path / "work")
    (tmp_path / "silent").mkdir()
    trace = _run(tmp_path / "silent", ("aa/000001", "S", "COMPLETED", *row[3:]), log="")
    with pytest.raises(SystemExit, match="no line about imports"):
        demo.read_tasks(trace, tmp_path / "silent" / "work")


def test_the_page_has_what_was_measured() -> None:
    text = (PROJECT / "docs" / "performance.md").read_text()
    assert demo.BEGIN in text and demo.END in text
    assert text.split(demo.BEGIN)[1].split(demo.END)[0].strip() == demo.kept_section()


def test_the_section_names_tasks_times_and_share(tmp_path: Path) -> None:
    assert demo.kept_section(tmp_path / "none.json") == demo.NOT_MEASURED
    tasks = [{"process": "SCORE", "start": 5.0, "end": 25.0, "imports": 4.0}]
    found = demo.measure(tasks, wall=40.0, cores=2) | {"load_before": 0.1}
    (tmp_path / "kept.json").write_text(json.dumps(found))
    text = demo.kept_section(tmp_path / "kept.json")
    assert "**40 s**, 1 task" in text and "20.0 s of it" in text and "55% of the core seconds" in text
    assert "| SCORE | 1 | 20.0 | 4.0 |" in text
