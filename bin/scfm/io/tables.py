"""Embedding tables, sidecars and status files: the hand-over between steps, keyed by cell id.

An embedding is a parquet file with the column ``cell_id`` (string) followed by ``dim_0`` ... ``dim_{d-1}``
(float32). Beside it lies a JSON sidecar of the same stem. Formats are written down in
``docs/architecture.md``. Parquet pages have checksums, which are verified: bytes that a disk has changed are an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.io.formulas import as_text, as_written
from scfm.io.parquet import open_parquet, read_arrow, read_frame

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CELL_ID = "cell_id"
#: columns that say which embedding a row is about, in the order of every table
IDENTITY = ("dataset", "embedding", "method", "family", "correction", "seed")
#: rows of a row group of an embedding table
GROUP_ROWS = 16384


class EmbeddingWriter:
    """Writes an embedding table in row groups; the file appears under its name when it is complete.

    Parameters
    ----------
    path
        Parquet file.
    n_dims
        Number of columns ``dim_*``.
    notes
        Texts stored beside the columns (:func:`scfm.io.parquet.read_note`).
    """

    def __init__(self, path: Path | str, n_dims: int, notes: Mapping[str, str] | None = None) -> None:
        self.path, self.n_dims, self.notes = Path(path), n_dims, notes
        self._partial = self.path.with_name(self.path.name + ".part")
        self._parts: list[tuple[list[str], np.ndarray]] = []
        self._waiting = 0
        self._writer: Any = None

    def __enter__(self) -> EmbeddingWriter:
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = [f"dim_{j}" for j in range(self.n_dims)]
        columns = [(CELL_ID, pa.string()), *((name, pa.float32()) for name in names)]
        self._schema = pa.schema(columns, metadata=self.notes)
        self._writer = pq.ParquetWriter(self._partial, self._schema, use_dictionary=False, write_page_checksum=True)
        return self

    def add(self, cell_ids: Sequence[Any] | np.ndarray, values: np.ndarray) -> None:
        """Add rows.

        Parameters
        ----------
        cell_ids
            Cell ids, shape (n_cells,).
        values
            Coordinates, shape (n_cells, n_dims); stored as float32.

        Raises
        ------
        ScfmError
            The shapes do not fit.
        """
        import numpy as np

        values = np.asarray(values, dtype=np.float32)
        if values.shape != (len(cell_ids), self.n_dims):
            raise ScfmError(
                f"{self.path}: an embedding of {self.n_dims} dimensions needs one row per cell id; got {len(cell_ids)}"
                f" ids and an array of shape {values.shape}."
            )
        self._parts.append(([str(c) for c in cell_ids], values))
        self._waiting += len(values)
        if self._waiting >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        """Write the waiting rows as one row group."""
        import numpy as np
        import pyarrow as pa

        if not self._waiting:
            return
        values = np.concatenate([part for _, part in self._parts])
        ids = pa.array([cell for cells, _ in self._parts for cell in cells], type=pa.string())
        columns = [ids, *(pa.array(np.ascontiguousarray(values[:, j])) for j in range(self.n_dims))]
        self._writer.write_table(pa.table(columns, schema=self._schema))
        self._parts, self._waiting = [], 0

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        if kind is None:
            self._partial.replace(self.path)
        else:
            self._partial.unlink(missing_ok=True)


def write_embedding(
    path: Path | str,
    cell_ids: np.ndarray | pd.Index | list[str],
    values: np.ndarray,
    *,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write an embedding table, with ``path`` and ``notes`` as in :class:`EmbeddingWriter`.

    Parameters
    ----------
    cell_ids
        Cell ids, shape (n_cells,).
    values
        Coordinates, shape (n_cells, n_dims); stored as float32.

    Raises
    ------
    ScfmError
        The shapes do not fit.
    """
    import numpy as np

    values = np.asarray(values)
    with EmbeddingWriter(path, values.shape[1] if values.ndim == 2 else 0, notes) as writer:
        writer.add(cell_ids, values)


def join_embeddings(tables: Sequence[Path], path: Path | str) -> None:
    """Write the rows of embedding tables into one, a part at a time: the joined table need not fit in memory.

    Raises
    ------
    ScfmError
        The tables differ in their columns.
    """
    with open_parquet(tables[0]) as file:
        first = file.schema_arrow
    with EmbeddingWriter(path, len(first.names) - 1) as writer:
        for table in tables:
            with open_parquet(table) as file:
                if not file.schema_arrow.equals(first):
                    raise ScfmError(f"{table}: its columns are not those of the first shard, {Path(tables[0]).name}.")
                for batch in file.iter_batches(use_threads=False):
                    writer.add(*_split_columns(batch))


