"""Arrays by name, as ``np.savez`` writes them, read without running code from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import ScfmError

if TYPE_CHECKING:
    import numpy as np


def read_arrays(
    path: Path | str, names: Sequence[str] | None = None, *, expected: str = "", damaged: str
) -> "dict[str, np.ndarray]":
    """Read a file that the pipeline has written.

    Parameters
    ----------
    path
        File of ``np.savez``.
    names
        Arrays that are read and must be there; by default all that are there.
    expected
        Sentence that follows the names of arrays that are missing.
    damaged
        Sentences about a file that can't be read, with ``{path}`` and ``{error}``.

    Raises
    ------
    ScfmError
        It is no such file, is damaged, holds objects, or lacks an array.
    """
    import struct
    import zipfile
    import zlib

    import numpy as np

    try:
        content = np.load(path, allow_pickle=False)
        if not isinstance(content, np.lib.npyio.NpzFile):
            raise ValueError("one array without a name")
        with content:
            missing = sorted(set(names or ()) - set(content.files))
            if missing:
                raise ScfmError(f"{path}: arrays missing: {', '.join(missing)}. {expected}")
            return {name: content[name] for name in names or content.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, struct.error) as error:
        said = " ".join(str(error).split())[:200]
        raise ScfmError(damaged.format(path=path, error=said)) from error
