"""Embedding tables, sidecars and status files: the hand-over between steps, keyed by cell id.

An embedding is a parquet file with the column ``cell_id`` (string) followed by ``dim_0`` ... ``dim_{d-1}``
(float32). Beside it lies a JSON sidecar of the same stem. Formats are written down in
``docs/architecture.md``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CELL_ID = "cell_id"


def write_embedding(path: Path | str, cell_ids: "np.ndarray | pd.Index | list[str]", values: "np.ndarray") -> None:
    """Write an embedding table.

    Parameters
    ----------
    path
        Parquet file to write.
    cell_ids
        Cell ids, shape (n_cells,).
    values
        Coordinates, shape (n_cells, n_dims); stored as float32.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = np.asarray(values, dtype=np.float32)
    if values.ndim != 2 or len(cell_ids) != values.shape[0]:
        raise ScfmError(
            f"{path}: an embedding needs one row per cell id; got {len(cell_ids)} ids and an array of shape"
            f" {values.shape}."
        )
    columns: dict[str, Any] = {CELL_ID: pa.array([str(c) for c in cell_ids], type=pa.string())}
    for j in range(values.shape[1]):
        columns[f"dim_{j}"] = pa.array(np.ascontiguousarray(values[:, j]))
    pq.write_table(pa.table(columns), path)


def read_embedding(path: Path | str) -> "tuple[np.ndarray, np.ndarray]":
    """Read an embedding table written by :func:`write_embedding`.

    Returns
    -------
    Cell ids, shape (n_cells,), dtype object; coordinates, shape (n_cells, n_dims), float32.
    """
    import numpy as np
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    if CELL_ID not in table.column_names:
        raise ScfmError(
            f"{path}: no column '{CELL_ID}'; found {table.column_names[:5]}. Embedding tables are keyed by cell id."
        )
    ids = np.asarray(table.column(CELL_ID).to_pylist(), dtype=object)
    names = [c for c in table.column_names if c != CELL_ID]
    values = np.empty((table.num_rows, len(names)), dtype=np.float32)
    for j, name in enumerate(names):
        values[:, j] = table.column(name).to_numpy()
    return ids, values


def write_table(frame: "pd.DataFrame", path: Path | str) -> None:
    """Write a tidy table: parquet or TSV by the file's ending; floats in TSV with 10 significant digits, NA for
    missing.
    """
    if str(path).endswith(".parquet"):
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, sep="\t", index=False, na_rep="NA", float_format="%.10g")


def read_table(path: Path | str) -> "pd.DataFrame":
    """Read a table written by :func:`write_table`."""
    import pandas as pd

    if str(path).endswith(".parquet"):
        return pd.read_parquet(path)
    return pd.read_csv(path, sep="\t", na_values=["NA"], keep_default_na=False)


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
        return json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise ScfmError(f"{path} is not valid JSON: {error.msg} at line {error.lineno}.") from error


def message(
    code: str,
    severity: str,
    text: str,
    *,
    dataset: str = "",
    method: str = "",
    values: dict | None = None,
    threshold: Any = None,
) -> dict:
    """Return one entry of ``warnings.json``.

    Parameters
    ----------
    code
        Message code such as ``E-IN-03`` or ``W-BAL-01``.
    severity
        ``error``, ``warning`` or ``info``.
    text
        Sentences for people: fact, meaning, action.
    dataset, method
        What it is about; empty for all.
    values, threshold
        The numbers behind it and the limit they were held against.
    """
    return {
        "code": code,
        "severity": severity,
        "dataset": dataset,
        "method": method,
        "text": text,
        "values": values or {},
        "threshold": threshold,
    }
