"""Files that a disk has damaged and a lack of memory: each is a sentence, and other results stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from engines.files import empty, flip, truncate

from helpers_data import make_adata, write
from helpers_modules import BIN
from helpers_report import collected, write_run
from scfm.errors import EXIT_UNEXPECTED, ScfmError
from scfm.io.hdf5 import reading_hdf5, writing_hdf5
from scfm.io.parquet import open_parquet, read_frame
from scfm.io.tables import read_embedding, write_embedding
from scfm.neighbors.table import Neighbors, read_neighbors
from scfm.task.cli import report_error

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


def cut_last_value(path: Path) -> None:
    """Cut a table in the middle of its last row: what is left of it may still look like a number."""
    content = path.read_bytes().rstrip()
    path.write_bytes(content[: content.rindex(b"\t", 0, -20) + 3])


@pytest.mark.parametrize("how", [truncate, flip, cut_last_value])
def test_a_damaged_table_fails_its_embedding_and_no_other(how, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", datasets=("ifnb",), methods=("pca", "harmony", "mymodel"))
    whole = collected(run, tmp_path / "whole").scores
    how(run.results / "ifnb.harmony.raw.0.scores.tsv")
    found = collected(run, tmp_path / "tables")
    lost = found.status.query("embedding == 'harmony.raw.0' and step == 'score'").iloc[0]
    assert lost["status"] == "failed" and lost["reason_code"] == "unreadable" and "harmony.raw.0" in lost["reason"]
    assert "harmony.raw.0" not in set(found.scores["embedding"])
    others = whole[whole["embedding"] != "harmony.raw.0"].reset_index(drop=True)
    pd.testing.assert_series_equal(found.scores["value"], others["value"])
    assert found.verdict["exit_status"] != 0


def unnamed(path: Path) -> None:
    """Replace a file by one array without a name."""
    with path.open("wb") as file:
        np.save(file, np.arange(3))


@pytest.mark.parametrize("how", [truncate, empty, flip, unnamed])
def test_damaged_neighbours_are_a_sentence(how, tmp_path: Path) -> None:
    number = np.arange(40)
    indices = np.stack([number, (number + 1) % 40], axis=1)
    Neighbors(number.astype(str).astype(object), indices, np.stack([number * 0.0, number + 1.0], axis=1)).write(
        tmp_path / "e.knn.npz"
    )
    how(tmp_path / "e.knn.npz")
    with pytest.raises(ScfmError, match=r"e\.knn\.npz can't be read \(.*\): it is damaged or no file of neighbours"):
        read_neighbors(tmp_path / "e.knn.npz")


@pytest.mark.parametrize("how", [truncate, empty, lambda path: path.write_bytes(b"text")])
def test_a_damaged_h5ad_is_a_sentence(how, tmp_path: Path) -> None:
    path = write(make_adata(), tmp_path / "d.prepared.h5ad")
    how(path)
    words = r"d\.prepared\.h5ad can't be read \(.*\): it is damaged or no HDF5 file"
    with pytest.raises(ScfmError, match=words), reading_hdf5(path) as file:
        raise AssertionError(f"it was read: {file['obs']}")
    with pytest.raises(ScfmError, match=words), writing_hdf5(tmp_path / "d.h5ad", copy_of=path) as file:
        raise AssertionError(f"it was read: {file['obs']}")
    assert [p.name for p in tmp_path.iterdir()] == ["d.prepared.h5ad"]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 9 GiB"),
        ImportError("algos.so: failed to map segment from shared object", name="pandas._libs"),
        RuntimeError("can't start new thread"),
    ],
)
def test_a_lack_of_memory_is_one_however_a_library_reports_it(error: Exception, capsys) -> None:
    assert report_error(error, ["--process", "SCFMBENCH:PREPARE_DATASET"]) == 137
    said = capsys.readouterr().err
    assert said.startswith("ERROR: The task ran out of memory") and "environment.yml" not in said


def test_an_error_that_a_library_raises_for_a_lack_of_memory_is_one(capsys) -> None:
    with pytest.raises(OSError) as raised:
        try:
            raise OSError("libllvmlite.so: failed to map segment from shared object")
        except OSError:
            raise OSError("Could not find/load shared object file 'libllvmlite.so'")  # noqa: B904  # as llvmlite does
    assert report_error(raised.value, []) == 137
    assert capsys.readouterr().err.startswith("ERROR: The task ran out of memory (Could not find/load")


def test_a_package_that_is_absent_is_no_lack_of_memory(capsys) -> None:
    error = ModuleNotFoundError("No module named 'scanpy'", name="scanpy")
    assert report_error(error, ["--process", "SCFMBENCH:PREPARE_DATASET"]) == EXIT_UNEXPECTED
    assert "prepare/dataset/environment.yml" in capsys.readouterr().err
