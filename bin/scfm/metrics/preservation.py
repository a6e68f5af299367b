"""Neighbourhood preservation: does a cell keep, inside its batch, the neighbours it had before correction?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import NotApplicable
from scfm.metrics.inputs import MetricInputs
from scfm.metrics.results import MetricResult, Score
from scfm.neighbors.search import find_neighbors

if TYPE_CHECKING:
    import numpy as np

#: neighbours, self not counted
K = 15


def jaccard(first: "np.ndarray", second: "np.ndarray") -> "np.ndarray":
    """Shared over distinct members of two sets of neighbours per cell.

    Parameters
    ----------
    first, second
        Different integers in every row, shape (n_cells, k).

    Returns
    -------
    Shape (n_cells,), 0 to 1.
    """
    import numpy as np

    k = first.shape[1]
    both = np.sort(np.concatenate([first, second], axis=1), axis=1)
    shared = (both[:, 1:] == both[:, :-1]).sum(axis=1)
    return shared / (2 * k - shared)


def neighborhood_preservation(data: MetricInputs) -> MetricResult:
    """Mean Jaccard index of the 15 nearest cells of the same batch in the PCA and in the embedding; 0 to 1, higher is
    better.

    Batches of 30 cells or fewer are left out: with so few, any two sets of 15 overlap.
    """
    import numpy as np

    values, before = data.values(), data.uncorrected()
    per_cell = np.full(data.n_cells, np.nan)
    for batch in range(len(data.batches.names)):
        cells = np.flatnonzero(data.batches.codes == batch)
        if len(cells) <= 2 * K:
            continue
        ids = data.cell_ids[cells]
        near = [find_neighbors(x[cells], ids, k=K + 1, device=data.device).indices[:, 1:] for x in (before, values)]
        per_cell[cells] = jaccard(*near)
    known = np.isfinite(per_cell)
    if not known.any():
        raise NotApplicable(f"No batch has more than {2 * K} cells.", "too_few_cells")
    parts = data.per_label(per_cell)
    parts = {name: s if s.value is not None else Score(None, 0, "too_few_cells") for name, s in parts.items()}
    return MetricResult(data.summarize(per_cell), parts)
