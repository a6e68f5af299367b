"""The one reader of count matrices: structure checked when opened, values streamed, rows read piece by piece.

The check of a run, the preparation, the sources of recipes and the models all read counts through :class:`Matrix`.
What can be known without reading values (lengths, pointers, kinds) is checked by :func:`open_matrix`; positions are
checked in every block as it is read. A matrix is never held whole, except for one stored by columns (CSC) that is read
by rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.io.structure import check_kind, check_positions, check_sparse, summed

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse

    from scfm.io.store import Store

#: stored values per block when streaming
BLOCK_VALUES = 4_000_000
#: values of a piece of chosen rows that is read at once
PIECE_VALUES = 2_000_000
#: fewer values than this between two chosen rows are read along rather than skipped: about one compressed chunk
SKIP_VALUES = 50_000
_ENCODINGS = {"csr_matrix": "csr", "csc_matrix": "csc"}


def key_of(source: str) -> str:
    """Return the key inside the file for a source: ``raw`` is ``raw/X``."""
    return "raw/X" if source == "raw" else source


@dataclass(frozen=True, slots=True)
class Block:
    """Stored values that were read at once.

    Attributes
    ----------
    values
        Shape (n,), as stored.
    first
        Position of the first one among all stored values.
    minor
        Position of each value along the compressed axis (columns of CSR, rows of CSC), None for dense matrices.
    """

    values: "np.ndarray"
    first: int
    minor: "np.ndarray | None" = None


@dataclass(slots=True)
class Matrix:
    """Counts of cells x genes in an open file, or in memory.

    Attributes
    ----------
    name
        How messages call file and place.
    source
        ``layers/<name>``, ``raw`` or ``X``.
    storage
        ``csr``, ``csc`` or ``dense``.
    shape
        Cells, genes.
    element
        The array, or the group of ``data``, ``indices`` and ``indptr``.
    indptr
        Where the values of each row (CSR) or column (CSC) start, int64; None for dense matrices.
    """

    name: str
    source: str
    storage: str
    shape: tuple[int, int]
    element: Any
    indptr: "np.ndarray | None" = None
    _by_cell: "sparse.csr_matrix | None" = field(default=None, repr=False)

    def blocks(self) -> Iterator[Block]:
        """Yield all stored values in file order, :data:`BLOCK_VALUES` at a time, their positions checked."""
        size = BLOCK_VALUES
        if self.storage == "dense":
            rows = max(1, size // max(1, self.shape[1]))
            for start in range(0, self.shape[0], rows):
                yield Block(self.element[start : start + rows].ravel(), start * self.shape[1])
            return
        for start in range(0, self.element["data"].shape[0], size):
            yield Block(self.element["data"][start : start + size], start, self._minor(start, start + size))

    def _minor(self, low: int, high: int) -> "np.ndarray":
        """Return stored positions along the compressed axis after checking their range."""
        limit = self.shape[1] if self.storage == "csr" else self.shape[0]
        return check_positions(self.element["indices"][low:high], limit, self.name, self.storage)

    def place(self, block: Block, at: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
        """Return cells and genes of some values of a block, by their positions within it."""
        import numpy as np

        if self.storage == "dense":
            return np.divmod(block.first + at, max(1, self.shape[1]))
        assert self.indptr is not None and block.minor is not None
        major = np.searchsorted(self.indptr, block.first + at, side="right") - 1
        return (major, block.minor[at]) if self.storage == "csr" else (block.minor[at], major)

    def cells(self, block: Block) -> "np.ndarray":
        """Return the cell of every value of a block."""
        import numpy as np

        if self.storage == "dense":
            return (block.first + np.arange(len(block.values))) // max(1, self.shape[1])
        if self.storage == "csc":
            assert block.minor is not None
            return block.minor
        assert self.indptr is not None
        span = [block.first, block.first + len(block.values)]
        low, high = np.searchsorted(self.indptr, span, side="right") - 1
        ends = np.clip(self.indptr[low : high + 2], span[0], span[1])
        return np.repeat(np.arange(low, low + len(ends) - 1), np.diff(ends))

    def rows(self, start: int, stop: int) -> "sparse.csr_matrix":
        """Return neighbouring rows as CSR, values as stored (integers of fewer than 32 bits as float32)."""
        from scipy import sparse

        if self.storage == "csc":
            if self._by_cell is None:
                import numpy as np

                self._by_cell = next(self.take(np.arange(self.shape[0])))
            return self._by_cell[start:stop]
        if self.storage == "dense":
            return sparse.csr_matrix(_wide(self.element[start:stop]))
        assert self.indptr is not None
        low, high = int(self.indptr[start]), int(self.indptr[stop])
        parts = (_wide(self.element["data"][low:high]), self._minor(low, high), self.indptr[start : stop + 1] - low)
        return summed(sparse.csr_matrix(parts, shape=(stop - start, self.shape[1])))

    def take(
        self, rows: "np.ndarray", columns: "np.ndarray | None" = None, n_columns: int | None = None
    ) -> "Iterator[sparse.csr_matrix]":
        """Yield chosen rows in file order, piece by piece.

        CSR and dense matrices are read where chosen rows are. CSC has no rows to read: its columns are streamed, and
        the chosen rows' values are held until the end.

        Parameters
        ----------
        rows
            Positions of the chosen rows, ascending.
        columns
            Position in the result of each column, shape (n_genes,), -1 for one that is left out; None for all.
        n_columns
            Columns of the result.

        Yields
        ------
        CSR, shape (<= rows of a piece, n_columns); values as stored (integers of fewer than 32 bits as float32).
        """
        import numpy as np

        if self.storage == "csc":
            columns = np.arange(self.shape[1]) if columns is None else columns
            yield self._take_columns(rows, columns, self.shape[1] if n_columns is None else n_columns)
            return
        offsets = self.indptr if self.indptr is not None else np.arange(self.shape[0] + 1) * max(1, self.shape[1])
        for run in pieces(rows, offsets, skip=_skip(self.element if self.indptr is None else self.element["data"])):
            first = int(run[0])
            block = self.rows(first, int(run[-1]) + 1)
            block = block if block.shape[0] == len(run) else block[run - first]
            yield block if columns is None else _remap(block, columns, n_columns or 0)

    def _take_columns(self, rows: "np.ndarray", columns: "np.ndarray", n_columns: int) -> "sparse.csr_matrix":
        """Return the chosen rows of a CSC matrix."""
        import numpy as np
        from scipy import sparse

        assert self.indptr is not None
        place = np.full(self.shape[0], -1, dtype=np.int32)
        place[rows] = np.arange(len(rows))
        parts = []
        for run in pieces(np.flatnonzero(columns >= 0), self.indptr):
            first, last = int(run[0]), int(run[-1]) + 1
            low, high = int(self.indptr[first]), int(self.indptr[last])
            where, data = place[self._minor(low, high)], _wide(self.element["data"][low:high])
            new = np.repeat(columns[first:last].astype(np.int32), np.diff(self.indptr[first : last + 1]))
            keep = (where >= 0) & (new >= 0)
            parts.append((data[keep], where[keep], new[keep]))
        if not parts:
            return sparse.csr_matrix((len(rows), n_columns), dtype=np.float32)
        data, where, new = (np.concatenate(p) for p in zip(*parts, strict=True))
        return sparse.coo_matrix((data, (where, new)), shape=(len(rows), n_columns)).tocsr()


def open_matrix(store: "Store", source: str) -> Matrix:
    """Open a matrix of a file and check its structure; no value is read.

    Parameters
    ----------
    store
        Open file.
    source
        ``layers/<name>``, ``raw`` or ``X``.

    Raises
    ------
    ScfmError
        It is no matrix of whole or real numbers, or its parts do not fit together.
    """
    element = store.root[key_of(source)]
    name = f"{store.name}: '{source}'"
    encoding = str(element.attrs.get("encoding-type", "array"))
    if encoding in _ENCODINGS:
        return _open_sparse(element, _ENCODINGS[encoding], element.attrs.get("shape"), name, source)
    if hasattr(element, "shape") and len(element.shape) == 2:
        check_kind(element.dtype, name)
        return Matrix(name, source, "dense", (int(element.shape[0]), int(element.shape[1])), element)
    if "h5sparse_format" in element.attrs:
        encoding = "h5sparse, a format older than anndata 0.7"
    raise ScfmError(
        f"{name} is stored as '{encoding}'; counts must be a sparse matrix (CSR, CSC) or a dense array of two "
        "dimensions. Read the file with anndata and write it again."
    )


def matrix_in_memory(values: Any, name: str, source: str = "X") -> Matrix:
    """Wrap a sparse or dense matrix of an AnnData in memory, or a backed one; the same checks hold."""
    import numpy as np
    from scipy import sparse

    if hasattr(values, "group"):  # backed
        fmt = str(values.group.attrs.get("encoding-type", ""))
        return _open_sparse(values.group, _ENCODINGS.get(fmt, "csr"), values.shape, name, source)
    if sparse.issparse(values):
        values = values if values.format in {"csr", "csc"} else values.tocsr()
        parts = {"data": values.data, "indices": values.indices, "indptr": values.indptr}
        return _open_sparse(parts, values.format, values.shape, name, source)
    values = values if hasattr(values, "dtype") and len(values.shape) == 2 else np.asarray(values)
    check_kind(values.dtype, name)
    return Matrix(name, source, "dense", (int(values.shape[0]), int(values.shape[1])), values)


def _open_sparse(element: Any, storage: str, shape: Any, name: str, source: str) -> Matrix:
    """Return a sparse matrix whose parts fit together."""
    sizes, indptr = check_sparse(element, storage, shape, name)
    return Matrix(name, source, storage, sizes, element, indptr)


def _wide(values: "np.ndarray") -> "np.ndarray":
    """Return values in a kind that sums don't overflow: booleans and integers of fewer than 32 bits become float32."""
    import numpy as np

    return values.astype(np.float32) if values.dtype.itemsize < 4 else values


