"""Embeddings made elsewhere: parquet, csv, npz or an obsm key, always by cell id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.embeddings.reading import column_of_ids, numeric_columns
from scfm.errors import ScfmError
from scfm.io.tables import CELL_ID
from scfm.text import did_you_mean, listing

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_INDEX_NAMES = ("", "index", "Unnamed: 0", "__index_level_0__")
_ID_ARRAYS = ("cell_id", "cell_ids", "obs_names")
_VALUE_ARRAYS = ("embedding", "X", "values")


def read_source(path: Path, obsm_key: str | None = None) -> "tuple[np.ndarray, np.ndarray, list[dict]]":
    """Read a user's embedding.

    Parameters
    ----------
    path
        ``.parquet``, ``.csv``, ``.tsv``, ``.txt`` (these also with ``.gz``), ``.npz``, ``.h5ad`` or
        ``.zarr``.
    obsm_key
        Key of the embedding in an h5ad or zarr.

    Returns
    -------
    Cell ids, shape (n_rows,), strings; coordinates, shape (n_rows, n_dims), float64; ``{cell_id, reason}`` for cells
    that the source marks as not embedded (rows of NaN in obsm, which must have a row for every cell).

    Raises
    ------
    ScfmError
        Names the file and what it lacks.
    """
    if not path.exists():
        raise ScfmError(f"{path}: the file of the embedding does not exist.")
    name = path.name.lower().removesuffix(".gz")
    readers: dict[str, Callable] = {
        ".parquet": _read_parquet,
        ".csv": _read_text,
        ".tsv": _read_text,
        ".txt": _read_text,
        ".npz": _read_npz,
    }
    if name.endswith((".h5ad", ".zarr")):
        return _read_anndata(path, obsm_key)
    if obsm_key:
        raise ScfmError(f"{path}: an obsm key ('{obsm_key}') was given, and the file is no h5ad or zarr.")
    for ending, reader in readers.items():
        if name.endswith(ending):
            ids, values = reader(path)
            return ids, values, []
    raise ScfmError(f"{path}: unknown kind of file. Embeddings are read from {', '.join(readers)}, .h5ad and .zarr.")


def _read_parquet(path: Path) -> "tuple[np.ndarray, np.ndarray]":
    """Read a parquet table: a column ``cell_id`` or a stored pandas index, and columns of numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ScfmError(f"{path} is no parquet file that can be read: {str(error).splitlines()[0]}") from None
    return _split_columns(table, path)


