"""Principal component regression: the share of variance that batch explains, before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import NotApplicable
from scfm.metrics.inputs import MetricInputs
from scfm.metrics.results import MetricResult, Score

if TYPE_CHECKING:
    import numpy as np

#: a total variance below this share of the mean square is rounding of a constant
_ROUNDING = 1e-12
#: share of groups drawn at random that explain more than the limit of chance_level
ALPHA = 0.05


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


def chance_level(values: "np.ndarray", codes: "np.ndarray", alpha: float = ALPHA) -> tuple[float, float]:
    """Explained variance that groups drawn at random give: its mean and its upper limit.

    The mean is (groups - 1) / (cells - 1) whatever the data. Around it the share is a sum of chi-square variables
    weighted by the variances of the components, taken as one scaled chi-square variable of the same mean and variance
    (Box 1954, 10.1214/aoms/1177728786).

    Parameters
    ----------
    values
        Shape (n_cells, n_dims), not constant.
    codes
        Group of every cell, shape (n_cells,), none empty.
    alpha
        Share of random draws above the limit.

    Returns
    -------
    Mean and limit, both 0 to 1.
    """
    import numpy as np
    from scipy.special import gammaincinv

    centred = np.array(values, dtype=np.float64)
    centred -= centred.mean(axis=0)
    between = len(np.bincount(codes)) - 1
    mean = between / (len(codes) - 1)
    total = float(np.einsum("ij,ij->", centred, centred))
    degrees = between * total**2 / float(np.square(centred.T @ centred).sum())
    limit = 2 * float(gammaincinv(degrees / 2, 1 - alpha))  # quantile of chi-square; scipy.stats takes long to import
    return mean, min(1.0, mean * limit / degrees)


def pcr_comparison(data: MetricInputs) -> MetricResult:
    """max(0, (before - after) / before) of the variance explained by batch (Büttner et al. 2019); 0 to 1, higher is
    better.

    Where the batches explain no more of the uncorrected PCA than groups drawn at random would (:func:`chance_level`)
    there is nothing to remove and no value (``no_batch_effect``).
    """
    data.need_batches()
    values = data.values()
    before = explained_variance(data.uncorrected(), data.batches.codes)
    after = explained_variance(values, data.batches.codes)
    mean, limit = chance_level(data.uncorrected(), data.batches.codes)
    if before <= limit:
        raise NotApplicable(
            f"Batch explains {before:.2g} of the variance before correction, as groups drawn at random do"
            f" (mean {mean:.2g}, 95 % below {limit:.2g}).",
            "no_batch_effect",
        )
    return MetricResult(Score(max(0.0, (before - after) / before), data.n_cells))
