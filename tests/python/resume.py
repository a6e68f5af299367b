"""``pytest --resume``: leave out the tests that passed before with the same code, so that a long run can be taken up.

A test that passed leaves a record. It holds while the pipeline, the helpers of the tests and the test's own file are
what they were; a test that failed, was skipped or was cut off leaves none and runs again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from engines.suite import PROJECT, RECORDS, digest

#: what every test depends on; the files of other tests are not among it
SOURCES = (
    *("assets", "bin", "conf", "main.nf", "modules", "nextflow.config", "nextflow_schema.json", "subworkflows"),
    *("workflows", "tests/data", "tests/engines", "tests/python/helpers_*.py", "tests/python/conftest.py"),
)


class Resume:
    """Records of passed tests, and the hooks that write and read them.

    Parameters
    ----------
    folder
        Of the records, one JSON file per test.
    is_writer
        Whether this process writes records: with several workers, the one that they report to.
    """

    def __init__(self, folder: Path, *, is_writer: bool) -> None:
        self.folder, self.is_writer, self.code = folder, is_writer, digest(SOURCES)
        self.called: dict[str, float] = {}
        self.n_left_out = 0

    def key(self, nodeid: str) -> str:
        """Return what a record is valid for: the code and the test's own file."""
        own = PROJECT / nodeid.partition("::")[0]
        content = own.read_bytes() if own.is_file() else b""
        return hashlib.sha256(self.code.encode() + content).hexdigest()

    def record_of(self, nodeid: str) -> Path:
        """Return the file of a test's record."""
        return self.folder / f"{hashlib.sha256(nodeid.encode()).hexdigest()[:32]}.json"

    def has_passed(self, nodeid: str) -> bool:
        """Return whether a test passed with this code."""
        path = self.record_of(nodeid)
        return path.is_file() and json.loads(path.read_text())["code"] == self.key(nodeid)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what has passed."""
        passed = {item.nodeid for item in items if self.has_passed(item.nodeid)}
        self.n_left_out = len(passed)
        if passed:
            config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
            items[:] = [item for item in items if item.nodeid not in passed]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the record of a test whose last phase has passed too."""
        if not report.passed:
            self.called.pop(report.nodeid, None)
        elif report.when == "call":
            self.called[report.nodeid] = report.duration
        elif report.when == "teardown" and report.nodeid in self.called and self.is_writer:
            self.folder.mkdir(parents=True, exist_ok=True)
            found = {"test": report.nodeid, "code": self.key(report.nodeid), "seconds": self.called[report.nodeid]}
            part = self.record_of(report.nodeid).with_suffix(".part")
            part.write_text(json.dumps(found) + "\n")
            part.replace(self.record_of(report.nodeid))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Call a run in which nothing was left to do a success."""
        is_done = self.n_left_out or any(self.folder.glob("*.json"))
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and is_done:
            session.exitstatus = pytest.ExitCode.OK

    def pytest_report_header(self) -> str:
        """Say where the records are."""
        return f"resume: tests that passed with this code are left out ({self.folder.relative_to(PROJECT)})"


def add_option(parser: pytest.Parser) -> None:
    """Add ``--resume``."""
    parser.addoption("--resume", action="store_true", help="leave out tests that passed before with the same code")


def configure(config: pytest.Config) -> None:
    """Take part in the run where ``--resume`` is given."""
    if config.getoption("--resume"):
        config.pluginmanager.register(
            Resume(RECORDS / "pytest", is_writer=not hasattr(config, "workerinput")), "resume"
        )