def pieces(rows: "np.ndarray", offsets: "np.ndarray", *, skip: int = SKIP_VALUES) -> Iterator["np.ndarray"]:
    """Cut chosen rows into runs that are read at once.

    A run ends before a gap of more than ``skip`` values, and before it spans more than :data:`PIECE_VALUES`.

    Parameters
    ----------
    rows
        Positions, ascending.
    offsets
        Where the values of each row start, shape (n_rows_of_file + 1,).
    skip
        Values.
    """
    import numpy as np

    start = 0
    begins, ends = offsets[rows], offsets[rows + 1]
    gaps = np.flatnonzero(begins[1:] - ends[:-1] > skip) + 1
    for stop in [*gaps.tolist(), len(rows)]:
        while start < stop:
            fits = int(np.searchsorted(ends[start:stop], begins[start] + PIECE_VALUES, side="right"))
            yield rows[start : start + max(1, fits)]
            start += max(1, fits)


def _skip(element: Any) -> int:
    """Return how many values between chosen rows are read along: a chunk is decompressed whole anyway."""
    chunk = getattr(element, "chunks", None) or (0,)
    return min(PIECE_VALUES, max(SKIP_VALUES, *chunk))


def _remap(block: "sparse.csr_matrix", columns: "np.ndarray", n_columns: int) -> "sparse.csr_matrix":
    """Return a piece with its columns in the places of the result."""
    import numpy as np
    from scipy import sparse

    new = columns[block.indices]
    keep = new >= 0
    before = np.concatenate([[0], np.cumsum(keep)])
    return sparse.csr_matrix((block.data[keep], new[keep], before[block.indptr]), shape=(block.shape[0], n_columns))
