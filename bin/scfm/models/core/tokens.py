"""Ragged rows: from CSR counts to tokens of a chunk of cells, without Python per value and without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: why a cell without a single mapped gene has no row; one wording for all models
NO_GENES = "no gene of the model's vocabulary is detected in this cell"


@dataclass
class Rows:
    """Non-zero entries of a chunk of cells, restricted to some genes.

    Attributes
    ----------
    columns
        Column of the count matrix, ascending within a cell, shape (n_values,), int64.
    values
        Counts, shape (n_values,), dtype of the matrix (integers become float32).
    offsets
        Cell ``i`` owns ``offsets[i]:offsets[i + 1]``, shape (n_cells + 1,), int64.
    """

    columns: np.ndarray
    values: np.ndarray
    offsets: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Values per cell, shape (n_cells,)."""
        return np.diff(self.offsets)

    @property
    def cell(self) -> np.ndarray:
        """Row of the chunk each value belongs to, shape (n_values,)."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.lengths)


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Return offsets, shape (n + 1,), int64, of rows with these lengths."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def within(offsets: np.ndarray) -> np.ndarray:
    """Return the position of every value inside its row: ``0 .. length-1`` for each row."""
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))


def detected(counts: "csr_matrix", keep: np.ndarray) -> Rows:
    """Take the non-zero entries of the kept columns.

    Stored zeros are dropped and the columns of a cell are put in ascending order, whatever the file holds.

    Parameters
    ----------
    counts
        Cells x genes.
    keep
        Mask over the genes, shape (n_genes,).
    """
    if not counts.has_sorted_indices:
        counts = counts.sorted_indices()
    columns, values, offsets = counts.indices.astype(np.int64), counts.data, counts.indptr.astype(np.int64)
    mask = keep.take(columns)
    mask &= values != 0
    if not mask.all():
        places = np.flatnonzero(mask)
        columns, values, offsets = columns.take(places), values.take(places), np.searchsorted(places, offsets)
    return Rows(columns, values if values.dtype.kind == "f" else values.astype(np.float32), offsets)


def rank_rows(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Order each row by descending value; equal values stay in their given order.

    Parameters
    ----------
    values
        Finite keys, shape (n_values,).
    offsets
        Row limits, shape (n_rows + 1,).

    Returns
    -------
    Flat positions, shape (n_values,): ``values[result]`` is row after row, each from highest to lowest.
    """
    order = np.empty(len(values), dtype=np.int64)
    negated = -values
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        np.add(np.argsort(negated[start:stop]), start, out=order[start:stop])
    return _settle_ties(order, values, offsets)


