"""Open an AnnData file (h5ad or zarr) without loading it: columns and matrices are read one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.text import did_you_mean, listing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Store:
    """An open AnnData file.

    Attributes
    ----------
    root
        The opened ``h5py.File`` or ``zarr.Group``.
    name
        How messages call the file.
    """

    root: Any
    name: str

    def keys(self, group: str) -> list[str]:
        """Return the names inside a group such as ``layers`` or ``obsm``; empty if there is no such group."""
        return sorted(self.root[group].keys()) if group in self.root else []

    def columns(self, frame: str) -> list[str]:
        """Return the columns of ``obs``, ``var`` or ``raw/var``, without the index."""
        if frame not in self.root:
            return []
        return [str(c) for c in self.root[frame].attrs.get("column-order", [])]

    def index(self, frame: str) -> "np.ndarray":
        """Return the index of ``obs``, ``var`` or ``raw/var`` as an object array of strings."""
        import numpy as np

        if frame not in self.root:
            raise ScfmError(f"{self.name}: there is no '{frame}' in the file; it is not a whole AnnData object.")
        group = self.root[frame]
        if not hasattr(group, "keys"):
            raise ScfmError(
                f"{self.name}: '{frame}' is stored as anndata did before 0.7; read the file with anndata and "
                "write it again."
            )
        key = str(group.attrs.get("_index", "_index"))
        return np.asarray([str(v) for v in self._read(f"{frame}/{key}")], dtype=object)

    def column(self, frame: str, name: str) -> "pd.Series":
        """Return one column of a frame, without its index.

        Raises
        ------
        ScfmError
            There is no such column; the sentence offers the nearest one.
        """
        import pandas as pd

        known = self.columns(frame)
        if name not in known:
            raise ScfmError(
                f"{self.name}: {frame} has no column '{name}'.{did_you_mean(name, known)} Columns of {frame}: "
                f"{listing(known, limit=12) or 'none'}."
            )
        return pd.Series(self._column(frame, name), name=name)

    def frame(self, frame: str) -> "pd.DataFrame":
        """Return a whole frame with its index as strings."""
        import pandas as pd

        columns = {c: self._column(frame, c) for c in self.columns(frame)}
        return pd.DataFrame(columns, index=pd.Index(self.index(frame), dtype=object))

    def _column(self, frame: str, name: str) -> Any:
        """Return the values of a column; anndata 0.7 kept categories outside the column, so there the frame is read
        whole.
        """
        if str(self.root[frame].attrs.get("encoding-version", "")) == "0.1.0":
            return self._read(frame)[name].array
        return self._read(f"{frame}/{name}")

    def _read(self, key: str) -> Any:
        from anndata.io import read_elem

        try:
            return read_elem(self.root[key])
        except Exception as error:  # whatever a damaged file makes h5py, zarr or anndata raise
            raise ScfmError(
                f"{self.name}: '{key}' can't be read ({_first_line(error)}). Write the file anew with anndata."
            ) from error


def _first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def open_store(path: Path | str, name: str | None = None) -> Iterator[Store]:
    """Open an h5ad file or zarr folder for reading.

    Parameters
    ----------
    path
        Where it lies.
    name
        How messages call it; the path by default.

    Raises
    ------
    ScfmError
        It does not exist, can't be opened, or is not an AnnData object.
    """
    path, name = Path(path), name or str(path)
    if not path.exists():
        raise ScfmError(
            f"{name}: the file does not exist. Paths in the samplesheet are taken from where the samplesheet lies."
        )
    root = _open_zarr(path, name) if path.is_dir() else _open_hdf5(path, name)
    try:
        absent = [k for k in ("obs", "var") if k not in root]
        if absent:
            raise ScfmError(f"{name}: there is no {listing(absent)} in the file; it is not an AnnData object.")
        yield Store(root, name)
    finally:
        if hasattr(root, "close"):
            root.close()


def _open_hdf5(path: Path, name: str) -> Any:
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ScfmError(
            f"{name}: not a readable h5ad file ({_first_line(error)}). It may be cut short or of another format."
        ) from error


def _open_zarr(path: Path, name: str) -> Any:
    import zarr

    try:
        return zarr.open_group(path, mode="r")
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ScfmError(f"{name}: not a readable zarr folder ({_first_line(error)}).") from error