def _split_columns(table: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return cell ids and coordinates of an Arrow table or batch."""
    import numpy as np

    names = [c for c in table.schema.names if c != CELL_ID]
    values = np.empty((table.num_rows, len(names)), dtype=np.float32)
    for j, name in enumerate(names):
        values[:, j] = table.column(name).to_numpy()
    return np.asarray(table.column(CELL_ID).to_pylist(), dtype=object), values


def read_embedding(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Read an embedding table written by :func:`write_embedding`.

    Returns
    -------
    Cell ids, shape (n_cells,), dtype object; coordinates, shape (n_cells, n_dims), float32.
    """
    table = read_arrow(path)
    if CELL_ID not in table.column_names:
        raise ScfmError(
            f"{path}: no column '{CELL_ID}'; found {table.column_names[:5]}. Embedding tables are keyed by cell id."
        )
    return _split_columns(table)


def read_ids(path: Path | str) -> list[str]:
    """Return the column ``cell_id`` of a parquet table, in file order; nothing else is read."""
    ids: list[str] = read_arrow(path, [CELL_ID])[CELL_ID].to_pylist()
    return ids


def put_identity(table: pd.DataFrame, sidecar: Mapping[str, Any]) -> None:
    """Put the columns of :data:`IDENTITY` in front of a table about one embedding."""
    for position, column in enumerate(IDENTITY):
        table.insert(position, column, sidecar[column])


def write_table(
    frame: pd.DataFrame,
    path: Path | str,
    *,
    types: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a tidy table: parquet or TSV by the file's ending.

    Parameters
    ----------
    frame
        The rows; its index is not written.
    path
        A TSV has floats with 10 significant digits, NA for missing values, and no text that a spreadsheet would run
        (:mod:`scfm.io.formulas`).
    types
        Arrow type of every column of a parquet file (``string``, ``double``, ``int64``, ``bool``), so that a column
        without any value keeps its type; by default those of the frame.
    notes
        Only with ``types``: texts stored beside the columns, see :func:`scfm.io.parquet.read_note`.
    """
    if types is not None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {
            c: pa.array(frame[c].where(frame[c].notna(), None).tolist(), type=pa.type_for_alias(kind))
            for c, kind in types.items()
        }
        pq.write_table(pa.table(columns, metadata=notes), path, write_page_checksum=True)
    elif str(path).endswith(".parquet"):
        frame.to_parquet(path, index=False, write_page_checksum=True)
    else:
        as_text(frame).to_csv(path, sep="\t", index=False, na_rep="NA", float_format="%.10g")


def read_table(path: Path | str) -> pd.DataFrame:
    """Read a table written by :func:`write_table`."""
    import pandas as pd

    if str(path).endswith(".parquet"):
        return read_frame(path)
    return as_written(pd.read_csv(path, sep="\t", na_values=["NA"], keep_default_na=False))


def read_texts(path: Path | str) -> pd.DataFrame:
    """Read a TSV written by :func:`write_table` with every value as text, NA as "NA".

    Raises
    ------
    ScfmError
        The file is no table, or a row has fewer values than the header has names.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except ValueError as error:  # of pandas' parser and of the encoding
        reason = (str(error).splitlines() or [type(error).__name__])[0].strip()
        raise ScfmError(
            f"{path} is no table that can be read ({reason}). Delete it and resume: it is made again."
        ) from error
    short = int(table.isna().any(axis=1).sum())
    if short:
        raise ScfmError(
            f"{path}: {short} of {len(table)} rows have fewer values than the header has names; the file is damaged."
            " Delete it and resume: it is made again."
        )
    return as_written(table)


def _plain(value: Any) -> Any:
    """Turn NumPy scalars, paths, sets and non-finite numbers into what JSON can hold."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(v) for v in value)
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: Path | str, content: Any) -> None:
    """Write JSON with sorted keys; non-finite numbers become null."""
    Path(path).write_text(json.dumps(_plain(content), indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file; a broken one is a :class:`ScfmError` that names the file and place."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ScfmError(f"{path} is not valid JSON: {error.msg} at line {error.lineno}.") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, a number of thousands of digits, nested too deeply
        raise ScfmError(f"{path} is not valid JSON: {' '.join(str(error).split())}.") from error
