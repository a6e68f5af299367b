"""Shared by all tests: where the project and the real data sets lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import resume

if TYPE_CHECKING:
    from helpers_report import Run

# one thread for every numerical library, before any of them is imported: workers share the cores, and numba refuses a
# change of its number of threads once it has started
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
os.environ.update(dict.fromkeys(THREADS, "1"))
# several embeddings in a task are worked on by a fork of it, which numba's other layer ends where an earlier test of
# the same process has used it; a task of the pipeline forks before it computes
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")

PROJECT = Path(__file__).resolve().parents[2]
# what numba compiles is kept where -profile test keeps it: workers, and the runs of the pipeline, compile it once
os.environ.setdefault("NUMBA_CACHE_DIR", str(PROJECT / ".tools" / f"numba-{os.getuid()}"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this project."""
    resume.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Set them up."""
    resume.configure(config)


@pytest.fixture(scope="session")
def project() -> Path:
    """Root of the checkout."""
    return PROJECT


@pytest.fixture(scope="session")
def collected_run(tmp_path_factory: pytest.TempPathFactory) -> "tuple[Run, Path]":
    """Paths and tables of the synthetic run of ``helpers_report``, made once: read with its ``read_report``."""
    from helpers_report import collect, write_run

    root = tmp_path_factory.mktemp("synthetic")
    run = write_run(root / "run")
    collect(run, root / "tables")
    return run, root / "tables"


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """Executables set the thread counts from --cpus; a test that runs one in this process must not leave them
    changed.
    """
    yield
    os.environ.update(dict.fromkeys(THREADS, "1"))
