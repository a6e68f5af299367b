"""Ways to place new cells among those of a reference. None of them moves a cell of the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.corrections.core import center
from scfm.integration.harmony_reference import unit_rows

if TYPE_CHECKING:
    import numpy as np

    from scfm.integration.harmony_reference import HarmonyReference
    from scfm.query.reading import Query
    from scfm.query.reference import ReferenceGenes

#: ridge penalty of a batch's shift in a cluster, as Harmony's lambda
RIDGE = 1.0


def project(query: "Query", genes: "ReferenceGenes") -> "np.ndarray":
    """Return the query on the reference's principal components, shape (n_cells, n_pcs), float64.

    A gene that the query lacks is taken to be at the reference's mean, so that it moves no cell.
    """
    found = query.found
    loadings = genes.loadings[found]
    projected: np.ndarray = query.expression[:, found] @ loadings - genes.mean[found] @ loadings
    return projected


def centred(values: "np.ndarray", batches: "np.ndarray", *, max_cells: int = 10_000, seed: int = 42) -> "np.ndarray":
    """Return coordinates without the mean of each cell's own batch; reference and query are centred apart.

    See :func:`scfm.corrections.core.center`; shape (n_cells, n_dims), float64.
    """
    return center(values, batches, max_cells=max_cells, seed=seed)


def map_to_harmony(projected: "np.ndarray", batches: "np.ndarray", reference: HarmonyReference) -> "np.ndarray":
    """Correct projected cells towards a reference that Harmony has corrected.

    Each cell belongs to the reference's soft clusters by its direction. In every cluster the shift of each query batch
    against the reference is estimated by ridge regression on the cells of query and reference, of which only the sums
    are needed, and subtracted in proportion to the membership.

    Parameters
    ----------
    projected
        Cells on the reference's principal components, shape (n_cells, n_dims).
    batches
        Their batches, shape (n_cells,).
    reference
        The compressed reference.

    Returns
    -------
    Shape (n_cells, n_dims), float64.
    """
    import numpy as np

    _, codes = np.unique(batches.astype(str), return_inverse=True)
    design = np.column_stack([np.ones(len(codes)), np.eye(codes.max() + 1)[codes]])
    memberships = soft_clusters(projected, reference)
    penalty = RIDGE * np.eye(design.shape[1])
    penalty[0, 0] = 0
    corrected = np.array(projected, dtype=float)
    for cluster, weights in enumerate(memberships.T):
        weighted = design * weights[:, None]
        left, right = weighted.T @ design + penalty, weighted.T @ projected
        left[0, 0] += reference.sizes[cluster]
        right[0] += reference.sums[cluster]
        shifts = np.linalg.solve(left, right)
        shifts[0] = 0  # the centre of the cluster stays
        corrected -= weighted @ shifts
    return corrected


def moved_as_batches(projected: "np.ndarray", mapped: "np.ndarray", batches: "np.ndarray") -> "np.ndarray":
    """Return projected cells moved by the median move of their batch, shape (n_cells, n_dims), float64.

    A mapping moves every cluster on its own, a new type too, towards the reference. The median is the move of the cells
    of types that the reference has, as long as they are more than half of a batch.
    """
    import numpy as np

    moved = np.array(projected, dtype=float)
    for batch in np.unique(batches.astype(str)):
        inside = batches.astype(str) == batch
        moved[inside] += np.median((mapped - projected)[inside], axis=0)
    return moved


def soft_clusters(projected: "np.ndarray", reference: HarmonyReference) -> "np.ndarray":
    """Return the membership of every cell in the reference's clusters, shape (n_cells, n_clusters); rows sum to 1."""
    import numpy as np

    distance = 2 * (1 - unit_rows(projected) @ reference.centroids.T)
    weights = np.exp(-(distance - distance.min(axis=1, keepdims=True)) / reference.sigma)
    memberships: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return memberships
