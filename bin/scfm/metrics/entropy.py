"""Batch entropy of neighbourhoods, relative to the batches that the cell's label has at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import NotApplicable
from scfm.metrics.inputs import MetricInputs
from scfm.metrics.power import MIN_NEIGHBORHOODS, can_tell, separated_shares
from scfm.metrics.results import MetricResult

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

#: neighbours at most, self not counted
K = 50
#: neighbours at least; the entropy of fewer is mostly chance
MIN_K = 10
#: cells added to every batch of a label, so that a batch the label lacks has a small share instead of none
PSEUDOCOUNT = 0.5


def batch_shares(indices: "np.ndarray", codes: "np.ndarray", n_batches: int) -> "np.ndarray":
    """Share of every batch among a cell's neighbours, shape (n_cells, n_batches)."""
    import numpy as np

    near = codes[indices]
    return np.stack([(near == b).mean(axis=1) for b in range(n_batches)], axis=1)


def neighborhood_size(sizes: "np.ndarray", n_known: int = K) -> int:
    """Return how many neighbours are read in a label: 50, fewer in a label of fewer than 150 cells, 0 without power.

    Parameters
    ----------
    sizes
        Cells of every batch of the label, shape (n_batches,).
    n_known
        Neighbours that were searched, self not counted.
    """
    sizes = sizes[sizes > 0]
    k = min(K, n_known, int(sizes.sum()) // MIN_NEIGHBORHOODS)
    if k < MIN_K or len(sizes) < 2:
        return 0
    highest = shannon((sizes / sizes.sum())[None])
    separated = shannon(separated_shares(sizes, k, counts_itself=False)) / highest
    return k if can_tell(sizes, separated, 1.0) else 0


def _shares_by_label(data: MetricInputs) -> "np.ndarray":
    """Return the shares of batches in every cell's neighbourhood; NaN in labels without power or of a single batch."""
    import numpy as np

    near = data.nearest(K + 1, at_least=3).indices[:, 1:]
    shares = np.full((data.n_cells, len(data.batches.names)), np.nan)
    for code, sizes in enumerate(data.batches_per_label):
        cells = np.flatnonzero(data.labels.codes == code)
        k = neighborhood_size(sizes, near.shape[1])
        if k:
            shares[cells] = batch_shares(near[cells, :k], data.batches.codes, len(data.batches.names))
    return shares


def shannon(shares: "np.ndarray") -> "np.ndarray":
    """Entropy of rows in nats."""
    import numpy as np

    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1)


def composition_aware_entropy(shares: "np.ndarray", labels: "np.ndarray", counts: "np.ndarray") -> "np.ndarray":
    """Entropy of a cell's neighbourhood over the entropy of its label's batches, at most 1 (Haghverdi et al. 2018,
    adapted).

    Parameters
    ----------
    shares
        Shape (n_cells, n_batches).
    labels
        Label of every cell, shape (n_cells,).
    counts
        Cells of every batch in every label, shape (n_labels, n_batches).

    Returns
    -------
    Shape (n_cells,), 0 to 1; NaN in labels of a single batch.
    """
    import numpy as np

    highest = shannon(counts / counts.sum(axis=1, keepdims=True))[labels]
    ratio = np.divide(shannon(shares), highest, out=np.full(len(labels), np.nan), where=highest > 0)
    return np.minimum(ratio, 1.0)


def divergence(shares: "np.ndarray", labels: "np.ndarray", counts: "np.ndarray") -> "np.ndarray":
    """Kullback-Leibler divergence, in nats, of a neighbourhood's batches from those of the cell's label.

    Returns
    -------
    Shape (n_cells,), 0 or more, lower is better mixed; NaN in labels of a single batch.
    """
    import numpy as np

    smoothed = counts + PSEUDOCOUNT
    reference = (smoothed / smoothed.sum(axis=1, keepdims=True))[labels]
    result = (shares * np.log(np.where(shares > 0, shares, 1) / reference)).sum(axis=1)
    result[(counts > 0).sum(axis=1)[labels] < 2] = np.nan
    return np.maximum(result, 0)


def _mean_by_cell(data: MetricInputs, measure: "Callable[..., np.ndarray]") -> MetricResult:
    """Average a measure of neighbourhoods over the cells of labels that have two batches and enough cells."""
    import numpy as np

    data.need_batches()
    shares = data.keep("batch_shares", lambda: _shares_by_label(data))
    per_cell = measure(shares, data.labels.codes, data.batches_per_label)
    known = np.isfinite(per_cell)
    if not known.any():
        reasons = sorted({data.why_without(code) for code in range(len(data.labels.names))})
        raise NotApplicable("No label has two batches and enough cells.", reasons[0])
    return MetricResult(data.summarize(per_cell), data.per_label(per_cell))


def batch_entropy(data: MetricInputs) -> MetricResult:
    """Composition-aware entropy of the nearest cells' batches (50; a third of a small label), mean over cells; 0 to 1,
    higher is better mixing.
    """
    return _mean_by_cell(data, composition_aware_entropy)


def batch_kl(data: MetricInputs) -> MetricResult:
    """Divergence of the nearest cells' batches (50; a third of a small label) from the label's, mean over cells; 0 or
    more, lower is better mixing.
    """
    return _mean_by_cell(data, divergence)
