"""Local inverse Simpson index: how many batches (iLISI, CiLISI) or labels (cLISI) a neighbourhood effectively holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scfm.errors import NotApplicable
from scfm.metrics.inputs import MetricInputs
from scfm.metrics.power import MIN_NEIGHBORHOODS, can_tell, separated_shares
from scfm.metrics.results import MetricResult, Score
from scfm.metrics.silhouette import batches_inside

if TYPE_CHECKING:
    import numpy as np

K = 90
#: neighbours, self counted, below which a perplexity of a third of them says nothing
MIN_K = 7
_TOLERANCE = 1e-5
_ROUNDS = 50


def neighbor_weights(distances: "np.ndarray", is_self: "np.ndarray", perplexity: float) -> "np.ndarray":
    """Weights exp(-beta * d) of the neighbours, beta such that their entropy is log(perplexity); rows sum to 1.

    Bisection on beta for all cells at once, doubling or halving until bracketed, 50 rounds at most (where all distances
    are equal no beta fits, and the weights are equal). Distances are taken from the nearest neighbour's, which changes
    no weight: of a cell far from all others every exp(-beta * d) would vanish.

    Parameters
    ----------
    distances
        Shape (n_cells, k).
    is_self
        Where the neighbour is the cell itself: weight 0. Shape (n_cells, k).
    perplexity
        Effective number of neighbours.
    """
    import numpy as np

    distances = np.where(is_self, np.inf, np.asarray(distances, dtype=np.float64))
    nearest = distances.min(axis=1, keepdims=True)
    distances -= np.where(np.isfinite(nearest), nearest, 0)
    n = len(distances)
    beta, low, high = np.ones(n), np.full(n, -np.inf), np.full(n, np.inf)
    weights = np.zeros_like(distances)
    active = np.arange(n)
    for step in range(_ROUNDS + 1):
        entropy, weights[active] = _entropy(distances[active], beta[active])
        excess = entropy - np.log(perplexity)
        open_ = np.abs(excess) >= _TOLERANCE
        active, above = active[open_], excess[open_] > 0
        if not len(active) or step == _ROUNDS:
            break
        low[active[above]] = beta[active[above]]
        high[active[~above]] = beta[active[~above]]
        up, down = high[active] == np.inf, low[active] == -np.inf
        with np.errstate(invalid="ignore"):
            middle = (low[active] + high[active]) / 2
        beta[active] = np.where(up, beta[active] * 2, np.where(down, beta[active] / 2, middle))
    return weights


def _entropy(distances: "np.ndarray", beta: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Entropy (nats) and normalised weights of rows; a row whose weights all vanish has entropy 0 and weights 0."""
    import numpy as np

    scaled = distances * beta[:, None]
    weights = np.exp(-scaled)
    total = weights.sum(axis=1)
    safe = np.where(total > 0, total, 1)
    scaled[~np.isfinite(scaled)] = 0
    entropy = np.where(total > 0, np.log(safe) + np.einsum("ij,ij->i", scaled, weights) / safe, 0.0)
    weights /= safe[:, None]
    return entropy, weights


def inverse_simpson(weights: "np.ndarray", indices: "np.ndarray", codes: "np.ndarray") -> "np.ndarray":
    """1 / sum over groups of the squared share of weight; NaN in a row without weight.

    Parameters
    ----------
    weights, indices
        Weights of the neighbours and their rows, shape (n_cells, k).
    codes
        Group of every cell, shape (n_cells,).

    Returns
    -------
    Shape (n_cells,), 1 to number of groups.
    """
    import numpy as np

    groups = codes[indices]
    simpson = np.zeros(len(weights))
    for group in range(int(codes.max()) + 1):
        simpson += np.where(groups == group, weights, 0).sum(axis=1) ** 2
    return np.divide(1, simpson, out=np.full(len(weights), np.nan), where=simpson > 0)


def lisi(
    indices: "np.ndarray", distances: "np.ndarray", codes: "np.ndarray", perplexity: float | None = None
) -> "np.ndarray":
    """LISI of every cell (Korsunsky et al. 2019, 10.1038/s41592-019-0619-0).

    Parameters
    ----------
    indices, distances
        Neighbours, shape (n_cells, k), self among them.
    codes
        Group of every cell, shape (n_cells,).
    perplexity
        A third of k, rounded down, by default.
    """
    import numpy as np

    weights = neighbor_weights(
        distances, indices == np.arange(len(indices))[:, None], perplexity or indices.shape[1] // 3
    )
    return inverse_simpson(weights, indices, codes)


