"""Parts of the corrections: batch centring, unit length, removal of a component, as pure functions on arrays.

All work in float64. The functions take batches and labels as arrays of the same length as the rows of the embedding;
the order of rows matters to :func:`center` alone, and only for batches above the cap (see there).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import ScfmError

if TYPE_CHECKING:
    import numpy as np


def center(values: "np.ndarray", batches: "np.ndarray", *, max_cells: int = 10_000, seed: int = 42) -> "np.ndarray":
    """Subtract from every cell the mean of its batch.

    The mean is taken over at most ``max_cells`` cells. As in the study this follows, the sample is drawn without
    replacement by NumPy's legacy generator, started anew with ``seed`` for every batch; it picks positions in the batch
    in the order of the rows given, so callers hand rows over in the order of ``<dataset>.obs.parquet``.

    Parameters
    ----------
    values
        Embedding, shape (n_cells, n_dims).
    batches
        Batch of every cell, shape (n_cells,).
    max_cells
        Cells of a batch that the mean is taken over.
    seed
        Seed of the sample.

    Returns
    -------
    Shape (n_cells, n_dims), float64.

    Raises
    ------
    ScfmError
        ``max_cells`` is below one.
    """
    import numpy as np

    if max_cells is None or max_cells < 1:
        raise ScfmError(f"center_max_cells is {max_cells}; a batch mean needs one cell at least.")
    result = np.array(values, dtype=np.float64)
    for batch in sorted(set(batches.tolist())):
        rows = np.flatnonzero(batches == batch)
        sample = rows
        if len(rows) > max_cells:
            sample = np.random.RandomState(seed).choice(rows, max_cells, replace=False)
        result[rows] -= result[sample].mean(axis=0)
    return result


def center_label_balanced(values: "np.ndarray", batches: "np.ndarray", labels: "np.ndarray") -> "np.ndarray":
    """Subtract from every cell the unweighted mean of its batch's label means.

    So a batch rich in one label is not pushed towards it. It uses the labels: label metrics of the result are not
    independent of them. Unlabelled cells are moved with their batch but have no part in the means; a batch without any
    labelled cell is centred by its plain mean.

    Parameters
    ----------
    values
        Embedding, shape (n_cells, n_dims).
    batches
        Batch of every cell, shape (n_cells,).
    labels
        Label of every cell, shape (n_cells,); None where it has none.

    Returns
    -------
    Shape (n_cells, n_dims), float64.
    """
    import numpy as np

    result = np.array(values, dtype=np.float64)
    labelled = np.array([label is not None for label in labels])
    for batch in sorted(set(batches.tolist())):
        in_batch = batches == batch
        names = sorted(set(labels[in_batch & labelled].tolist()))
        means = [result[in_batch & (labels == name)].mean(axis=0) for name in names] or [result[in_batch].mean(axis=0)]
        result[in_batch] -= np.mean(means, axis=0)
    return result


def l2_normalize(values: "np.ndarray") -> "np.ndarray":
    """Scale every row to Euclidean length 1; rows of zeros stay zero. Shape kept, float64."""
    import numpy as np

    result = np.array(values, dtype=np.float64)
    norms = np.linalg.norm(result, axis=1, keepdims=True)
    return np.divide(result, norms, out=result, where=norms > 0)


def drop_first_component(values: "np.ndarray") -> "np.ndarray":
    """Remove the direction of largest variance: E - (E v) v', v the first principal axis of the embedding.

    v is found on the centred embedding; the projection is taken of the embedding as it is, so the result has no
    coordinate left along v. No batch or label is used.

    Parameters
    ----------
    values
        Embedding, shape (n_cells, n_dims).

    Returns
    -------
    Shape (n_cells, n_dims), float64, of rank n_dims - 1 at most.
    """
    import numpy as np
    from scipy.linalg import eigh

    result = np.array(values, dtype=np.float64)
    shifted = result - result.mean(axis=0)
    last = result.shape[1] - 1
    _, axes = eigh(shifted.T @ shifted, subset_by_index=[last, last])
    axis = axes[:, 0]
    return result - np.outer(result @ axis, axis)
