"""Parquet files of the run: damaged ones are sentences, and no thread is needed to read one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from engines.files import empty, flip, truncate

from helpers_modules import BIN
from scfm.errors import ScfmError
from scfm.io.parquet import open_parquet, read_frame
from scfm.io.tables import read_embedding, write_embedding

#: reads a file when the address space has no room for the stack of another thread
LIMITED = """
import resource, sys
import pyarrow.parquet as pq
{load}
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 4_000_000, used + 4_000_000))
print({read}.num_rows)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table of 500 cells."""
    rng = np.random.default_rng(0)
    write_embedding(tmp_path / "e.parquet", [f"c{i}" for i in range(500)], rng.normal(size=(500, 8)))
    return tmp_path / "e.parquet"


@pytest.mark.parametrize("how", [truncate, empty, flip])
def test_a_damaged_file_is_a_sentence(how, path: Path) -> None:
    how(path)
    with pytest.raises(ScfmError, match=r"e\.parquet is no parquet file that can be read \(.*\)\. Delete it and run"):
        read_embedding(path)


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_frame(tmp_path / "absent.parquet")


def test_an_error_of_the_body_is_not_one_of_the_file(path: Path) -> None:
    with pytest.raises(KeyError, match="mine"), open_parquet(path):
        raise KeyError("mine")


def test_no_thread_is_needed(path: Path) -> None:
    code = LIMITED.format(load="from scfm.io.parquet import read_arrow", read=f"read_arrow({str(path)!r})")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(BIN)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "500\n", done.stderr
