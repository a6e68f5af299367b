"""CSR matrices on disk: rows appended to an h5ad file, and rows set aside in a plain file to be read in any order."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING

from scfm.errors import ScfmError

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from scipy import sparse

#: gap, in values, between two rows below which both are read at once
_GAP = 4096


class CsrWriter:
    """Append rows to a CSR matrix inside an h5ad file.

    Parameters
    ----------
    file
        Open for writing.
    n_columns
        Genes.
    key
        Where the matrix is written to.
    """

    def __init__(self, file: "h5py.File", n_columns: int, key: str = "X") -> None:
        self._n_columns = n_columns
        self._lengths: list[np.ndarray] = []
        self._group = file.create_group(key)
        settings = {
            "shape": (0,),
            "maxshape": (None,),
            "chunks": (1 << 16,),
            "compression": "gzip",
            "compression_opts": 1,
            "shuffle": True,
        }
        self._data = self._group.create_dataset("data", dtype="f4", **settings)
        self._indices = self._group.create_dataset("indices", dtype="i4", **settings)

    def append(self, rows: "sparse.csr_matrix") -> None:
        """Append rows; shape (any, n_columns), indices sorted."""
        import numpy as np

        start = self._data.shape[0]
        for dataset, values in ((self._data, rows.data), (self._indices, rows.indices)):
            dataset.resize((start + rows.nnz,))
            dataset[start:] = values
        self._lengths.append(np.diff(rows.indptr))

    def close(self) -> None:
        """Write what makes the group a matrix."""
        import numpy as np

        lengths = np.concatenate(self._lengths) if self._lengths else np.empty(0, dtype=np.int64)
        indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self._group.create_dataset("indptr", data=indptr, compression="gzip", compression_opts=1)
        self._group.attrs.update(
            {
                "encoding-type": "csr_matrix",
                "encoding-version": "0.1.0",
                "shape": np.array([len(lengths), self._n_columns], dtype=np.int64),
            }
        )


class Spool:
    """Rows of a CSR matrix in two plain files, which are removed at the end; any rows can be read, in any order.

    A compressed h5ad file can only be read from front to back at a fair speed. Rows are read with ``pread``: pages of a
    memory map would count as memory of the process.

    Parameters
    ----------
    folder
        Where the files are written.
    n_columns
        Columns.
    """

    def __init__(self, folder: Path, n_columns: int) -> None:
        import tempfile

        self.n_columns = n_columns
        self._values, self._columns = (tempfile.TemporaryFile(dir=folder) for _ in range(2))  # noqa: SIM115 (kept open)
        self._ends: list[np.ndarray] = []
        self._n_values = 0
        self._starts: np.ndarray | None = None

    def append(self, rows: "sparse.csr_matrix") -> None:
        """Append rows, float32 values."""
        import numpy as np

        self._values.write(np.ascontiguousarray(rows.data, dtype=np.float32).data)
        self._columns.write(np.ascontiguousarray(rows.indices, dtype=np.int32).data)
        self._ends.append(self._n_values + rows.indptr[1:].astype(np.int64))
        self._n_values += rows.nnz

    def finish(self) -> None:
        """End the writing; rows can be read from here on."""
        import numpy as np

        self._values.flush()
        self._columns.flush()
        self._starts = np.concatenate([[0], *self._ends]).astype(np.int64)
        self._ends = []

    @property
    def lengths(self) -> "np.ndarray":
        """Values of every row."""
        import numpy as np

        assert self._starts is not None
        return np.diff(self._starts)

    def take(self, rows: "np.ndarray") -> "sparse.csr_matrix":
        """Return rows by their positions, in the order asked for.

        Parameters
        ----------
        rows
            Positions, all different, shape (n_rows,).
        """
        import numpy as np
        from scipy import sparse

        assert self._starts is not None
        order = np.argsort(rows, kind="stable")
        begins, ends = self._starts[rows[order]], self._starts[rows[order] + 1]
        lengths = ends - begins
        data, indices = np.empty(int(lengths.sum()), np.float32), np.empty(int(lengths.sum()), np.int32)
        cuts = [0, *(np.flatnonzero(begins[1:] - ends[:-1] > _GAP) + 1).tolist(), len(rows)]
        done = 0
        for first, last in pairwise(cuts):
            if first == last:
                continue
            low, high = int(begins[first]), int(ends[last - 1])
            wanted = _spans(begins[first:last] - low, lengths[first:last], high - low)
            n = int(lengths[first:last].sum())
            data[done : done + n] = self._read(self._values, np.float32, low, high)[wanted]
            indices[done : done + n] = self._read(self._columns, np.int32, low, high)[wanted]
            done += n
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        found = sparse.csr_matrix((data, indices, indptr), shape=(len(rows), self.n_columns))
        if np.array_equal(order, np.arange(len(rows))):
            return found
        back = np.empty_like(order)
        back[order] = np.arange(len(rows))
        return found[back]

    @staticmethod
    def _read(file: IO[bytes], dtype: type, low: int, high: int) -> "np.ndarray":
        """Return values ``low`` to ``high`` of a file of 4-byte values."""
        import numpy as np

        content = bytearray((high - low) * 4)
        view, done = memoryview(content), 0
        while done < len(content):
            got = os.preadv(file.fileno(), [view[done:]], low * 4 + done)
            if got == 0:
                raise ScfmError("A temporary file of the preparation is shorter than what was written to it.")
            done += got
        return np.frombuffer(content, dtype=dtype)


def _spans(begins: "np.ndarray", lengths: "np.ndarray", n: int) -> "np.ndarray | slice":
    """Return the positions of spans within ``n`` values; a slice where they are all of them."""
    import numpy as np

    if int(lengths.sum()) == n:
        return slice(None)
    inside = np.zeros(n + 1, dtype=np.int8)
    np.add.at(inside, begins, 1)
    np.add.at(inside, begins + lengths, -1)
    return np.flatnonzero(np.cumsum(inside[:-1], dtype=np.int8))
