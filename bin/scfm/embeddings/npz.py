"""Embeddings in NumPy's archives: arrays of ids and values, read without running code from them."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.io.declared import check_declared
from scfm.io.store import first_line
from scfm.text import listing

if TYPE_CHECKING:
    import numpy as np

_ID_ARRAYS = ("cell_id", "cell_ids", "obs_names")
_VALUE_ARRAYS = ("embedding", "X", "values")


def read_npz(path: Path) -> "tuple[np.ndarray, np.ndarray]":
    """Read an embedding from an npz, as ``np.savez`` writes it.

    Returns
    -------
    Ids, shape (n_rows,), strings; coordinates, shape (n_rows, n_dims), float64.

    Raises
    ------
    ScfmError
        It can't be read without running code (object arrays), declares more than the file holds, or lacks ids or
        values.
    """
    import numpy as np

    ids, values, name = _read_arrays(path)
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise ScfmError(
            f"{path}: array '{name}' has shape {values.shape} and kind {values.dtype}; expected numbers, cells x"
            " dimensions."
        )
    try:
        texts = [i.decode("utf-8") if isinstance(i, bytes) else str(i) for i in ids.tolist()]
    except UnicodeDecodeError as error:
        raise ScfmError(
            f"{path}: the ids are bytes that are not UTF-8 ({error}). Save them as text:"
            " np.savez(file, cell_ids=ids.astype(str), embedding=values)."
        ) from None
    return np.array(texts, dtype=object), values.astype(np.float64)


def _read_arrays(path: Path) -> "tuple[np.ndarray, np.ndarray, str]":
    """Return ids, values, and the name of the array of values."""
    import numpy as np

    try:
        _check_sizes(path)
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
    except (ValueError, OSError, EOFError, KeyError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise ScfmError(
            f"{path} can't be read as npz without running code from it ({first_line(error)}). Save the ids as text:"
            " np.savez(file, cell_ids=ids.astype(str), embedding=values)."
        ) from None
    if ids.ndim != 1 or ids.dtype.kind not in "USiu":
        raise ScfmError(
            f"{path}: array '{ids_name}' has shape {ids.shape} and kind {ids.dtype}; expected one id per cell, as text."
        )
    return ids, values, values_name


def _check_sizes(path: Path) -> None:
    """Compare the shapes that the arrays declare with what the file holds; a file that is no archive is left alone."""
    import numpy as np

    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            with archive.open(part) as member:
                is_first = np.lib.format.read_magic(member) == (1, 0)
                read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
                shape, _, kind = read(member)
            check_declared(math.prod(shape) * kind.itemsize, part.compress_size, f"{path}: array '{part.filename}'")
