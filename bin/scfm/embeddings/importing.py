"""Embeddings made elsewhere: parquet, csv, npz or an obsm key, always by cell id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.embeddings.import_columns import (
    check_names,
    check_separator,
    check_width,
    column_notes,
    id_column,
    is_index,
)
from scfm.embeddings.npz import read_npz
from scfm.embeddings.reading import column_of_ids, numeric_columns
from scfm.errors import ScfmError
from scfm.io.checksums import sha256_of
from scfm.io.declared import check_declared
from scfm.io.store import first_line, open_store
from scfm.io.tables import CELL_ID
from scfm.text import did_you_mean, listing

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: most columns that are taken for an embedding, where nothing else is said
MAX_DIMS = 10_000


@dataclass(slots=True)
class Source:
    """An embedding as a user's file holds it.

    Attributes
    ----------
    ids
        Shape (n_rows,), strings.
    coordinates
        Shape (n_rows, n_dims), float32 or float64.
    notes
        Messages about columns.
    not_embedded
        ``{cell_id, reason}`` of cells that the source marks as not embedded.
    """

    ids: "np.ndarray"
    coordinates: "np.ndarray"
    notes: list[dict] = field(default_factory=list)
    not_embedded: list[dict] = field(default_factory=list)


def read_source(path: Path, obsm_key: str | None = None, *, max_dims: int = MAX_DIMS) -> Source:
    """Read a user's embedding.

    Parameters
    ----------
    path
        ``.parquet``, ``.csv``, ``.tsv``, ``.txt`` (these also with ``.gz``), ``.npz``, ``.h5ad`` or
        ``.zarr``.
    obsm_key
        Key of the embedding in an h5ad or zarr.
    max_dims
        Most columns that are taken for an embedding.

    Returns
    -------
    Ids, coordinates, messages, and cells that the source marks as not embedded (rows of NaN in obsm, which must have a
    row for every cell).

    Raises
    ------
    ScfmError
        Names the file and what it lacks.
    """
    if not path.exists():
        raise ScfmError(f"{path}: the file of the embedding does not exist.")
    if not path.is_dir() and not path.is_file():
        raise ScfmError(f"{path}: is no ordinary file (a pipe, socket or device?); expected a file with an embedding.")
    name = path.name.lower().removesuffix(".gz")
    readers: dict[str, Callable] = {
        ".parquet": _read_parquet,
        ".csv": _read_text,
        ".tsv": _read_text,
        ".txt": _read_text,
        ".npz": _read_npz,
    }
    if name.endswith((".h5ad", ".zarr")):
        return _read_anndata(path, obsm_key, max_dims)
    if obsm_key:
        raise ScfmError(f"{path}: an obsm key ('{obsm_key}') was given, and the file is no h5ad or zarr.")
    for ending, reader in readers.items():
        if name.endswith(ending):
            return reader(path, max_dims)
    raise ScfmError(f"{path}: unknown kind of file. Embeddings are read from {', '.join(readers)}, .h5ad and .zarr.")


def _read_parquet(path: Path, max_dims: int) -> Source:
    """Read a parquet table: a column ``cell_id`` or a stored pandas index, and columns of numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        facts = pq.read_metadata(path)
        names = facts.schema.to_arrow_schema().names
        check_width(len(names) - 1, max_dims, path)
        check_declared(facts.num_rows * len(names) * 8, path.stat().st_size, str(path))
        table = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False).read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:  # ArrowException: also damaged compression
        raise ScfmError(f"{path} is no parquet file that can be read: {first_line(error)}") from None
    check_names(names, path)
    return _split_columns(table, path)


def _read_text(path: Path, max_dims: int) -> Source:
    """Read a delimited table; ids stay text, so that '007' is not 7."""
    import zlib

    import pandas as pd
    import pyarrow as pa

    separator = "," if path.name.lower().removesuffix(".gz").endswith(".csv") else "\t"
    try:
        first = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str).iloc[0].fillna("").tolist()
        check_width(len(first) - 1, max_dims, path)  # before pandas renames duplicates, which takes minutes
        check_names(first, path)
        check_separator(first, separator, path)
        _check_first_row(path, separator, len(first))
        header = list(pd.read_csv(path, sep=separator, nrows=0).columns)
        ids = id_column(header, path)
        frame = pd.read_csv(path, sep=separator, dtype={ids: str}, keep_default_na=True)
    except (ValueError, OSError, EOFError, zlib.error) as error:  # ValueError: pandas' and Unicode's errors
        raise ScfmError(f"{path} is no table that can be read: {first_line(error)}") from None
    return _split_columns(pa.Table.from_pandas(frame, preserve_index=False), path)


