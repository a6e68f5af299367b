"""HDF5 files that appear under their name when they are complete, and end in one sentence where the disk is full.

HDF5 crashes at close when its driver can't write (a segmentation fault with h5py 3). The file is therefore written
through :class:`HeldFile`: the error does not reach HDF5, and the writer raises it after the file is closed.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import MADE_AGAIN, ScfmError
from scfm.io.space import no_space

if TYPE_CHECKING:
    import anndata as ad
    import h5py


class HeldFile(io.RawIOBase):
    """A file for h5py that keeps its first write error to itself; what is written after it is dropped.

    Parameters
    ----------
    path
        File to write.
    mode
        ``w+`` or ``r+``.

    Attributes
    ----------
    error
        The first error of a write; None while all is well.
    """

    def __init__(self, path: Path, mode: str) -> None:
        self._file = io.FileIO(path, mode)
        self.error: OSError | None = None

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; what lies behind the end of the file is zero."""
        view = memoryview(buffer).cast("B")
        n_read = 0
        while n_read < len(view) and (got := self._file.readinto(view[n_read:])):
            n_read += got
        view[n_read:] = bytes(len(view) - n_read)
        return len(view)

    def write(self, content: Any) -> int:
        """Write all of it, or keep the error."""
        view = memoryview(content).cast("B")
        done = 0
        try:
            while done < len(view) and self.error is None:
                done += self._file.write(view[done:])
        except OSError as error:
            self.error = error
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As of any file."""
        return self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        """As of any file, or keep the error."""
        try:
            return self._file.truncate(size) if self.error is None else size or 0
        except OSError as error:
            self.error = error
            return size or 0

    def close(self) -> None:
        """Close the file; some file systems tell of a full disk only here."""
        super().close()
        try:
            self._file.close()
        except OSError as error:
            self.error = self.error or error


def damaged_hdf5(path: Path | str, error: BaseException) -> ScfmError | None:
    """Return the error about an HDF5 file that can't be read; None where the error is of another kind.

    h5py has no class for it: an ``OSError`` without a number, or a text of HDF5's, whatever wraps it.
    """
    is_damage = (isinstance(error, OSError) and not error.errno) or "synchronously" in str(error)
    if not is_damage or isinstance(error, ScfmError):
        return None
    reason = " ".join(str(error).split())[:200].rstrip(".")
    return ScfmError(f"{path} can't be read ({reason}): it is damaged or no HDF5 file. {MADE_AGAIN}")


@contextmanager
def reading_hdf5(path: Path | str) -> "Iterator[h5py.File]":
    """Open an HDF5 file of the run for reading.

    Raises
    ------
    ScfmError
        The file, or what the body reads of it, is damaged.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except Exception as error:
        found = damaged_hdf5(path, error)
        if found is None:
            raise
        raise found from error


@contextmanager
def writing_hdf5(path: Path, *, copy_of: Path | None = None) -> "Iterator[h5py.File]":
    """Open an HDF5 file for writing; it appears under its name when the body has ended well.

    Parameters
    ----------
    path
        File to write; an existing one is replaced.
    copy_of
        File to start from instead of an empty one.

    Raises
    ------
    ResourceError
        The disk is full or can't be written.
    ScfmError
        The file to start from is damaged.
    """
    import h5py

    partial = path.with_name(f".{path.name}.part")
    try:
        if copy_of is not None:
            shutil.copyfile(copy_of, partial)
        held = HeldFile(partial, "w+" if copy_of is None else "r+")
        try:
            with h5py.File(held, "w" if copy_of is None else "r+") as file:
                yield file
        except Exception as error:
            if held.error is not None:  # the body met what the missing bytes caused
                raise no_space(path, held.error) from error
            found = damaged_hdf5(copy_of, error) if copy_of is not None else None
            if found is not None:
                raise found from error
            raise
        finally:
            held.close()
        if held.error is not None:
            raise no_space(path, held.error) from held.error
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def put_anndata(file: "h5py.File", data: "ad.AnnData", **dataset_kwargs: Any) -> None:
    """Write an AnnData object without ``raw`` into an empty file; text columns stay text.

    Parameters
    ----------
    file
        Open for writing.
    data
        The object; without ``X`` none is written.
    dataset_kwargs
        Of every array: ``compression``, ``compression_opts``.
    """
    from anndata.io import write_elem

    file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    parts = {"X": data.X} if data.X is not None else {}
    parts |= {name: dict(getattr(data, name)) for name in ("obsm", "varm", "obsp", "varp", "layers", "uns")}
    for name, part in {**parts, "obs": data.obs, "var": data.var}.items():
        write_elem(file, name, part, dataset_kwargs=dataset_kwargs)
