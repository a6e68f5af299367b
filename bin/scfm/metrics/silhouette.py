"""Silhouettes: of labels (biology), of isolated labels, and of batches inside labels (batch ASW)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import NotApplicable
from scfm.metrics.evaluated import Sample
from scfm.metrics.inputs import MetricInputs
from scfm.metrics.results import MetricResult, Score, mean_over_labels
from scfm.task.device import CPU

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

#: cells and others whose distances are computed at once: few enough for the processor's cache
_TILE = (512, 2048)
#: squared distances below this share of the squared norms are rounding of a zero
_ROUNDING = 1e-13


def distance_sums(
    values: "np.ndarray",
    codes: "np.ndarray",
    n_groups: int,
    rows: "np.ndarray | None" = None,
    *,
    device: str = CPU,
) -> "np.ndarray":
    """Sum cells' Euclidean distances to all cells of each group, in blocks.

    On the processor and with ``rows`` distances are of single precision, at most (n_dims + 2) * 1.2e-7 *
    (|x|^2 + |y|^2) off in a squared one (coordinates taken from their mean), and so are the sums of up to 2,048 of
    them: about 3e-7 of their value.

    Parameters
    ----------
    values
        Shape (n_cells, n_dims).
    codes
        Group of every cell, shape (n_cells,), 0 to ``n_groups - 1``, none empty.
    n_groups
        Number of groups.
    rows
        Positions of the cells to sum for, shape (n_rows,); all by default.
    device
        Where distances are computed (:mod:`scfm.task.device`).

    Returns
    -------
    Shape (n_rows, n_groups), float64. Memory: one copy of ``values`` and a tile.
    """
    import numpy as np

    if device != CPU:
        from scfm.metrics.silhouette_device import distance_sums_on

        return distance_sums_on(values, codes, n_groups, rows, rounding=_ROUNDING, device=device)
    n, d = values.shape
    exact = rows is None
    dtype = np.float64 if exact else np.float32
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(n_groups))
    place = np.argsort(order, kind="stable")
    asked = np.arange(n) if exact else place[rows]
    # with these two extra columns one product gives |x|^2 + |y|^2 - 2xy
    right = np.empty((n, d + 2), dtype=dtype)
    right[:, :d] = values[order]
    right[:, :d] -= right[:, :d].mean(axis=0, dtype=np.float64)
    # a power of two changes no digit; squares of single precision neither overflow nor vanish
    unit = float(2.0 ** np.frexp(np.abs(right[:, :d]).max(initial=0))[1])
    right[:, :d] /= unit
    norms = np.einsum("ij,ij->i", right[:, :d], right[:, :d])
    right[:, d], right[:, d + 1] = norms, 1.0
    rounding = _ROUNDING if exact else (d + 2) * np.finfo(np.float32).eps
    zero = rounding * norms
    sums = np.zeros((len(asked), n_groups))
    tile = np.empty(_TILE[0] * _TILE[1], dtype=dtype)  # one for all: new pages cost as much as the product
    for top in range(0, len(asked), _TILE[0]):
        own = asked[top : top + _TILE[0]]
        left = np.empty((len(own), d + 2), dtype=dtype)
        left[:, :d] = -2 * right[own, :d]
        left[:, d], left[:, d + 1] = 1.0, norms[own]
        for first in range(0, n, _TILE[1]):
            other = right[first : first + _TILE[1]]
            squared = np.matmul(left, other.T, out=tile[: len(own) * len(other)].reshape(len(own), len(other)))
            _drop_rounding(squared, zero[own], zero[first : first + _TILE[1]])
            np.sqrt(squared, out=squared)
            some = slice(
                int(np.searchsorted(starts, first, "right")) - 1, int(np.searchsorted(starts, first + len(other)))
            )
            within = np.maximum(starts[some] - first, 0)
            sums[top : top + len(own), some] += np.add.reduceat(squared, within, axis=1)
    sums *= unit
    return sums[place] if exact else sums


def _drop_rounding(squared: "np.ndarray", own: "np.ndarray", other: "np.ndarray") -> None:
    """Set squared distances to 0 that are no more than the rounding of both cells' norms, in place.

    Only rows with a distance below the rounding of the largest norm are looked at.
    """
    import numpy as np

    few = np.flatnonzero(squared.min(axis=1) < own + other.max())
    if len(few):
        part = squared[few]
        part[part < own[few, None] + other] = 0
        squared[few] = part


def silhouette_samples(
    values: "np.ndarray", codes: "np.ndarray", rows: "np.ndarray | None" = None, *, device: str = CPU
) -> "np.ndarray":
    """Silhouette of cells (Rousseeuw 1987, 10.1016/0377-0427(87)90125-7), Euclidean.

    (b - a) / max(a, b), a the mean distance to the own group's other cells, b the smallest mean distance to another
    group; 0 in a group of one cell and where a = b = 0.

    Parameters
    ----------
    values
        Shape (n_cells, n_dims).
    codes
        Group of every cell, 0 to at least 1, none empty.
    rows
        Positions of the cells to evaluate, shape (n_rows,); all by default.
    device
        Where distances are computed.

    Returns
    -------
    Shape (n_rows,), -1 to 1.
    """
    import numpy as np

    sizes = np.bincount(codes)
    sums = distance_sums(values, codes, len(sizes), rows, device=device)
    codes = codes if rows is None else codes[rows]
    own = (np.arange(len(codes)), codes)
    within = sums[own] / np.maximum(sizes[codes] - 1, 1)
    means = sums / sizes
    means[own] = np.inf
    between = means.min(axis=1)
    larger = np.maximum(within, between)
    score = np.divide(between - within, larger, out=np.zeros(len(codes)), where=larger > 0)
    score[sizes[codes] == 1] = 0.0
    return score


def _of_labels(data: MetricInputs) -> "np.ndarray":
    """Return the silhouettes of the labels of the evaluated cells scaled to 0-1, NaN for the others; computed once."""
    import numpy as np

    data.need_labels()
    values, sample = data.values(), data.sample

    def compute() -> "np.ndarray":
        every = np.arange(data.n_cells) if data.is_light else None  # of single precision
        rows = sample.rows if sample else every
        found = (silhouette_samples(values, data.labels.codes, rows, device=data.device) + 1) / 2
        return sample.spread_out(found) if sample else found

    return data.keep("silhouette", compute, of=("labels",))


def silhouette_label(data: MetricInputs) -> MetricResult:
    """(mean silhouette of the labels + 1) / 2; 0 to 1, higher is better."""
    import numpy as np

    scaled = _of_labels(data)
    alone = (data.labels.sizes == 1)[data.labels.codes]  # their silhouette is 0 by definition
    return MetricResult(
        data.summarize(scaled, sample=data.sample),
        data.per_label(np.where(alone, np.nan, scaled), "mean", "too_few_cells", data.sample),
    )


def isolated_labels(data: MetricInputs) -> MetricResult:
    """Mean scaled silhouette of the labels found in the fewest batches; 0 to 1, higher is better.

    Labels of a single cell do not count: their silhouette is 0 by definition. Where every label is in every batch all
    of them are "isolated", as in scib-metrics.
    """
    scaled = _of_labels(data)
    present = (data.batches_per_label > 0).sum(axis=1)
    several = data.labels.sizes > 1
    if not several.any():
        raise NotApplicable("Every label has a single cell.", "too_few_cells")
    isolated = several & (present == present[several].min())
    known = data.per_label(scaled, sample=data.sample)
    parts = {name: known[name] for code, name in enumerate(data.labels.names) if isolated[code]}
    return mean_over_labels(parts, "Isolated labels")


def batches_inside(data: MetricInputs, label: int) -> "tuple[np.ndarray, np.ndarray]":
    """Return the cells of a label and their batch codes (0 to number of the label's batches - 1).

    Raises
    ------
    NotApplicable
        ``label_in_one_batch``; ``too_few_cells`` where every cell is a batch of its own.
    """
    import numpy as np

    cells = np.flatnonzero(data.labels.codes == label)
    names, codes = np.unique(data.batches.codes[cells], return_inverse=True)
    if len(names) < 2:
        raise NotApplicable("The label occurs in one batch only.", "label_in_one_batch")
    if len(names) == len(cells):
        raise NotApplicable("Every cell of the label is of another batch.", "too_few_cells")
    return cells, codes.ravel()


def mixing_inside_labels(
    data: MetricInputs,
    what: str,
    measure: "Callable[[np.ndarray, np.ndarray, np.ndarray | None], np.ndarray]",
    sample: Sample | None = None,
) -> MetricResult:
    """Average a measure of mixing over the cells of every label, then over labels.

    Parameters
    ----------
    what
        Name of the metric, for sentences.
    measure
        From coordinates, shape (n, n_dims), and batch codes, shape (n,), of a label's cells, and positions among them
        to evaluate (None for all), to a value per evaluated cell.
    sample
        Cells to evaluate; None for all.
    """
    import numpy as np

    data.need_batches()
    values = data.values()
    parts = {}
    for code, name in enumerate(data.labels.names):
        try:
            cells, batches = batches_inside(data, code)
        except NotApplicable as error:
            parts[name] = Score(None, int(data.labels.sizes[code]), error.code)
            continue
        rows = None if sample is None else np.flatnonzero(np.isin(cells, sample.rows, assume_unique=True))
        found = measure(values[cells], batches, rows)
        if sample is None:
            parts[name] = Score(float(found.mean()), len(cells))
        else:
            per_cell = np.full(data.n_cells, np.nan)
            per_cell[cells[rows]] = found
            value, stderr = sample.mean(per_cell, code)
            parts[name] = Score(value, len(found), stderr=stderr)
    return mean_over_labels(parts, what)


def batch_asw(data: MetricInputs) -> MetricResult:
    """Mean over labels of 1 - |silhouette of the batches inside the label|; 0 to 1, higher is better."""
    return mixing_inside_labels(
        data,
        "Batch ASW",
        lambda values, batches, rows: 1 - abs(silhouette_samples(values, batches, rows, device=data.device)),
        data.sample,
    )
