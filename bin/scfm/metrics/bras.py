"""BRAS: a silhouette of batches inside each label that is not fooled by nested batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.metrics.inputs import MetricInputs
from scfm.metrics.results import MetricResult
from scfm.metrics.silhouette import mixing_inside_labels

if TYPE_CHECKING:
    import numpy as np


def unit_rows(values: "np.ndarray") -> "np.ndarray":
    """Scale every row to length 1; a row of zeros stays zero, so that its cosine distance to all others is 1."""
    import numpy as np

    values = np.asarray(values, dtype=np.float64)
    length = np.sqrt(np.einsum("ij,ij->i", values, values))
    return values / np.where(length > 0, length, 1)[:, None]


def cosine_mixing(units: "np.ndarray", codes: "np.ndarray") -> "np.ndarray":
    """1 - |s| of every cell, s its silhouette by batch with cosine distance and "between" = all cells of other batches.

    The mean cosine distance to a set of unit vectors is 1 minus the product with their mean, so no distance between
    two cells is computed: the cost is linear in the number of cells.

    Parameters
    ----------
    units
        Rows of length 1 (or 0), shape (n_cells, n_dims).
    codes
        Batch of every cell, 0 to at least 1, none empty.

    Returns
    -------
    Shape (n_cells,), 0 (batches apart) to 1 (mixed); 1 for the only cell of a batch, as its silhouette is 0.
    """
    import numpy as np

    sizes = np.bincount(codes)
    sums = np.zeros((len(sizes), units.shape[1]))
    np.add.at(sums, codes, units)
    similar = units @ sums.T
    own = similar[np.arange(len(codes)), codes]
    itself = np.einsum("ij,ij->i", units, units)
    others = sizes[codes] - 1
    within = np.where(others > 0, 1 - (own - itself) / np.maximum(others, 1), 0.0)
    between = 1 - (similar.sum(axis=1) - own) / (len(codes) - sizes[codes])
    within, between = np.maximum(within, 0), np.maximum(between, 0)
    larger = np.maximum(within, between)
    score = np.divide(between - within, larger, out=np.zeros(len(codes)), where=larger > 1e-12)
    score[others == 0] = 0.0
    return 1 - np.abs(score)


def bras(data: MetricInputs) -> MetricResult:
    """BRAS (Rautenstrauch & Ohler 2025, 10.1038/s41587-025-02743-4): mean over labels; 0 to 1, higher is better."""
    return mixing_inside_labels(data, "BRAS", lambda values, batches, _rows: cosine_mixing(unit_rows(values), batches))