def has_power(sizes: "np.ndarray", perplexity: int) -> bool:
    """Return whether LISI tells separated batches from mixed ones in a label of at least three neighbourhoods.

    Parameters
    ----------
    sizes
        Cells of every batch of the label, all positive, at least two, shape (n_batches,).
    perplexity
        Effective number of neighbours, self not counted.
    """
    import numpy as np

    if sizes.sum() < MIN_NEIGHBORHOODS * perplexity:
        return False
    separated = 1 / np.square(separated_shares(sizes, perplexity, counts_itself=False)).sum(axis=1)
    mixed = 1 / np.square(sizes / sizes.sum()).sum()
    return can_tell(sizes, separated - 1, mixed - 1)


def _shared_weights(data: MetricInputs) -> "tuple[np.ndarray, np.ndarray]":
    """Return neighbours and weights at k = 90 of the evaluated cells, computed once for batches and labels."""
    import numpy as np

    near, sample = data.nearest(K, at_least=MIN_K), data.sample
    rows = np.arange(data.n_cells) if sample is None else sample.rows
    indices = near.indices[rows]
    return indices, data.keep(
        "lisi",
        lambda: neighbor_weights(near.distances[rows], indices == rows[:, None], near.k // 3),
        of=("labels",) if sample else (),
    )


def _per_cell(data: MetricInputs, codes: "np.ndarray") -> "np.ndarray":
    """Return the LISI of every evaluated cell, NaN for the others, shape (n_cells,)."""
    indices, weights = _shared_weights(data)
    values = inverse_simpson(weights, indices, codes)
    return values if data.sample is None else data.sample.spread_out(values)


def _median(data: MetricInputs, per_cell: "np.ndarray") -> Score:
    """Return the median over all cells."""
    found = data.summarize(per_cell, "median", data.sample)
    return found if data.sample else replace(found, n_cells=data.n_cells)


def ilisi(data: MetricInputs) -> MetricResult:
    """(median LISI of batches - 1) / (number of batches - 1); 0 to 1, higher is better mixing.

    The value over all cells is a median over cells; labels without power have no value of their own.
    """

    data.need_batches()
    sample = data.sample
    per_cell = (_per_cell(data, data.batches.codes) - 1) / (len(data.batches.names) - 1)
    parts = data.per_label(per_cell, "median", sample=sample)
    for name, row in zip(data.labels.names, data.batches_per_label, strict=True):
        sizes = row[row > 0]
        if len(sizes) > 1 and not has_power(sizes, data.nearest(K).k // 3):
            parts[name] = Score(None, int(sizes.sum()), "too_few_cells")
    return MetricResult(_median(data, per_cell), parts)


def clisi(data: MetricInputs) -> MetricResult:
    """(labels - median LISI of labels) / (labels - 1); 0 to 1, higher is better kept."""
    data.need_labels()
    n_labels = len(data.labels.names)
    per_cell = (n_labels - _per_cell(data, data.labels.codes)) / (n_labels - 1)
    return MetricResult(_median(data, per_cell), data.per_label(per_cell, "median", sample=data.sample))


def cilisi(data: MetricInputs) -> MetricResult:
    """CiLISI (Andreatta et al. 2024, 10.1038/s41467-024-45240-z): LISI of batches inside each label; mean over cells.

    Neighbours are searched among the label's cells, k = min(90, cells), perplexity a third of it; (LISI - 1) / (the
    label's batches - 1). 0 to 1, higher is better mixing.
    """
    import numpy as np

    from scfm.neighbors.search import find_neighbors

    data.need_batches()
    values = data.values()
    parts, sums, count = {}, 0.0, 0
    for code, name in enumerate(data.labels.names):
        size = int(data.labels.sizes[code])
        try:
            cells, batches = batches_inside(data, code)
        except NotApplicable as error:
            parts[name] = Score(None, size, error.code)
            continue
        if size < MIN_K or not has_power(np.bincount(batches), min(K, size) // 3):
            parts[name] = Score(None, size, "too_few_cells")
            continue
        near = find_neighbors(values[cells], data.cell_ids[cells], k=K, device=data.device)
        score = (lisi(near.indices, near.distances, batches) - 1) / int(batches.max())
        parts[name] = Score(float(np.nanmean(score)), size)
        sums, count = sums + float(np.nansum(score)), count + size
    if not count:
        raise NotApplicable("No label has two batches and enough cells.", sorted({p.reason for p in parts.values()})[0])
    return MetricResult(Score(sums / count, count), parts)
