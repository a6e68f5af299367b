"""Find and read raw counts in an AnnData file, wherever and however they are stored.

Counts are looked for in a named layer, else in ``layers['counts']``, ``raw.X`` and ``X``, in this order: the first
that holds whole, non-negative, finite numbers is taken. Values are judged by streaming them through
:class:`scfm.io.matrix.Matrix`, so that no matrix is ever loaded for a check.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.io.facts import MatrixFacts, common_total, tally
from scfm.io.matrix import Matrix, key_of, open_matrix
from scfm.io.store import Store, open_store
from scfm.text import did_you_mean, listing

if TYPE_CHECKING:
    from scipy import sparse

#: cells whose values are tried as logarithms
LOG_CELLS = 200
#: multiples up to this one are looked at, at least so many of them
MAX_RATIO, MIN_RATIOS = 30.0, 50


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


def inspect(matrix: Matrix, *, first_block_only: bool = False) -> MatrixFacts:
    """Stream through a matrix and count what can't be a raw count.

    Parameters
    ----------
    matrix
        From :func:`scfm.io.matrix.open_matrix`.
    first_block_only
        Look at the first values only; enough to see that a matrix holds no counts, not that it does.
    """
    import numpy as np

    facts, totals = MatrixFacts.of(matrix), np.zeros(matrix.shape[0])
    for block in matrix.blocks():
        facts = tally(facts, block.values)
        if first_block_only:
            break
        if facts.is_usable(round_counts=True):
            totals += np.bincount(matrix.cells(block), weights=block.values, minlength=len(totals))
    if facts.looks_logged and facts.is_usable(round_counts=True) and is_logged(matrix):
        return replace(facts, logged=True)
    return facts if first_block_only else replace(facts, total=common_total(totals))


def is_logged(matrix: Matrix) -> bool:
    """Tell whether values are certainly logarithms, by the exponentials (less 1) of the first cells.

    They are where these sum to the same in every cell (log-normalised), or where they are whole multiples of the
    smallest one of their cell (logarithms of counts, whether scaled or not).
    """
    import numpy as np

    totals, whole, looked_at = [], 0, 0
    for rows in matrix.take(np.arange(min(LOG_CELLS, matrix.shape[0]))):
        values = rows.astype(np.float64)
        np.expm1(values.data, out=values.data)
        totals.append(np.asarray(values.sum(axis=1)).ravel())
        filled = values[np.diff(values.indptr) > 0]
        if not filled.nnz:
            continue
        smallest = np.minimum.reduceat(filled.data, filled.indptr[:-1])
        ratio = filled.data / np.repeat(smallest, np.diff(filled.indptr))
        ratio = ratio[(ratio > 1.5) & (ratio < MAX_RATIO)]  # the smallest itself tells nothing
        looked_at += len(ratio)
        whole += int((np.abs(ratio - np.rint(ratio)) < 1e-3 * ratio).sum())  # float32 rounds
    multiples = looked_at >= MIN_RATIOS and whole > 0.95 * looked_at  # duplicates may have been summed
    return multiples or (bool(totals) and common_total(np.concatenate(totals)) is not None)


def find_counts(store: Store, layer: str | None = None, *, round_counts: bool = False) -> MatrixFacts:
    """Return the facts of the matrix that serves as counts, or of the preferred candidate if none does.

    Whole numbers are preferred over fractional ones that could be rounded. The caller checks the result with
    :meth:`MatrixFacts.is_usable`.

    Raises
    ------
    ScfmError
        The file has no matrix at all, not the named one, or a damaged one.
    """
    places = candidates(store, layer)
    if not places:
        raise ScfmError(f"{store.name}: there are no counts: neither layers['counts'] nor raw.X nor X exists.")
    seen: dict[str, MatrixFacts] = {}
    for source in places:
        matrix = open_matrix(store, source)
        peek = inspect(matrix, first_block_only=True)
        if peek.is_usable(round_counts=True) or peek.maximum <= 0:
            seen[source] = inspect(matrix)
            if seen[source].is_count:
                return seen[source]
    for facts in seen.values():
        if facts.is_usable(round_counts=round_counts):
            return facts
    return seen.get(places[0]) or inspect(open_matrix(store, places[0]))


def other_counts(store: Store, tried: str) -> list[str]:
    """Return the layers, beside the one that was tried, that hold whole numbers."""
    found = []
    for name in store.keys("layers"):
        if f"layers/{name}" == tried:
            continue
        try:
            matrix = open_matrix(store, f"layers/{name}")
            if inspect(matrix, first_block_only=True).is_count and inspect(matrix).is_count:
                found.append(name)
        except ScfmError:  # a damaged layer that was not asked for is not suggested
            continue
    return found


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
    with open_store(path) as store:
        matrix = open_matrix(store, source)
        for start in range(0, max(1, matrix.shape[0]), chunk):
            rows = matrix.rows(start, min(start + chunk, matrix.shape[0]))
            yield start, tidy(rows, round_counts=round_counts)


def tidy(matrix: Any, *, round_counts: bool = False) -> "sparse.csr_matrix":
    """Return float32 CSR with summed duplicates, sorted indices and no stored zeros; fractions rounded if asked."""
    import numpy as np
    from scipy import sparse

    matrix = sparse.csr_matrix(matrix)
    matrix.data = matrix.data.astype(np.float32)
    if round_counts:
        np.rint(matrix.data, out=matrix.data)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix
