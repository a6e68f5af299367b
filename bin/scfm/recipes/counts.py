"""Stream the counts of chosen rows out of a file, and into another, without ever holding more than a piece of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.io.counts import MatrixFacts, describe, key_of
from scfm.io.store import Store
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from scipy import sparse

#: values of a piece that is read at once
PIECE_VALUES = 2_000_000
#: fewer values than this between two chosen rows are read along rather than skipped: about what one compressed chunk
#: holds
SKIP_VALUES = 50_000


def pick_source(store: Store, wanted: str, *, where: str) -> str:
    """Return where the counts are: what the recipe names, else ``raw`` where there is one, else ``X``.

    Raises
    ------
    ScfmError
        There is no such matrix.
    """
    layers = store.keys("layers")
    if wanted and wanted not in {"raw", "X"}:
        if wanted not in layers:
            raise ScfmError(
                f"{where}: there is no layer '{wanted}' (key 'counts').{did_you_mean(wanted, layers)} Layers: "
                f"{listing(layers) or 'none'}; 'raw' and 'X' can be named, too."
            )
        return f"layers/{wanted}"
    there = [
        s
        for s in ("raw", "X")
        if key_of(s) in store.root and store.root[key_of(s)].attrs.get("encoding-type") != "null"
    ]
    if wanted and wanted not in there:
        raise ScfmError(
            f"{where}: the recipe asks for counts in '{wanted}', and the file has none there. It has "
            f"{listing([*there, *layers]) or 'no matrix at all'}."
        )
    if not there:
        raise ScfmError(
            f"{where}: there are no counts: neither raw.X nor X exists. Layers: {listing(layers) or 'none'}; name one"
            " with the key 'counts'."
        )
    return wanted or there[0]


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


def read_rows(
    store: Store, facts: MatrixFacts, rows: "np.ndarray", columns: "np.ndarray", n_columns: int
) -> Iterator["sparse.csr_matrix"]:
    """Yield the counts of chosen rows in file order, piece by piece.

    CSR and dense matrices are read where chosen rows are. CSC has no rows to read: its columns are streamed, and the
    chosen rows' values are held until the end.

    Parameters
    ----------
    store
        Open file.
    facts
        Storage and shape of the matrix, from :func:`scfm.io.counts.describe`.
    rows
        Positions of the chosen rows, ascending.
    columns
        Position in the result of each column of the file, shape (n_genes,), -1 for one that is left out.
    n_columns
        Columns of the result.

    Yields
    ------
    CSR float32, shape (<= rows of a piece, n_columns), indices sorted; values as they are in the file.
    """
    import numpy as np
    from scipy import sparse

    element = store.root[key_of(facts.source)]
    if facts.storage == "csc":
        yield from _from_csc(element, facts, rows, columns, n_columns)
        return
    offsets = (
        element["indptr"][:].astype(np.int64)
        if facts.storage == "csr"
        else np.arange(facts.shape[0] + 1) * max(1, facts.shape[1])
    )
    for run in pieces(rows, offsets, skip=_skip(element["data"] if facts.storage == "csr" else element)):
        first, last = int(run[0]), int(run[-1]) + 1
        if facts.storage == "dense":
            block = sparse.csr_matrix(element[first:last][run - first])
        else:
            low, high = int(offsets[first]), int(offsets[last])
            parts = (element["data"][low:high], element["indices"][low:high], offsets[first : last + 1] - low)
            block = sparse.csr_matrix(parts, shape=(last - first, facts.shape[1]))[run - first]
        yield _remap(block, columns, n_columns)


def _skip(element: Any) -> int:
    """Return how many values between chosen rows are read along: a chunk is decompressed whole anyway."""
    chunk = element.chunks or (0,)
    return min(PIECE_VALUES, max(SKIP_VALUES, *chunk))


def _remap(block: "sparse.csr_matrix", columns: "np.ndarray", n_columns: int) -> "sparse.csr_matrix":
    """Return a piece with its columns in the places of the result, float32."""
    import numpy as np
    from scipy import sparse

    new = columns[block.indices]
    keep = new >= 0
    before = np.concatenate([[0], np.cumsum(keep)])
    parts = (block.data[keep].astype(np.float32), new[keep], before[block.indptr])
    result = sparse.csr_matrix(parts, shape=(block.shape[0], n_columns))
    result.sum_duplicates()
    result.eliminate_zeros()
    return result


def _from_csc(
    element: Any, facts: MatrixFacts, rows: "np.ndarray", columns: "np.ndarray", n_columns: int
) -> Iterator["sparse.csr_matrix"]:
    """Yield one piece with the chosen rows of a CSC matrix."""
    import numpy as np
    from scipy import sparse

    place = np.full(facts.shape[0], -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    indptr, parts = element["indptr"][:].astype(np.int64), []
    for run in pieces(np.flatnonzero(columns >= 0), indptr):
        first, last = int(run[0]), int(run[-1]) + 1
        low, high = int(indptr[first]), int(indptr[last])
        where, data = place[element["indices"][low:high]], element["data"][low:high]
        new = np.repeat(columns[first:last], np.diff(indptr[first : last + 1]))
        keep = (where >= 0) & (new >= 0)
        parts.append((data[keep].astype(np.float32), where[keep], new[keep]))
    data, where, new = (
        (np.concatenate(p) for p in zip(*parts, strict=True))
        if parts
        else (np.empty(0, np.float32), *[np.empty(0, int)] * 2)
    )
    result = sparse.coo_matrix((data, (where, new)), shape=(len(rows), n_columns)).tocsr()
    result.eliminate_zeros()
    yield result


def counts_faults(facts: MatrixFacts, *, where: str) -> list[str]:
    """Return a sentence if the chosen values are no raw counts.

    Parameters
    ----------
    facts
        Tally of the values that were read.
    where
        How messages call source and file.
    """
    kinds = {
        "missing value (NaN)": facts.n_nan,
        "infinite value": facts.n_infinite,
        "negative value": facts.n_negative,
        "fractional value": facts.n_fractional,
    }
    found = [plural(n, kind, kind.replace("value", "values")) for kind, n in kinds.items() if n]
    if found:
        what = f"holds {', '.join(found)} of {facts.n_stored:,} in the chosen rows"
    elif facts.maximum <= 0:
        what = "holds no value above zero in the chosen rows"
    else:
        return []
    hint = (
        " They look log-transformed."
        if facts.looks_logged and not (facts.n_nan or facts.n_infinite or facts.n_negative)
        else ""
    )
    return [
        f"{where}: '{facts.source}' {what}; raw counts are whole, non-negative and finite.{hint} Name the place of the"
        " raw counts with the key 'counts' of the source (raw, X, or a layer)."
    ]


class CountsWriter:
    """Append rows to a CSR matrix inside an h5ad file.

    Parameters
    ----------
    file
        Open for writing; the matrix is written to ``X``.
    n_columns
        Genes.
    """

    def __init__(self, file: "h5py.File", n_columns: int) -> None:
        self._file, self._n_columns, self._lengths = file, n_columns, []
        self._group = file.create_group("X")
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


def matrix_of(store: Store, wanted: str, *, where: str) -> MatrixFacts:
    """Return storage and shape of the matrix that holds the counts."""
    return describe(store, pick_source(store, wanted, where=where))
