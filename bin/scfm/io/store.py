"""Open an AnnData file (h5ad or zarr) without loading it: columns and matrices are read one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import AbsentFileError, ScfmError
from scfm.io.declared import ALWAYS, check_declared
from scfm.io.foreign import what_bytes_say, what_groups_say
from scfm.io.frames import RESERVED, column_names, index_key, is_compound, read_column
from scfm.io.links import check_folder, check_parts
from scfm.text import did_you_mean, listing, plural

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
        return sorted(self.root[group].keys()) if hasattr(self.root.get(group), "keys") else []

    def close(self) -> None:
        """Close the file."""
        if hasattr(self.root, "close"):
            self.root.close()

    def columns(self, frame: str) -> list[str]:
        """Return the columns of ``obs``, ``var`` or ``raw/var``, without the index and names anndata can't write."""
        if frame not in self.root or is_compound(self.root[frame]):
            return []
        return [c for c in column_names(self.root[frame]) if c not in RESERVED]

    def check_frame(self, frame: str) -> None:
        """Raise :class:`ScfmError` where a frame does not exist or is of the encoding before anndata 0.7."""
        if frame not in self.root:
            raise ScfmError(f"{self.name}: there is no '{frame}' in the file; it is not a whole AnnData object.")
        if is_compound(self.root[frame]):
            raise ScfmError(
                f"{self.name}: '{frame}' is one array of records, the encoding of anndata before 0.7. Read the file"
                f" with "
                "anndata and write it again."
            )

    def index(self, frame: str) -> "np.ndarray":
        """Return the index of ``obs``, ``var`` or ``raw/var`` as an object array of strings."""
        import numpy as np

        self.check_frame(frame)
        key = index_key(self.root[frame])
        if key not in self.root[frame]:
            raise ScfmError(
                f"{self.name}: the index of {frame} should be in '{frame}/{key}', and the file has no such array."
                f" Write "
                "the file again with anndata."
            )
        return np.asarray([str(v) for v in self._column(frame, key)], dtype=object)

    def n_rows(self, frame: str) -> int:
        """Return the number of rows of a frame, as its index has them."""
        index = self.root[frame].get(index_key(self.root[frame]))
        if hasattr(index, "keys"):
            index = index.get("codes")
        shape: tuple[int, ...] = getattr(index, "shape", ())
        return int(shape[0]) if shape else len(self.index(frame))

    def column(self, frame: str, name: str) -> "pd.Series":
        """Return one column of a frame, without its index.

        Raises
        ------
        ScfmError
            There is no such column (the sentence offers the nearest one), it can't be read, or it has another length
            than the index.
        """
        import pandas as pd

        known = self.columns(frame)
        if name not in known:
            raise ScfmError(
                f"{self.name}: {frame} has no column '{name}'.{did_you_mean(name, known)} Columns of {frame}: "
                f"{listing(known, limit=12) or 'none'}."
            )
        values = pd.Series(self._column(frame, name), name=name)
        n_rows = self.n_rows(frame)
        if len(values) != n_rows:
            raise ScfmError(
                f"{self.name}: column '{name}' of {frame} has {plural(len(values), 'value')}, and {frame} has "
                f"{plural(n_rows, 'row')}; the file is damaged. Write it again from its source."
            )
        return values

    def frame(self, frame: str) -> "tuple[pd.DataFrame, dict[str, str]]":
        """Return a whole frame with its index as strings, and the columns that were left out.

        Returns
        -------
        The frame; column to the sentence about why it can't be read, or can't be written again.
        """
        import pandas as pd

        index = self.index(frame)
        columns: dict[str, Any] = {}
        left_out: dict[str, str] = {}
        for name in column_names(self.root[frame]):
            if name in RESERVED:
                left_out[name] = f"{self.name}: {frame} has a column '{name}', a name that anndata keeps for itself."
                continue
            try:
                columns[name] = self.column(frame, name).array
            except ScfmError as error:
                left_out[name] = str(error)
        return pd.DataFrame(columns, index=pd.Index(index, dtype=object)), left_out

    def _column(self, frame: str, name: str) -> Any:
        """Return the values of a column or of the index, whatever their encoding."""
        try:
            return read_column(self.root[frame], name)
        except Exception as error:  # whatever a damaged file makes h5py, zarr or anndata raise
            reason = str(error).rstrip(".") if isinstance(error, ScfmError) else first_line(error)
            raise ScfmError(
                f"{self.name}: '{frame}/{name}' can't be read ({reason}). Write the file again with anndata."
            ) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def open_file(path: Path | str, name: str | None = None) -> Store:
    """Open an h5ad file or zarr folder for reading; see :func:`open_store`. The caller closes it."""
    path, name = Path(path), name or str(path)
    if not path.exists():
        raise AbsentFileError(
            f"{name}: the file does not exist. Paths in the samplesheet are taken from where the samplesheet lies."
        )
    if not path.is_dir() and not path.is_file():
        raise ScfmError(
            f"{name}: is no ordinary file (a pipe, socket or device?); expected an h5ad file or zarr folder."
        )
    store = Store(_open_zarr(path, name) if path.is_dir() else _open_hdf5(path, name), name)
    absent = [k for k in ("obs", "var") if k not in store.root]
    if absent:
        hint = what_groups_say(list(store.root))
        store.close()
        raise ScfmError(f"{name}: there is no {listing(absent)} in the file; it is not an AnnData object.{hint}")
    return store


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
    store = open_file(path, name)
    try:
        yield store
    finally:
        store.close()


def _open_hdf5(path: Path, name: str) -> Any:
    import h5py

    try:
        root = h5py.File(path, "r")
    except OSError as error:
        raise ScfmError(f"{name}: not a readable h5ad file ({first_line(error)}). {what_bytes_say(path)}") from error
    try:
        check_parts(root, name)
    except BaseException:
        root.close()
        raise
    return root


def _open_zarr(path: Path, name: str) -> Any:
    import zarr

    check_folder(path, name)
    try:
        root = zarr.open_group(path, mode="r")
        arrays = [(part.path, part) for _, part in root.members(max_depth=None) if isinstance(part, zarr.Array)]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ScfmError(f"{name}: not a readable zarr folder ({first_line(error)}).") from error
    for place, part in arrays:
        if part.nbytes > ALWAYS:  # what is stored is counted file by file
            check_declared(part.nbytes, part.nbytes_stored(), f"{name}: '{place}'")
    return root
