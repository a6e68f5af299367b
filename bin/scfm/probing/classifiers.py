"""The two probes: multinomial logistic regression and an exact nearest-neighbour vote.

Logistic regression is scikit-learn's, in float32. A solver of our own (L-BFGS preconditioned by the Gram matrix) was
measured: 10 times faster on collinear features, 3 times slower on separable ones, so the library's stays.
The neighbour search is our own: with several partitions of the same cells (two targets, held-out batches) one block
of distances serves all, and the permuted baseline needs no second search.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_BLOCK_BYTES = 64 * 2**20
_SPARE = 17

_log = logging.getLogger(__name__)


class LogisticProbe:
    """L2 logistic regression on features standardised on the training part (mean 0, sd 1).

    Parameters
    ----------
    c
        Inverse strength of the L2 penalty (the study: 1.0).
    max_iter
        Limit of lbfgs iterations (the study: 1,000).

    Attributes
    ----------
    n_fits
        Number of fits so far.
    n_unconverged
        How many of them stopped before they converged; their predictions are used all the same.
    """

    def __init__(self, *, c: float, max_iter: int) -> None:
        self.c, self.max_iter = c, max_iter
        self.n_fits = self.n_unconverged = 0

    def predict(self, train: "np.ndarray", targets: "Sequence[np.ndarray]", test: "np.ndarray") -> "list[np.ndarray]":
        """Fit one model per target on the training part and predict the test part.

        Parameters
        ----------
        train, test
            Features, shapes (n_train, n_dims) and (n_test, n_dims), float32.
        targets
            Class numbers, each of shape (n_train,): the true ones and the permuted ones.

        Returns
        -------
        Predicted class numbers, each of shape (n_test,).
        """
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
        return [self._fit(train, classes).predict(test) for classes in targets]

    def _fit(self, train: "np.ndarray", classes: "np.ndarray"):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.c, max_iter=self.max_iter)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(train, classes)
        self.n_fits += 1
        self.n_unconverged += any(issubclass(w.category, ConvergenceWarning) for w in caught)
        for other in (w for w in caught if not issubclass(w.category, ConvergenceWarning)):
            _log.warning("logistic regression: %s", other.message)
        return model


def vote(neighbors: "np.ndarray", classes: "np.ndarray", n_classes: int) -> "np.ndarray":
    """Return the majority class among the neighbours; of tied classes the one with the nearest neighbour.

    Parameters
    ----------
    neighbors
        Cell numbers, nearest first, shape (n_test, k); -1 where a cell has fewer than k.
    classes
        Class numbers of all cells, shape (n_cells,).
    n_classes
        Number of classes.
    """
    import numpy as np

    rows = np.arange(len(neighbors))
    votes = np.zeros((len(neighbors), n_classes), dtype=np.int32)
    for column in neighbors.T:
        votes[rows, classes[column]] += column >= 0
    is_top = votes == votes.max(axis=1, keepdims=True)
    nearest = (is_top[rows[:, None], classes[neighbors]] & (neighbors >= 0)).argmax(axis=1)
    return classes[neighbors[rows, nearest]]


def neighbors_outside_fold(
    values: "np.ndarray", folds: "Sequence[np.ndarray]", *, k: int, seed: int
) -> "list[np.ndarray]":
    """Find, for every cell, its k nearest cells outside its own fold, for several partitions into folds.

    Distances are Euclidean and the result is exact: candidates come from float32 products and are measured again in
    float64; a row whose candidates cannot be proven complete within the float32 error (near ties, identical cells) is
    searched in full. Cells at the same distance come in a fixed random order: by id would favour one batch, as ids
    often carry the batch's name.

    Parameters
    ----------
    values
        Embedding, shape (n_cells, n_dims); cells sorted by id.
    folds
        Fold numbers of each partition, each of shape (n_cells,); -1 for a cell outside the partition.
    k
        Number of neighbours.
    seed
        Seed of the order among ties.

    Returns
    -------
    Per partition the cell numbers, nearest first, shape (n_cells, k); -1 where a cell has fewer than k.
    """
    import numpy as np

    order = np.random.default_rng(seed).permutation(len(values))
    exact = values[order].astype(np.float64)
    exact -= exact.mean(axis=0)
    spread = np.abs(exact).max()
    if spread > 0:
        exact = np.ldexp(exact, -int(np.frexp(spread)[1]))  # a power of two: no rounding, and float32 cannot overflow
    found = [np.full((len(values), k), -1, dtype=np.int64) for _ in folds]
    shuffled = [fold[order] for fold in folds]
    single = exact.astype(np.float32)
    squares = np.einsum("ij,ij->i", single, single)
    step = int(max(1, _BLOCK_BYTES // (4 * max(len(values), (4 * k + 5) * 2 * values.shape[1]))))
    for start in range(0, len(values), step):
        rows = np.arange(start, min(start + step, len(values)))
        block = single[rows] @ single.T
        block *= -2
        block += squares
        block += squares[rows, None]
        candidates, distance, cut = _candidates(exact, rows, block, 4 * k + 5)
        for result, fold in zip(found, shuffled, strict=True):
            is_open = (fold[candidates] != fold[rows, None]) & (fold[candidates] >= 0)
            first = np.argsort(~is_open, axis=1, kind="stable")[:, :k]
            nearest = np.full((len(rows), k), -1)
            nearest[:, : first.shape[1]] = np.where(
                np.take_along_axis(is_open, first, axis=1), np.take_along_axis(candidates, first, axis=1), -1
            )
            last = np.where(is_open.sum(axis=1) >= k, np.take_along_axis(distance, first[:, -1:], axis=1)[:, 0], np.inf)
            rest = np.flatnonzero(~_is_proven(exact[rows], last, cut))
            if len(rest):
                closed = (fold[rows[rest], None] == fold) | (fold < 0)
                nearest[rest] = _nearest_open(exact, rows[rest], np.where(closed, np.inf, block[rest]), closed, k)
            result[order[rows]] = np.where(nearest >= 0, order[nearest], -1)
    return found


def _candidates(
    exact: "np.ndarray", rows: "np.ndarray", approximate: "np.ndarray", width: int
) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Return the columns with the smallest approximate distances, in order of (exact distance, column).

    Also their squared distances, and per row a bound that the approximate distance of no other column is below
    (infinite if there is no other column, minus infinite if ties leave it open).
    """
    import numpy as np

    n_cells = len(exact)
    if width >= n_cells:
        columns = np.tile(np.arange(n_cells), (len(rows), 1))
        cut = np.full(len(rows), np.inf)
    else:
        cut = np.partition(approximate, width - 1, axis=1)[:, width - 1].astype(np.float64)
        flat = np.flatnonzero(approximate <= cut[:, None].astype(np.float32))
        counts = np.bincount(flat // n_cells, minlength=len(rows))
        cut[counts > width] = -np.inf
        within = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
        columns = (flat[within < width] % n_cells).reshape(len(rows), width)
    distance = ((exact[columns] - exact[rows][:, None, :]) ** 2).sum(axis=2)
    by_distance = np.argsort(distance, axis=1, kind="stable")
    return np.take_along_axis(columns, by_distance, axis=1), np.take_along_axis(distance, by_distance, axis=1), cut


def _is_proven(cells: "np.ndarray", last: "np.ndarray", cut: "np.ndarray") -> "np.ndarray":
    """Tell for which rows no cell outside the candidates can be nearer than the last one found.

    A cell nearer than that has a norm of at most |x| + d, which bounds the float32 error of its product.
    """
    import numpy as np

    error = (
        4 * np.finfo(np.float32).eps * cells.shape[1] ** 0.5 * (2 * np.linalg.norm(cells, axis=1) + np.sqrt(last)) ** 2
    )
    return np.isinf(cut) & (cut > 0) | (last + error < cut)


def _nearest_open(
    exact: "np.ndarray", rows: "np.ndarray", approximate: "np.ndarray", closed: "np.ndarray", k: int
) -> "np.ndarray":
    """Return the k nearest open columns of each row, in order of (distance, column); -1 where there are fewer."""
    import numpy as np

    n_cells = len(exact)
    width = min(n_cells, k + _SPARE)
    if width < n_cells:
        candidates = np.sort(np.argpartition(approximate, width - 1, axis=1)[:, :width], axis=1)
    else:
        candidates = np.broadcast_to(np.arange(n_cells), approximate.shape).copy()
    distance = ((exact[candidates] - exact[rows][:, None, :]) ** 2).sum(axis=2)
    distance[np.take_along_axis(closed, candidates, axis=1)] = np.inf
    by_distance = np.argsort(distance, axis=1, kind="stable")[:, :k]
    nearest = np.take_along_axis(candidates, by_distance, axis=1)
    distance = np.take_along_axis(distance, by_distance, axis=1)
    nearest[np.isinf(distance)] = -1
    if width < n_cells:
        cut = np.take_along_axis(approximate, candidates, axis=1).max(axis=1)  # infinite: no open cell is left outside
        proven = _is_proven(exact[rows], distance[:, -1], cut)
        for i in np.flatnonzero(~proven):
            nearest[i] = _search_row(exact, rows[i], closed[i], k)
    if nearest.shape[1] < k:
        nearest = np.pad(nearest, ((0, 0), (0, k - nearest.shape[1])), constant_values=-1)
    return nearest


def _search_row(exact: "np.ndarray", row: int, closed: "np.ndarray", k: int) -> "np.ndarray":
    """Return the k nearest open columns of one row by distances in float64 to all cells."""
    import numpy as np

    open_cells = np.flatnonzero(~closed)
    distance = ((exact[open_cells] - exact[row]) ** 2).sum(axis=1)
    nearest = np.full(k, -1)
    if len(distance) > k:
        limit = np.partition(distance, k - 1)[k - 1]
        keep = np.flatnonzero(distance <= limit)
        open_cells, distance = open_cells[keep], distance[keep]
    chosen = open_cells[np.argsort(distance, kind="stable")[:k]]
    nearest[: len(chosen)] = chosen
    return nearest
