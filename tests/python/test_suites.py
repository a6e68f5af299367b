"""The long suites of the Makefile can be started: they are run by hand, and what they import moves."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from helpers_pipeline import PROJECT

SUITES = re.findall(r"python -m (engines\.run_\w+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)


def test_the_makefile_has_every_suite() -> None:
    files = (PROJECT / "tests" / "engines").glob("run_*.py")
    assert sorted(SUITES) == sorted(f"engines.{path.stem}" for path in files)


@pytest.mark.parametrize("module", SUITES)
def test_a_suite_says_which_cases_can_be_chosen(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": "tests:tests/python:bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "--only" in done.stdout, done.stderr
