"""Reading parquet files of the run: checksums verified, in one thread, a damaged file is a sentence.

One thread: where none can be started (a scheduler that limits the address space), Arrow's pool waits for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import MADE_AGAIN, ScfmError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq


@contextmanager
def open_parquet(path: Path | str) -> "Iterator[pq.ParquetFile]":
    """Open a parquet file; what can't be read in the body is an error about the file.

    Raises
    ------
    ScfmError
        The file is cut short, is of another format, or its checksums are wrong.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            yield file
    except MemoryError:  # Arrow's own is an ArrowException too
        raise
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # of the disk, or there is no such file
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ScfmError(f"{path} is no parquet file that can be read ({reason}). {MADE_AGAIN}") from error


def read_arrow(path: Path | str, columns: Sequence[str] | None = None) -> "pa.Table":
    """Read a parquet file, or some of its columns.

    Raises
    ------
    ScfmError
        The file is damaged.
    """
    with open_parquet(path) as file:
        return file.read(columns=None if columns is None else list(columns), use_threads=False)


def read_note(path: Path | str, key: str) -> str | None:
    """Return a note that a parquet file has beside its columns (its schema's metadata); None where it has none.

    Raises
    ------
    ScfmError
        The file is damaged.
    """
    with open_parquet(path) as file:
        found = (file.schema_arrow.metadata or {}).get(key.encode())
    return None if found is None else found.decode()


def read_frame(path: Path | str) -> "pd.DataFrame":
    """Read a parquet file as a table of pandas; see :func:`read_arrow`."""
    return read_arrow(path).to_pandas(use_threads=False)
