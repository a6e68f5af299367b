"""Find and read raw counts in an AnnData file, wherever and however they are stored.

Counts are looked for in a named layer, else in ``layers['counts']``, ``raw.X`` and ``X``, in this order: the first
that holds whole, non-negative, finite numbers is taken. Sparse matrices are judged by streaming their stored values,
dense ones by streaming blocks of rows, so that no matrix is ever loaded for a check.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.io.store import Store, open_store
from scfm.text import did_you_mean, listing

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse

#: fractional values that stay under this limit look like logarithms (practitioners' rule D1)
LOG_MAX = 25.0
#: stored values per block when streaming
BLOCK_VALUES = 4_000_000


@dataclass(frozen=True, slots=True)
class MatrixFacts:
    """What streaming through a matrix found.

    Attributes
    ----------
    source
        ``layers/<name>``, ``raw`` or ``X``.
    storage
        ``csr``, ``csc`` or ``dense``.
    shape
        Cells, genes.
    n_stored
        Values looked at (stored values of a sparse matrix).
    n_nan, n_infinite, n_negative, n_fractional
        How many of them are of that kind; fractional: finite and not whole.
    maximum
        Largest finite value.
    max_fraction
        Largest distance of a finite value from the next whole number, 0 to 0.5.
    """

    source: str
    storage: str
    shape: tuple[int, int]
    n_stored: int = 0
    n_nan: int = 0
    n_infinite: int = 0
    n_negative: int = 0
    n_fractional: int = 0
    maximum: float = 0.0
    max_fraction: float = 0.0

    @property
    def is_count(self) -> bool:
        """Whether the matrix holds whole, non-negative, finite numbers, not all of them zero."""
        return self.maximum > 0 and not (self.n_nan or self.n_infinite or self.n_negative or self.n_fractional)

    @property
    def looks_logged(self) -> bool:
        """Whether the values look like logarithms: fractional and none above 25."""
        return self.n_fractional > 0 and self.maximum <= LOG_MAX

    def is_usable(self, *, round_counts: bool) -> bool:
        """Whether the matrix can serve as counts, after rounding if that is allowed."""
        roundable = round_counts and not self.looks_logged
        return self.is_count or (roundable and replace(self, n_fractional=0).is_count)


def key_of(source: str) -> str:
    """Return the key inside the file for a source: ``raw`` is ``raw/X``."""
    return "raw/X" if source == "raw" else source


def var_of(source: str) -> str:
    """Return the var frame that belongs to a source."""
    return "raw/var" if source == "raw" else "var"


def candidates(store: Store, layer: str | None = None) -> list[str]:
    """Return the places where counts may be, in order of preference.

    Raises
    ------
    ScfmError
        A named layer does not exist.
    """
    layers = store.keys("layers")
    if layer:
        if layer in layers:
            return [f"layers/{layer}"]
        if layer in {"raw", "raw.X", "X"}:
            source = "X" if layer == "X" else "raw"
            if key_of(source) in store.root:
                return [source]
            raise ScfmError(
                f"{store.name}: the samplesheet asks for counts in '{layer}', and the file has none. Layers: "
                f"{listing(layers) or 'none'}."
            )
        raise ScfmError(
            f"{store.name}: there is no layer '{layer}' (column counts_layer).{did_you_mean(layer, layers)} Layers: "
            f"{listing(layers) or 'none'}."
        )
    wanted = [f"layers/{name}" for name in layers if name == "counts"] + ["raw", "X"]
    return [s for s in wanted if key_of(s) in store.root and store.root[key_of(s)].attrs.get("encoding-type") != "null"]


def describe(store: Store, source: str) -> MatrixFacts:
    """Return storage and shape of a matrix without reading its values."""
    element = store.root[key_of(source)]
    encoding = str(element.attrs.get("encoding-type", "array"))
    if encoding in {"csr_matrix", "csc_matrix"}:
        shape = tuple(int(v) for v in element.attrs["shape"])
        return MatrixFacts(source, encoding[:3], (shape[0], shape[1]))
    if hasattr(element, "shape") and len(element.shape) == 2:
        return MatrixFacts(source, "dense", (int(element.shape[0]), int(element.shape[1])))
    raise ScfmError(
        f"{store.name}: '{source}' is stored as '{encoding}'; counts must be a sparse matrix (CSR, "
        "CSC) or a dense array."
    )


def _blocks(store: Store, facts: MatrixFacts) -> Iterator["np.ndarray"]:
    """Yield the stored values block by block."""
    element = store.root[key_of(facts.source)]
    if facts.storage == "dense":
        rows = max(1, BLOCK_VALUES // max(1, facts.shape[1]))
        for start in range(0, facts.shape[0], rows):
            yield element[start : start + rows]
        return
    data = element["data"]
    for start in range(0, data.shape[0], BLOCK_VALUES):
        yield data[start : start + BLOCK_VALUES]


def tally(facts: MatrixFacts, block: "np.ndarray") -> MatrixFacts:
    """Return the facts with one more block of values counted in."""
    import numpy as np

    values = np.asarray(block).ravel()
    if values.size == 0:
        return facts
    if values.dtype.kind in "bui":
        return replace(
            facts,
            n_stored=facts.n_stored + values.size,
            n_negative=facts.n_negative + int((values < 0).sum()),
            maximum=max(facts.maximum, float(values.max())),
        )
    nan, infinite = np.isnan(values), np.isinf(values)
    finite = values[~(nan | infinite)] if nan.any() or infinite.any() else values
    distance = np.abs(finite - np.rint(finite))
    return replace(
        facts,
        n_stored=facts.n_stored + values.size,
        n_nan=facts.n_nan + int(nan.sum()),
        n_infinite=facts.n_infinite + int(infinite.sum()),
        n_negative=facts.n_negative + int((finite < 0).sum()),
        n_fractional=facts.n_fractional + int((distance > 0).sum()),
        maximum=max(facts.maximum, float(finite.max())) if finite.size else facts.maximum,
        max_fraction=max(facts.max_fraction, float(distance.max())) if finite.size else facts.max_fraction,
    )


def inspect(store: Store, source: str, *, first_block_only: bool = False) -> MatrixFacts:
    """Stream through a matrix and count what can't be a raw count.

    Parameters
    ----------
    store
        Open file.
    source
        ``layers/<name>``, ``raw`` or ``X``.
    first_block_only
        Look at the first values only; enough to see that a matrix holds no counts, not that it does.
    """
    facts = describe(store, source)
    for block in _blocks(store, facts):
        facts = tally(facts, block)
        if first_block_only:
            break
    return facts


def find_counts(store: Store, layer: str | None = None, *, round_counts: bool = False) -> MatrixFacts:
    """Return the facts of the matrix that serves as counts, or of the preferred candidate if none does.

    Whole numbers are preferred over fractional ones that could be rounded. The caller holds the result against
    :meth:`MatrixFacts.is_usable`.

    Raises
    ------
    ScfmError
        The file has no matrix at all, or not the named one.
    """
    places = candidates(store, layer)
    if not places:
        raise ScfmError(f"{store.name}: there are no counts: neither layers['counts'] nor raw.X nor X exists.")
    seen: dict[str, MatrixFacts] = {}
    for source in places:
        peek = inspect(store, source, first_block_only=True)
        if peek.is_usable(round_counts=True) or peek.maximum <= 0:
            seen[source] = inspect(store, source)
            if seen[source].is_count:
                return seen[source]
    for facts in seen.values():
        if facts.is_usable(round_counts=round_counts):
            return facts
    return seen.get(places[0]) or inspect(store, places[0])


def load_counts(path: Path | str, source: str, *, round_counts: bool = False) -> "sparse.csr_matrix":
    """Load the whole count matrix as CSR.

    Parameters
    ----------
    path
        h5ad file or zarr folder.
    source
        ``layers/<name>``, ``raw`` or ``X``, as found by :func:`find_counts`.
    round_counts
        Round fractional values to whole numbers.

    Returns
    -------
    Counts, shape (n_cells, n_genes), float32, indices sorted, no stored zeros.
    """
    from scipy import sparse

    with open_store(path) as store:
        if describe(store, source).storage == "csc":
            return _tidy(_read_sparse(store, source).tocsr(), round_counts=round_counts)
    parts = [block for _, block in iter_rows(path, source, round_counts=round_counts)]
    return sparse.vstack(parts, format="csr") if len(parts) > 1 else parts[0]


def iter_rows(
    path: Path | str, source: str, *, chunk: int = 20_000, round_counts: bool = False
) -> Iterator[tuple[int, "sparse.csr_matrix"]]:
    """Yield blocks of rows of the counts as CSR, in file order.

    CSR and dense matrices are read block by block; CSC has no rows to read and is loaded once, sparse.

    Parameters
    ----------
    path, source, round_counts
        As in :func:`load_counts`.
    chunk
        Rows per block.

    Yields
    ------
    Position of the first row; counts, shape (<= chunk, n_genes), float32.
    """
    from scipy import sparse

    with open_store(path) as store:
        facts = describe(store, source)
        element = store.root[key_of(source)]
        whole = _read_sparse(store, source).tocsr() if facts.storage == "csc" else None
        indptr = element["indptr"][:] if facts.storage == "csr" else None
        for start in range(0, max(1, facts.shape[0]), chunk):
            stop = min(start + chunk, facts.shape[0])
            if whole is not None:
                rows = whole[start:stop]
            elif indptr is None:
                rows = sparse.csr_matrix(element[start:stop])
            else:
                low, high = int(indptr[start]), int(indptr[stop])
                parts = (element["data"][low:high], element["indices"][low:high], indptr[start : stop + 1] - low)
                rows = sparse.csr_matrix(parts, shape=(stop - start, facts.shape[1]))
            yield start, _tidy(rows, round_counts=round_counts)


def _read_sparse(store: Store, source: str) -> Any:
    """Read a sparse matrix as it is stored."""
    from anndata.io import read_elem

    return read_elem(store.root[key_of(source)])


def _tidy(matrix: Any, *, round_counts: bool) -> "sparse.csr_matrix":
    """Return float32 CSR with summed duplicates, sorted indices and no stored zeros."""
    import numpy as np
    from scipy import sparse

    matrix = sparse.csr_matrix(matrix)
    matrix.data = matrix.data.astype(np.float32)
    if round_counts:
        np.rint(matrix.data, out=matrix.data)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix
