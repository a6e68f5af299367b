"""Expression bins of scGPT for many cells at once, equal to NumPy's quantiles of each cell to the last bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scfm.models.core import tokens

#: bins of the released models; the official collator has it hard-coded
N_BINS = 51


def bin_limits(values: np.ndarray, offsets: np.ndarray, of: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Count, for every value or some of them, the quantile edges of its row that lie below it, and those that lie at or
    below it.

    The edges are the quantiles 0, 1/49 ... 1 of the row with linear interpolation, in float64 from float32 values, as
    NumPy computes them. Nothing is searched per value: counts go through a histogram of each row, other values through
    a sort.

    Parameters
    ----------
    values
        Positive values, shape (n_values,), float32.
    offsets
        Row limits, shape (n_rows + 1,); rows may be empty.
    of
        Flat positions of the values whose limits are wanted; None = all.

    Returns
    -------
    ``below`` and ``up_to``, shape (n_values,) or (len(of),), int64, 0 <= below <= up_to <= 50.
    """
    lengths = np.diff(offsets)
    rows = np.flatnonzero(lengths)
    if not len(rows):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    start, last = offsets[:-1][rows], lengths[rows] - 1
    row_max = np.maximum.reduceat(values, start)
    # a histogram pays where its bins are not many more than the values
    if row_max.max() < 2**24 and row_max.sum() < 8 * len(values) + 4096:
        whole = values.astype(np.int32)
        if (whole.astype(np.float32) == values).all():
            return _limits_of_counts(whole, row_max.astype(np.int64), start, last, of)
    limits = _limits_of_any(values, offsets, start, last)
    return limits if of is None else (limits[0].take(of), limits[1].take(of))


def _edges(place: Callable[[np.ndarray], np.ndarray], start: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return edges and both neighbours' places, each (n_rows, 50); ``place`` gives the sorted value at flat places,
    float32.
    """
    position = np.linspace(0.0, 1.0, N_BINS - 1)[None, :] * last[:, None]
    floor = np.floor(position)
    t = position - floor
    left = start[:, None] + floor.astype(np.int64)
    right = np.minimum(left + 1, (start + last)[:, None])
    a, b = place(left), place(right)
    step = b - a
    return np.where(t < 0.5, a + step * t, b - step * (1 - t)), a, b, left, right


def _limits_of_counts(
    values: np.ndarray, row_max: np.ndarray, start: np.ndarray, last: np.ndarray, of: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Limits of whole numbers: edges are counted per possible value of a row, and looked up by value."""
    base = tokens.offsets_of(row_max + 2)
    bins, base = int(base[-1]), base[:-1]
    slot = np.repeat(base, last + 1)
    slot += values
    up_to_here = np.cumsum(np.bincount(slot, minlength=bins))

    def place(flat: np.ndarray) -> np.ndarray:
        return (np.searchsorted(up_to_here, flat, side="right") - base[:, None]).astype(np.float32)

    edges = _edges(place, start, last)[0]
    found = []
    for reached in (np.floor(edges) + 1, np.ceil(edges)):  # the first whole number above the edge; at or above it
        count = np.cumsum(np.bincount((reached.astype(np.int64) + base[:, None]).ravel(), minlength=bins))
        count -= np.repeat((N_BINS - 1) * np.arange(len(base)), row_max + 2)
        found.append(count)
    asked = slot if of is None else slot.take(of)
    return found[0].take(asked), found[1].take(asked)


def _limits_of_any(
    values: np.ndarray, offsets: np.ndarray, start: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Limits of any positive values: an edge lies between two neighbours of the sorted row, so runs of equal values
    tell its place.
    """
    order, ordered = _sort_rows(values, offsets)
    edges, a, b, left, right = _edges(lambda flat: ordered[flat], start, last)
    run_start, run_stop = _runs(ordered, start)
    at_right = edges == b
    on_value = at_right | (edges == a)
    anchor = np.where(at_right, right, left)
    # all edges of earlier rows lie at or before the first place of a row: they are taken off again
    earlier = np.repeat((N_BINS - 1) * np.arange(len(start)), last + 1)
    found = []
    for first in (run_stop, run_start):  # the first value above the edge; at or above it
        reached = np.where(on_value, first[anchor], left + 1)
        limits = np.empty(len(values), np.int64)
        limits[order] = np.cumsum(np.bincount(reached.ravel(), minlength=len(values) + 1)[:-1]) - earlier
        found.append(limits)
    return found[0], found[1]


def _sort_rows(values: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort each row ascending: flat order and sorted values. Positive float32 sort like their bits, so bits and place
    go into one key.
    """
    keys = values.view(np.uint32).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(len(values), dtype=np.uint64)
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        keys[begin:end].sort()
    order = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return order, (keys >> np.uint64(32)).astype(np.uint32).view(np.float32)


def _runs(ordered: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return start and end of the run of equal values that each place of the sorted rows belongs to."""
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    new[start] = True
    starts = np.flatnonzero(new)
    stops = np.append(starts[1:], len(ordered))
    run = np.cumsum(new) - 1
    return starts[run], stops[run]


def digits(below: np.ndarray, up_to: np.ndarray, draws: np.ndarray | None) -> np.ndarray:
    """Return the bin of every value, 1 to 50: the highest that its edges allow, or uniform over all that they allow.

    Parameters
    ----------
    below, up_to
        From :func:`bin_limits`.
    draws
        Uniform in [0, 1), shape (n_values,); None = the highest bin.
    """
    if draws is None:
        return up_to
    found = draws * (below - up_to)
    found += up_to
    return np.ceil(found, out=found).astype(np.int64)