def _read_text(path: Path) -> "tuple[np.ndarray, np.ndarray]":
    """Read a delimited table; ids stay text, so that '007' is not 7."""
    import gzip

    import pandas as pd
    import pyarrow as pa

    separator = "," if path.name.lower().removesuffix(".gz").endswith(".csv") else "\t"
    try:
        ids = _id_column(list(pd.read_csv(path, sep=separator, nrows=0).columns), path)
        frame = pd.read_csv(path, sep=separator, dtype={ids: str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, gzip.BadGzipFile) as error:
        raise ScfmError(f"{path} is no table that can be read: {' '.join(str(error).split())}") from None
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes a column without a heading for an index
        raise ScfmError(
            f"{path}: the rows have more fields than the header has names. Give every column a name, and the ids"
            f" '{CELL_ID}'."
        )
    return _split_columns(pa.Table.from_pandas(frame, preserve_index=False), path)


def _split_columns(table: "pa.Table", path: Path) -> "tuple[np.ndarray, np.ndarray]":
    ids = _id_column(table.column_names, path)
    return column_of_ids(table.column(ids), path), numeric_columns(
        table, [c for c in table.column_names if c != ids], path
    )


def _id_column(columns: list[str], path: Path) -> str:
    """Return the column of cell ids: ``cell_id``, else one without a name of its own."""
    if CELL_ID in columns:
        return CELL_ID
    unnamed = [c for c in columns if c in _INDEX_NAMES]
    if unnamed:
        return unnamed[0]
    raise ScfmError(
        f"{path}: no column '{CELL_ID}' and no unnamed index column; found {listing(columns)}. "
        f"Name the column with the cell ids '{CELL_ID}': rows are never matched by their position."
    )


def _read_npz(path: Path) -> "tuple[np.ndarray, np.ndarray]":
    """Read arrays of ids and values; object arrays are refused, since reading them would run code."""
    import zipfile

    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ScfmError(
                f"{path} holds one array without names; expected an npz with ids and values, as np.savez writes it."
            )
        with loaded as arrays:
            names = list(arrays.files)
            ids_name = next((n for n in _ID_ARRAYS if n in names), None)
            values_name = next((n for n in _VALUE_ARRAYS if n in names), None)
            if ids_name is None or values_name is None:
                raise ScfmError(
                    f"{path}: expected an array of ids ({' or '.join(_ID_ARRAYS)}) and one of values"
                    f" ({' or '.join(_VALUE_ARRAYS)}); found {listing(names)}."
                )
            ids, values = arrays[ids_name], arrays[values_name]
    except (ValueError, zipfile.BadZipFile) as error:
        raise ScfmError(
            f"{path} can't be read as npz without running code from it ({error}). Save the ids as text: np.savez(file,"
            " cell_ids=ids.astype(str), embedding=values)."
        ) from None
    if ids.ndim != 1 or ids.dtype.kind not in "USiu":
        raise ScfmError(
            f"{path}: array '{ids_name}' has shape {ids.shape} and kind {ids.dtype}; expected one id per cell, as text."
        )
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise ScfmError(
            f"{path}: array '{values_name}' has shape {values.shape} and kind {values.dtype}; expected numbers, cells x"
            " dimensions."
        )
    texts = [i.decode() if isinstance(i, bytes) else str(i) for i in ids.tolist()]
    return np.array(texts, dtype=object), values.astype(np.float64)


def _read_anndata(path: Path, obsm_key: str | None) -> "tuple[np.ndarray, np.ndarray, list[dict]]":
    """Read one obsm entry of an h5ad or zarr without loading the rest."""
    import numpy as np
    from anndata.io import read_elem
    from scipy import sparse

    with _open_anndata(path) as file:
        keys = list(file["obsm"]) if "obsm" in file else []
        if obsm_key not in keys:
            wanted = (
                f"no '{obsm_key}' in obsm.{did_you_mean(obsm_key, keys)}"
                if obsm_key
                else "the obsm key of the embedding is needed."
            )
            raise ScfmError(f"{path}: {wanted} It has {listing(keys, limit=20) or 'nothing in obsm'}.")
        values, obs = read_elem(file[f"obsm/{obsm_key}"]), read_elem(file["obs"])
    values = values.toarray() if sparse.issparse(values) else np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise ScfmError(
            f"{path}: obsm['{obsm_key}'] has shape {values.shape} and kind {values.dtype}; expected numbers, cells x"
            " dimensions."
        )
    ids = np.array([str(i) for i in obs.index], dtype=object)
    values = values.astype(np.float64)
    empty = np.isnan(values).all(axis=1)
    if empty.all():
        raise ScfmError(f"{path}: obsm['{obsm_key}'] holds no value, only NaN.")
    reason = f"its row in obsm['{obsm_key}'] is empty"
    return ids[~empty], values[~empty], [{"cell_id": i, "reason": reason} for i in ids[empty]]


@contextmanager
def _open_anndata(path: Path) -> Iterator[Any]:
    """Open an h5ad file or a zarr folder as a group."""
    if path.is_dir():
        import zarr

        try:
            group = zarr.open_group(str(path), mode="r")
        except (FileNotFoundError, ValueError) as error:
            raise ScfmError(f"{path} is no zarr folder that can be read: {error}") from None
        yield group
        return
    import h5py

    try:
        file = h5py.File(path)
    except OSError as error:
        raise ScfmError(f"{path} is no h5ad file that can be read: {error}") from None
    with file:
        yield file


def import_embedding(
    path: Path, *, dataset: str, name: str, seed: int, n_cells: int, obsm_key: str | None, outdir: Path
) -> dict:
    """Read a user's embedding and write it for the door, as ``<dataset>.<name>.raw.<seed>``.

    Returns
    -------
    The sidecar, of the family ``imported``.
    """
    import hashlib

    from scfm.embeddings.sidecar import EmbeddingFiles, make_sidecar, write_unchecked
    from scfm.task.resources import Stopwatch

    watch = Stopwatch()
    ids, values, not_embedded = read_source(path, obsm_key)
    digest = None
    if path.is_file():
        with path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
    sidecar = make_sidecar(
        dataset=dataset,
        method=name,
        family="imported",
        correction="raw",
        seed=seed,
        is_control=False,
        output_type="embedding",
        settings={"source": path.name, "source_sha256": digest, "obsm_key": obsm_key},
        packages=["pandas", "pyarrow"],
        device="cpu",
        seconds=watch.seconds,
        cells_in=n_cells,
        n_cells=len(ids),
        n_dims=values.shape[1],
        details={"not_embedded": not_embedded},
    )
    write_unchecked(EmbeddingFiles.of(outdir, sidecar), ids, values, sidecar)
    return sidecar
