"""``--resume``: what passed with this code is left out, and nothing else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from resume import Resume

OWN = "tests/python/test_resume.py"


def reports(nodeid: str, *outcomes: str) -> list[SimpleNamespace]:
    phases = zip(("setup", "call", "teardown"), outcomes, strict=True)
    return [SimpleNamespace(nodeid=nodeid, when=w, passed=o == "passed", duration=1.5) for w, o in phases]


def left(records: Resume, *names: str) -> tuple[list[str], list[str]]:
    """Which of some tests are run, and which are left out."""
    out: list[str] = []
    config = SimpleNamespace(
        hook=SimpleNamespace(pytest_deselected=lambda items: out.extend(i.nodeid for i in items)),
    )
    items = [SimpleNamespace(nodeid=name) for name in names]
    records.pytest_collection_modifyitems(config, items)
    return [item.nodeid for item in items], out


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resume:
    monkeypatch.setattr("resume.digest", lambda _sources: "code")
    return Resume(tmp_path, is_writer=True)


def test_what_passed_is_left_out_and_what_failed_or_was_cut_off_runs_again(records: Resume) -> None:
    names = [f"{OWN}::{name}" for name in ("good", "bad", "skipped", "untidy", "cut")]
    outcomes = [("passed",) * 3, ("passed", "failed", "passed"), ("skipped", "", "passed")]
    outcomes += [("passed", "passed", "failed")]
    for name, phases in zip(names, outcomes, strict=False):
        for report in reports(name, *phases):
            records.pytest_runtest_logreport(report)
    records.pytest_runtest_logreport(reports(names[-1], "passed", "passed", "passed")[0])
    assert left(records, *names) == (names[1:], names[:1])


def test_an_edited_pipeline_or_test_file_makes_a_record_worthless(
    records: Resume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for report in reports(f"{OWN}::good", "passed", "passed", "passed"):
        records.pytest_runtest_logreport(report)
    assert left(records, f"{OWN}::good")[0] == []
    records.code = "other code"
    assert left(records, f"{OWN}::good")[0] == [f"{OWN}::good"]
    records.code = "code"
    monkeypatch.setattr("resume.PROJECT", tmp_path)  # where the file of the test is another one
    assert left(records, f"{OWN}::good")[0] == [f"{OWN}::good"]


def test_a_worker_writes_nothing_and_a_run_with_nothing_to_do_is_a_success(records: Resume, tmp_path: Path) -> None:
    worker = Resume(tmp_path / "worker", is_writer=False)
    for report in reports(f"{OWN}::good", "passed", "passed", "passed"):
        worker.pytest_runtest_logreport(report)
        records.pytest_runtest_logreport(report)
    assert not (tmp_path / "worker").exists()
    session = SimpleNamespace(exitstatus=pytest.ExitCode.NO_TESTS_COLLECTED)
    worker.pytest_sessionfinish(session, session.exitstatus)
    assert session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED
    records.pytest_sessionfinish(session, session.exitstatus)
    assert session.exitstatus == pytest.ExitCode.OK
