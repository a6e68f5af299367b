"""Principal component regression: the share of variance that batch explains, before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import NotApplicable
from scfm.metrics.inputs import MetricInputs, MetricResult, Score

if TYPE_CHECKING:
    import numpy as np

#: a total variance below this share of the mean square is rounding of a constant
_ROUNDING = 1e-12


def explained_variance(values: "np.ndarray", codes: "np.ndarray") -> float:
    """Share of the total variance that lies between groups; 0 to 1.

    Regressing every principal component on the one-hot groups and weighting R2 by the component's variance gives,
    over all components, the between-group sum of squares over the total one, whatever the axes: no PCA is needed.

    Parameters
    ----------
    values
        Shape (n_cells, n_dims).
    codes
        Group of every cell, shape (n_cells,), none empty.

    Raises
    ------
    NotApplicable
        All cells lie in one place (``constant``).
    """
    import numpy as np

    values = np.array(values, dtype=np.float64)
    size = float(np.einsum("ij,ij->", values, values))
    values -= values.mean(axis=0)
    total = float(np.einsum("ij,ij->", values, values))
    if total <= _ROUNDING * size:
        raise NotApplicable("All cells have the same coordinates: there is no variance to explain.", "constant")
    counts = np.bincount(codes)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, codes, values)
    return float((sums**2 / counts[:, None]).sum() / total)


def pcr_comparison(data: MetricInputs) -> MetricResult:
    """max(0, (before - after) / before) of the variance explained by batch (Büttner et al. 2019); 0 to 1, higher is
    better.
    """
    data.need_batches()
    values = data.values()
    before = explained_variance(data.uncorrected(), data.batches.codes)
    after = explained_variance(values, data.batches.codes)
    if before <= 0:
        raise NotApplicable("Batch explains no variance before correction.", "no_batch_effect")
    return MetricResult(Score(max(0.0, (before - after) / before), data.n_cells))