def _settle_ties(order: np.ndarray, values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Put equal neighbours of an unstable sort back in their given order (cheaper than a stable sort: ties are few)."""
    ordered = values[order]
    same = np.empty(len(order), dtype=bool)
    same[:1] = False
    same[1:] = ordered[1:] == ordered[:-1]
    same[offsets[:-1][offsets[:-1] < len(order)]] = False  # the first of a row ties with nothing
    tied = same.copy()
    tied[:-1] |= same[1:]
    places = np.flatnonzero(tied)
    if len(places):
        run = np.cumsum(~same)[places]
        order[places] = order[places][np.lexsort((order[places], run))]
    return order


def take_rows(
    offsets: np.ndarray, rows: np.ndarray, lengths: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return flat positions and new offsets of some rows, in the given order, each cut to its first ``lengths``
    values.
    """
    lengths = np.diff(offsets)[rows] if lengths is None else np.minimum(np.diff(offsets)[rows], lengths)
    new = offsets_of(lengths)
    return np.repeat(offsets[:-1][rows], lengths) + within(new), new


def surround(
    values: np.ndarray, offsets: np.ndarray, *, before: float | None = None, after: float | None = None
) -> np.ndarray:
    """Put a special value in front of and / or behind every row of a flat array (see :func:`surrounded_offsets`)."""
    n_extra = (before is not None) + (after is not None)
    new = surrounded_offsets(offsets, n_extra)
    out = np.empty(new[-1], dtype=values.dtype)
    shift = 1 if before is not None else 0
    for start, stop, at in zip(offsets[:-1].tolist(), offsets[1:].tolist(), (new[:-1] + shift).tolist(), strict=True):
        out[at : at + stop - start] = values[start:stop]
    if before is not None:
        out[new[:-1]] = before
    if after is not None:
        out[new[1:] - 1] = after
    return out


def surrounded_offsets(offsets: np.ndarray, n_extra: int) -> np.ndarray:
    """Return the offsets of rows that have got ``n_extra`` more values each."""
    return offsets + n_extra * np.arange(len(offsets))


@dataclass
class Tokens:
    """Tokens of a chunk of cells; row ``i`` belongs to cell ``i`` of the chunk.

    Attributes
    ----------
    offsets
        Row limits, shape (n_cells + 1,), int64. A row may be empty.
    fields
        Flat arrays over all tokens, shape (n_tokens,), e.g. ``ids`` and ``values``.
    n_genes
        Detected genes of the vocabulary per cell before any cut, shape (n_cells,); a cell with 0 gets no row.
    cells
        One entry per cell, shape (n_cells, ...), e.g. a species code.
    skipped
        Cells without a row for a reason of the model's own: row -> sentence.
    """

    offsets: np.ndarray
    fields: dict[str, np.ndarray]
    n_genes: np.ndarray
    cells: dict[str, np.ndarray] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens per cell, shape (n_cells,)."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: np.ndarray) -> "Tokens":
        """Return the tokens of some cells, in the given order (``skipped`` is not carried over)."""
        flat, offsets = take_rows(self.offsets, rows)
        return Tokens(
            offsets,
            {k: v[flat] for k, v in self.fields.items()},
            self.n_genes[rows],
            {k: v[rows] for k, v in self.cells.items()},
        )

    @staticmethod
    def join(parts: "Sequence[Tokens]") -> "Tokens":
        """Return the tokens of several chunks as those of one, cells in the given order."""
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0, *(len(p) for p in parts)])
        return Tokens(
            offsets_of(np.concatenate([p.lengths for p in parts])),
            {k: np.concatenate([p.fields[k] for p in parts]) for k in parts[0].fields},
            np.concatenate([p.n_genes for p in parts]),
            {k: np.concatenate([p.cells[k] for p in parts]) for k in parts[0].cells},
            {int(start) + row: why for start, p in zip(starts, parts, strict=False) for row, why in p.skipped.items()},
        )

    def padded(self, name: str, width: int, pad: float) -> np.ndarray:
        """Return a field as a matrix, shape (n_cells, width), padded on the right: for tests and for people to look
        at.
        """
        values = self.fields[name]
        out = np.full((len(self), width), pad, dtype=values.dtype)
        out[np.repeat(np.arange(len(self)), self.lengths), within(self.offsets)] = values
        return out

    def not_embedded(self) -> dict[int, str]:
        """Return why cells get no row: row -> reason."""
        reasons = {int(i): NO_GENES for i in np.flatnonzero(self.n_genes == 0)}
        return reasons | self.skipped


def plan_batches(lengths: np.ndarray, rows: np.ndarray, budget: int) -> list[np.ndarray]:
    """Group cells of similar length into batches of at most ``budget`` padded tokens.

    Parameters
    ----------
    lengths
        Tokens of every cell of the chunk.
    rows
        The cells to group.
    budget
        Limit of ``cells x longest`` per batch; a cell longer than the budget is a batch of its own.

    Returns
    -------
    Arrays of rows, longest cells first (so that a lack of memory shows at once).
    """
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    batches, start = [], 0
    while start < len(rows):
        size = max(1, budget // max(1, int(lengths[rows[start]])))
        batches.append(rows[start : start + size])
        start += size
    return batches


def smallest(draws: np.ndarray, offsets: np.ndarray, n: int) -> np.ndarray:
    """Mark the n smallest draws of every row; of equal draws the earlier one counts as smaller.

    The upper eight bits say at once where nearly all draws belong; only those that share them with the n-th smallest
    are sorted.

    Parameters
    ----------
    draws
        Uniform, shape (n_values,), uint32.
    offsets
        Row limits, shape (n_rows + 1,); rows of at most n values are marked whole.
    n
        At least 1.

    Returns
    -------
    Mask, shape (n_values,).
    """
    lengths = np.diff(offsets)
    upper = (draws >> np.uint32(24)).astype(np.uint8)
    row_base = np.repeat(np.arange(len(lengths)) << 8, lengths)
    row_base += upper
    counts = np.bincount(row_base, minlength=len(lengths) << 8).reshape(-1, 256)
    up_to = counts.cumsum(axis=1)
    edge = (up_to < np.minimum(lengths, n)[:, None]).sum(axis=1)
    place = np.arange(len(lengths)), edge
    below = up_to[place] - counts[place]
    edge_of_value = np.repeat(edge.astype(np.uint8), lengths)
    mask = upper < edge_of_value
    at_edge = np.flatnonzero(upper == edge_of_value)
    row = np.searchsorted(offsets, at_edge, side="right") - 1
    order = np.argsort((row.astype(np.uint64) << np.uint64(32)) | draws[at_edge], kind="stable")
    first = np.searchsorted(row, np.arange(len(lengths)))
    rank = np.arange(len(row)) - first[row] + below[row]
    mask[at_edge[order[rank < n]]] = True
    return mask
