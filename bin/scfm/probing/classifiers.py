"""The two probes: multinomial logistic regression, and the exact neighbours whose votes ``scfm.probing.votes`` counts.

Logistic regression is scikit-learn's, in float32. A solver of our own (L-BFGS preconditioned by the Gram matrix) was
measured: 10 times faster on collinear features, 3 times slower on separable ones, so the library's stays.
One neighbour search serves all partitions of the same cells (two targets, held-out batches), and the permuted baseline
needs no second search.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """Predictions of a classifier: class numbers, shape (n_test,), and scores, shape (n_test, n_classes)."""

    classes: "np.ndarray"
    scores: "np.ndarray"


class LogisticProbe:
    """L2 logistic regression on features standardised on the training part (mean 0, sd 1).

    Parameters
    ----------
    c
        Inverse strength of the L2 penalty (the study: 1.0).
    max_iter
        Limit of lbfgs iterations (the study: 1,000).
    is_balanced
        Weigh every class alike instead of every cell (the study: cells).

    Attributes
    ----------
    n_fits
        Number of fits so far.
    n_unconverged
        How many of them stopped before they converged; their predictions are used all the same.
    """

    def __init__(self, *, c: float, max_iter: int, is_balanced: bool) -> None:
        self.c, self.max_iter, self.is_balanced = c, max_iter, is_balanced
        self.n_fits = self.n_unconverged = 0

    def predict(
        self, train: "np.ndarray", targets: "Sequence[np.ndarray]", test: "np.ndarray", n_classes: int
    ) -> list[Prediction]:
        """Fit one model per target on the training part and predict the test part.

        Parameters
        ----------
        train, test
            Features, shapes (n_train, n_dims) and (n_test, n_dims), float32.
        targets
            Class numbers, each of shape (n_train,): the true ones and the permuted ones.
        n_classes
            Number of classes; one without training cells has the score 0.

        Returns
        -------
        One prediction per target; scores are probabilities.
        """
        import numpy as np
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
        found = []
        for classes in targets:
            model = self._fit(train, classes)
            scores = np.zeros((len(test), n_classes))
            scores[:, model.classes_] = model.predict_proba(test)
            found.append(Prediction(model.classes_[scores[:, model.classes_].argmax(axis=1)], scores))
        return found

    def _fit(self, train: "np.ndarray", classes: "np.ndarray"):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        weights = "balanced" if self.is_balanced else None
        model = LogisticRegression(C=self.c, max_iter=self.max_iter, class_weight=weights)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(train, classes)
        self.n_fits += 1
        self.n_unconverged += any(issubclass(w.category, ConvergenceWarning) for w in caught)
        for other in (w for w in caught if not issubclass(w.category, ConvergenceWarning)):
            _log.warning("logistic regression: %s", other.message)
        return model


def neighbors_outside_fold(
    values: "np.ndarray", folds: "Sequence[np.ndarray]", *, k: int, seed: int
) -> "list[np.ndarray]":
    """Find, for every cell, its k nearest cells outside its own fold, for several partitions into folds.

    Distances are Euclidean and the result is exact, see :func:`scfm.neighbors.search.find_outside`. Cells at the same
    distance come in a fixed random order: by id would favour one batch, as ids often carry the batch's name.

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

    from scfm.neighbors.exact import by_position
    from scfm.neighbors.search import find_outside

    order = np.random.default_rng(seed).permutation(len(values))
    results = []
    for found in find_outside(values[order], [fold[order] for fold in folds], k, ties=by_position):
        result = np.empty_like(found)
        result[order] = np.where(found >= 0, order[found], -1)
        results.append(result)
    return results
