"""Labels for new cells from their nearest reference cells, and which new cells lie outside of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

#: bins of the calibration error
BINS = 10


@dataclass(frozen=True)
class Transferred:
    """What the neighbours say of every new cell; all of shape (n_cells,).

    Attributes
    ----------
    labels
        The label with the most votes of the k nearest labelled reference cells; of equal ones that of the nearest.
    confidence
        Its share of the votes, above 0 to 1.
    distances
        Distance to the k-th nearest reference cell, the largest of the places where the cell is judged (``judged`` of
        :func:`transfer`).
    is_outside
        Whether that is above ``limit``.
    limit
        Quantile of the distances of reference cells to their own k-th nearest other reference cell (one number).
    """

    labels: "np.ndarray"
    confidence: "np.ndarray"
    distances: "np.ndarray"
    is_outside: "np.ndarray"
    limit: float


def transfer(
    reference: "np.ndarray",
    labels: "np.ndarray",
    query: "np.ndarray",
    *,
    judged: "Sequence[np.ndarray]" = (),
    k: int = 15,
    quantile: float = 0.99,
) -> Transferred:
    """Vote on the label of every query cell.

    Parameters
    ----------
    reference, labels
        Coordinates, shape (n_reference, n_dims), and labels, shape (n_reference,), None where a cell has none: such
        cells have no vote and count as neighbours all the same.
    query
        Coordinates, shape (n_cells, n_dims).
    judged
        Where it is judged whether a query cell is outside, each of shape (n_cells, n_dims): it is where any of them is;
        ``query`` by default. A mapping that moves clusters can pull a new type in, so places are given to which only
        whole batches were moved.
    k
        Neighbours; fewer where the reference has fewer cells.
    quantile
        See :attr:`Transferred.limit`.
    """
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    known = np.array([label is not None for label in labels])
    names, codes = np.unique(labels[known].astype(str), return_inverse=True)
    k_all, k_vote = min(k, len(reference) - 1), min(k, int(known.sum()))
    search = NearestNeighbors(n_neighbors=k_all).fit(reference)
    own, _ = search.kneighbors()  # of the reference itself: without the cell
    farthest = np.max([search.kneighbors(places)[0][:, -1] for places in judged or [query]], axis=0)
    limit = float(np.quantile(own[:, -1], quantile))
    _, near = NearestNeighbors(n_neighbors=k_vote).fit(reference[known]).kneighbors(query)
    votes = np.stack([(codes[near] == code).sum(axis=1) for code in range(len(names))], axis=1)
    is_top = votes == votes.max(axis=1, keepdims=True)
    rows = np.arange(len(query))[:, None]
    first = is_top[rows, codes[near]].argmax(axis=1)  # the nearest cell whose label has the most votes
    chosen = codes[near][rows[:, 0], first]
    return Transferred(names[chosen].astype(object), votes.max(axis=1) / k_vote, farthest, farthest > limit, limit)


def calibration_error(confidence: "np.ndarray", is_right: "np.ndarray", bins: int = BINS) -> float:
    """Return the expected calibration error: mean difference of confidence and accuracy over bins of equal width,
    weighted by their cells (Naeini et al. 2015, 10.1609/aaai.v29i1.9602); 0 is calibrated, 1 the worst.
    """
    import numpy as np

    place = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for number in np.unique(place):
        inside = place == number
        error += inside.mean() * abs(float(confidence[inside].mean()) - float(is_right[inside].mean()))
    return error
