"""Reading unchecked embedding tables: column names and kinds first, then values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scfm.embeddings.gate import EmbeddingValidationError
from scfm.errors import ScfmError
from scfm.io.parquet import read_arrow
from scfm.io.tables import CELL_ID
from scfm.text import listing

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def read_unchecked(path: Path | str) -> "tuple[np.ndarray, np.ndarray]":
    """Read an embedding table as a method wrote it.

    Returns
    -------
    Cell ids, shape (n_rows,), strings; coordinates, shape (n_rows, n_dims), float32 or float64 (an empty field is NaN),
    dimensions in the order of their numbers.

    Raises
    ------
    EmbeddingValidationError
        No ``cell_id`` column, an empty id, a column that is not numeric, or columns that are not ``dim_0``, ``dim_1``
        ...
    """
    try:
        table = read_arrow(path)
    except ScfmError as error:
        raise EmbeddingValidationError("wrong_columns", str(error)) from None
    if table.column_names.count(CELL_ID) != 1:
        raise EmbeddingValidationError(
            "wrong_columns",
            f"{path}: expected one column '{CELL_ID}', found {listing(table.column_names)}. Embedding tables are keyed"
            " by cell id.",
        )
    names = [n for n in table.column_names if n != CELL_ID]
    wanted = [f"dim_{j}" for j in range(len(names))]
    if sorted(names) != sorted(wanted):
        odd = [n for n in names if n not in set(wanted)] or names
        raise EmbeddingValidationError(
            "wrong_columns",
            f"{path}: the columns beside '{CELL_ID}' should be dim_0 to dim_{len(names) - 1}; found {listing(odd)}. A"
            " dimension is missing, twice, or has another name.",
        )
    return column_of_ids(table.column(CELL_ID), path), numeric_columns(table, wanted, path)


def column_of_ids(column: "pa.ChunkedArray", path: Path | str) -> "np.ndarray":
    """Return a column as cell ids (strings); an empty one is refused."""
    import numpy as np

    if column.null_count:
        raise EmbeddingValidationError(
            "missing_ids", f"{path}: rows without a cell id: {column.null_count:,}. Every row needs one."
        )
    try:
        texts = [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in column.to_pylist()]
    except UnicodeDecodeError as error:
        raise EmbeddingValidationError(
            "missing_ids", f"{path}: cell ids are bytes that are not UTF-8 ({error}). Save them as text."
        ) from None
    return np.array(texts, dtype=object)


def numeric_columns(table: "pa.Table", names: list[str], path: Path | str) -> "np.ndarray":
    """Return columns, shape (n_rows, n_columns), float32 where all are, else float64; other kinds are refused by
    name.
    """
    import numpy as np
    import pyarrow as pa

    kinds = {n: table.schema.field(n).type for n in names}
    odd = [n for n, t in kinds.items() if not (pa.types.is_integer(t) or pa.types.is_floating(t))]
    if odd:
        raise EmbeddingValidationError(
            "not_numeric",
            f"{path}: columns that hold no numbers: {listing(odd)} ({kinds[odd[0]]}). Coordinates are numbers; take"
            " other columns out of the table.",
        )
    single = all(pa.types.is_float32(t) for t in kinds.values())
    values = np.empty((table.num_rows, len(names)), dtype=np.float32 if single else np.float64)
    for j, name in enumerate(names):
        values[:, j] = table.column(name).cast(pa.float32() if single else pa.float64()).to_numpy()
    return values
