"""Silhouettes: of labels (biology), of isolated labels, and of batches inside labels (batch ASW)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import NotApplicable
from scfm.metrics.inputs import MetricInputs, MetricResult, Score, mean_over_labels

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

#: largest block of distances, in bytes; two of them are alive at a time
_BLOCK_BYTES = 32 * 2**20
#: squared distances below this share of the squared norms are rounding of a zero
_ROUNDING = 1e-13


def distance_sums(values: "np.ndarray", codes: "np.ndarray", n_groups: int) -> "np.ndarray":
    """Sum every cell's Euclidean distances to all cells of each group, in blocks.

    Parameters
    ----------
    values
        Shape (n_cells, n_dims).
    codes
        Group of every cell, shape (n_cells,), 0 to ``n_groups - 1``, none empty.
    n_groups
        Number of groups.

    Returns
    -------
    Shape (n_cells, n_groups), float64. Memory: one copy of ``values`` in double precision and a block.
    """
    import numpy as np

    n, d = values.shape
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(n_groups))
    # with these two extra columns one product gives |x|^2 + |y|^2 - 2xy
    right = np.empty((n, d + 2))
    right[:, :d] = values[order]
    right[:, :d] -= right[:, :d].mean(axis=0)
    norms = np.einsum("ij,ij->i", right[:, :d], right[:, :d])
    right[:, d], right[:, d + 1] = norms, 1.0
    zero = _ROUNDING * (norms + norms.max())
    sums = np.empty((n, n_groups))
    step = max(1, _BLOCK_BYTES // (8 * n))
    for start in range(0, n, step):
        rows = slice(start, min(n, start + step))
        left = np.empty((rows.stop - start, d + 2))
        left[:, :d] = -2 * right[rows, :d]
        left[:, d], left[:, d + 1] = 1.0, norms[rows]
        squared = left @ right.T
        squared[squared < zero[rows, None]] = 0
        sums[order[rows]] = np.add.reduceat(np.sqrt(squared, out=squared), starts, axis=1)
    return sums


def silhouette_samples(values: "np.ndarray", codes: "np.ndarray") -> "np.ndarray":
    """Silhouette of every cell (Rousseeuw 1987, 10.1016/0377-0427(87)90125-7), Euclidean.

    (b - a) / max(a, b), a the mean distance to the own group's other cells, b the smallest mean distance to another
    group; 0 in a group of one cell and where a = b = 0.

    Parameters
    ----------
    values
        Shape (n_cells, n_dims).
    codes
        Group of every cell, 0 to at least 1, none empty.

    Returns
    -------
    Shape (n_cells,), -1 to 1.
    """
    import numpy as np

    sizes = np.bincount(codes)
    sums = distance_sums(values, codes, len(sizes))
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
    """Return the silhouettes of the labels scaled to 0-1, computed once."""
    data.need_labels()
    values = data.values()
    return data.keep("silhouette", lambda: (silhouette_samples(values, data.labels.codes) + 1) / 2, of=("labels",))


def silhouette_label(data: MetricInputs) -> MetricResult:
    """(mean silhouette of the labels + 1) / 2; 0 to 1, higher is better."""
    import numpy as np

    scaled = _of_labels(data)
    alone = (data.labels.sizes == 1)[data.labels.codes]  # their silhouette is 0 by definition
    return MetricResult(
        Score(float(scaled.mean()), data.n_cells),
        data.per_label(np.where(alone, np.nan, scaled), np.mean, "too_few_cells"),
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
    parts = {
        name: Score(float(scaled[data.labels.codes == code].mean()), int(data.labels.sizes[code]))
        for code, name in enumerate(data.labels.names)
        if several[code] and present[code] == present[several].min()
    }
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
    measure: "Callable[[np.ndarray, np.ndarray], np.ndarray]",
) -> MetricResult:
    """Average a measure of mixing over the cells of every label, then over labels.

    Parameters
    ----------
    what
        Name of the metric, for sentences.
    measure
        From coordinates, shape (n, n_dims), and batch codes, shape (n,), of a label's cells to a value per cell.
    """
    data.need_batches()
    values = data.values()
    parts = {}
    for code, name in enumerate(data.labels.names):
        try:
            cells, batches = batches_inside(data, code)
        except NotApplicable as error:
            parts[name] = Score(None, int(data.labels.sizes[code]), error.code)
            continue
        parts[name] = Score(float(measure(values[cells], batches).mean()), len(cells))
    return mean_over_labels(parts, what)


def batch_asw(data: MetricInputs) -> MetricResult:
    """Mean over labels of 1 - |silhouette of the batches inside the label|; 0 to 1, higher is better."""
    return mixing_inside_labels(data, "Batch ASW", lambda values, batches: 1 - abs(silhouette_samples(values, batches)))
