"""Shared by all tests: where the project and the real data sets lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import resume

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

PROJECT = Path(__file__).resolve().parents[2]


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


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """Executables set the thread counts from --cpus; a test that runs one in this process must not leave them
    changed.
    """
    yield
    os.environ.update(dict.fromkeys(THREADS, "1"))