def _check_first_row(path: Path, separator: str, n_names: int) -> None:
    """Raise where a table has no rows, or more fields in a row than names: pandas would take the first for an index."""
    import pandas as pd

    try:
        row = pd.read_csv(path, sep=separator, header=None, skiprows=1, nrows=1, dtype=str)
    except pd.errors.EmptyDataError:
        raise ScfmError(f"{path} has a header and no rows; expected one row per cell.") from None
    if row.shape[1] > n_names:
        raise ScfmError(
            f"{path}: the rows have more fields than the header has names ({row.shape[1]:,} and {n_names:,}), as"
            f" write.table of R leaves them. Give every column a name, and the ids '{CELL_ID}'."
        )


def _split_columns(table: "pa.Table", path: Path) -> Source:
    """Return ids and coordinates of a table; columns that are an index or row numbers are left out and said."""
    ids = id_column(table.column_names, path)
    others = [c for c in table.column_names if c != ids]
    indices = [c for c in others if is_index(c)]
    taken = [c for c in others if c not in indices]
    if not taken:
        raise ScfmError(f"{path}: no column is left for coordinates beside '{ids}'; found {listing(others) or 'none'}.")
    return Source(
        column_of_ids(table.column(ids), path), numeric_columns(table, taken, path), column_notes(indices, taken, path)
    )


def _read_npz(path: Path, max_dims: int) -> Source:
    """Read arrays of ids and values."""
    ids, values = read_npz(path)
    check_width(values.shape[1], max_dims, path)
    return Source(ids, values)


def _read_anndata(path: Path, obsm_key: str | None, max_dims: int) -> Source:
    """Read one obsm entry of an h5ad or zarr without loading the rest."""
    import numpy as np
    from anndata.io import read_elem
    from scipy import sparse

    with open_store(path) as store:
        keys = store.keys("obsm")
        if obsm_key not in keys:
            wanted = (
                f"no '{obsm_key}' in obsm.{did_you_mean(obsm_key, keys)}"
                if obsm_key
                else "the obsm key of the embedding is needed."
            )
            raise ScfmError(f"{path}: {wanted} It has {listing(keys, limit=20) or 'nothing in obsm'}.")
        index = store.index("obs")
        _check_shape(getattr(store.root[f"obsm/{obsm_key}"], "shape", None), len(index), max_dims, path, obsm_key)
        try:
            values = read_elem(store.root[f"obsm/{obsm_key}"])
        except Exception as error:  # whatever a damaged file makes h5py, zarr or anndata raise
            raise ScfmError(f"{path}: obsm['{obsm_key}'] can't be read ({first_line(error)}).") from error
    values = values.to_numpy() if hasattr(values, "columns") else values
    values = values.toarray() if sparse.issparse(values) else np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise ScfmError(
            f"{path}: obsm['{obsm_key}'] has shape {values.shape} and kind {values.dtype}; expected numbers, cells x"
            " dimensions."
        )
    _check_shape(values.shape, len(index), max_dims, path, obsm_key)
    values = values.astype(np.float64)
    empty = np.isnan(values).all(axis=1)
    if empty.all():
        raise ScfmError(f"{path}: obsm['{obsm_key}'] holds no value, only NaN.")
    reason = f"its row in obsm['{obsm_key}'] is empty"
    left_out = [{"cell_id": i, "reason": reason} for i in index[empty]]
    return Source(index[~empty], values[~empty], not_embedded=left_out)


def _check_shape(shape: tuple[int, ...] | None, n_cells: int, max_dims: int, path: Path, key: str | None) -> None:
    """Raise where an obsm entry has other rows than obs, or more columns than an embedding; None is not known yet."""
    if shape is None or len(shape) != 2:
        return
    if shape[0] != n_cells:
        raise ScfmError(f"{path}: obsm['{key}'] has {shape[0]:,} rows and obs {n_cells:,}; the file is damaged.")
    check_width(shape[1], max_dims, path)


def import_embedding(
    path: Path,
    *,
    dataset: str,
    name: str,
    seed: int,
    n_cells: int,
    obsm_key: str | None,
    outdir: Path,
    max_dims: int = MAX_DIMS,
) -> dict:
    """Read a user's embedding and write it for the validation gate, as ``<dataset>.<name>.raw.<seed>``.

    Returns
    -------
    The sidecar, of the family ``imported``.
    """
    from scfm.embeddings.sidecar import EmbeddingFiles, make_sidecar, write_unchecked
    from scfm.task.resources import Stopwatch

    watch = Stopwatch()
    source = read_source(path, obsm_key, max_dims=max_dims)
    digest = sha256_of(path) if path.is_file() else None
    notes = [{**n, "dataset": dataset, "method": name} for n in source.notes]
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
        n_cells=len(source.ids),
        n_dims=source.coordinates.shape[1],
        warnings=notes,
        details={"not_embedded": source.not_embedded},
    )
    write_unchecked(EmbeddingFiles.of(outdir, sidecar), source.ids, source.coordinates, sidecar)
    return sidecar
