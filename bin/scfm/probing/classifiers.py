"""The two probes: multinomial logistic regression, and the exact neighbours whose votes ``scfm.probing.votes`` counts.

One solver (:mod:`scfm.probing.softmax`) fits all folds and their permuted twins. One neighbour search serves all
partitions of the same cells (two targets, held-out batches), and the permuted baseline needs no second search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scfm.probing.softmax import Fit, fit_softmax
from scfm.probing.softmax_loss import Each, Loss, centre_and_scale, in_blocks, logits_of
from scfm.task.device import CPU

if TYPE_CHECKING:
    import numpy as np

    from scfm.neighbors.table import Neighbors


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
        Limit of L-BFGS iterations (the study: 1,000).
    is_balanced
        Weigh every class alike instead of every cell (the study: cells).
    n_threads
        Threads; they change no bit of the result.
    device
        Where the loss is computed (:mod:`scfm.task.device`).

    Attributes
    ----------
    n_fits
        Number of fits so far.
    n_unconverged
        How many of them stopped before they converged; their predictions are used all the same.
    """

    def __init__(self, *, c: float, max_iter: int, is_balanced: bool, n_threads: int = 1, device: str = CPU) -> None:
        self.c, self.max_iter, self.is_balanced, self.n_threads = c, max_iter, is_balanced, n_threads
        self.device = device
        self.n_fits = self.n_unconverged = 0
        self._known: dict[str, np.ndarray] = {}

    def predict(
        self,
        train: "np.ndarray",
        targets: "Sequence[np.ndarray]",
        test: "np.ndarray",
        n_classes: int,
        *,
        cell_weights: "np.ndarray | None" = None,
        name: str = "",
    ) -> list[Prediction]:
        """Fit one model per target on the training part and predict the test part.

        Parameters
        ----------
        train, test
            Features, shapes (n_train, n_dims) and (n_test, n_dims), float32.
        targets
            Class numbers, each of shape (n_train,): the true ones, then permuted ones.
        n_classes
            Number of classes; one without training cells has the score 0.
        cell_weights
            Cells that every training cell stands for, shape (n_train,); 1 by default.
        name
            What the true classes are: the fit starts from that of the last fold of this name.

        Returns
        -------
        One prediction per target; scores are probabilities.
        """
        import numpy as np

        mean, scale = centre_and_scale(train)
        blocks, tested = (self._features(part, mean, scale) for part in (train, test))
        stands_for = np.ones(len(train)) if cell_weights is None else cell_weights
        found = []
        with _each_block(self.n_threads) as each:
            for number, classes in enumerate(targets):
                is_true = number == 0 and name != ""
                start = self._start(name, n_classes, mean, scale) if is_true else None
                seen, fit = self._fit(blocks, classes, stands_for, start, each)
                scores = np.zeros((len(test), n_classes))
                scores[:, seen] = self._probabilities(tested, fit.weights, len(test))
                found.append(Prediction(seen[scores[:, seen].argmax(axis=1)], scores))
                if is_true:
                    weights = np.zeros((n_classes, len(mean) + 1)) if start is None else start
                    weights[seen] = fit.weights
                    self._keep(name, weights, mean, scale)
        return found

    def _features(self, values: "np.ndarray", mean: "np.ndarray", scale: "np.ndarray") -> Any:
        """Return standardised features where the loss is computed."""
        if self.device == CPU:
            return in_blocks(values, mean, scale)
        from scfm.probing.softmax_device import features_on

        return features_on(values, mean, scale, self.device)

    def _probabilities(self, features: Any, weights: "np.ndarray", n_cells: int) -> "np.ndarray":
        """Return the probabilities of the cells of :meth:`_features`, shape (n_cells, n_classes)."""
        import numpy as np

        if self.device == CPU:
            return np.concatenate([_softmax(logits_of(block, weights)) for block in features], axis=1).T
        from scfm.probing.softmax_device import probabilities_on

        return probabilities_on(features, weights, n_cells)

    def _loss(self) -> type[Loss]:
        """Return what computes the loss."""
        if self.device == CPU:
            return Loss
        from scfm.probing.softmax_device import DeviceLoss

        return DeviceLoss

    def _fit(
        self,
        blocks: Any,
        classes: "np.ndarray",
        stands_for: "np.ndarray",
        start: "np.ndarray | None",
        each: Each,
    ) -> "tuple[np.ndarray, Fit]":
        """Return the classes in training, ascending, and the model fitted on them."""
        import numpy as np

        seen, numbers = np.unique(classes, return_inverse=True)
        weights = stands_for
        if self.is_balanced:
            sizes = np.bincount(numbers, weights=stands_for)
            weights = stands_for * (sizes.sum() / (len(seen) * sizes))[numbers]
        fit = fit_softmax(
            blocks,
            numbers,
            len(seen),
            c=self.c,
            cell_weights=weights,
            max_iter=self.max_iter,
            start=None if start is None else start[seen],
            each=each,
            kind=self._loss(),
        )
        self.n_fits += 1
        self.n_unconverged += not fit.is_converged
        return seen, fit

    def _start(self, name: str, n_classes: int, mean: "np.ndarray", scale: "np.ndarray") -> "np.ndarray | None":
        """Return the weights of the last fold for all classes, in the units of this fold."""
        known = self._known.get(name)
        if known is None or known.shape != (n_classes, len(mean) + 1):
            return None
        weights = known.copy()
        weights[:, -1] += known[:, :-1] @ mean
        weights[:, :-1] *= scale
        return weights

    def _keep(self, name: str, weights: "np.ndarray", mean: "np.ndarray", scale: "np.ndarray") -> None:
        """Keep the weights of all classes in the units of the embedding."""
        kept = weights.copy()
        kept[:, :-1] /= scale
        kept[:, -1] -= kept[:, :-1] @ mean
        self._known[name] = kept


def _softmax(logits: "np.ndarray") -> "np.ndarray":
    """Return probabilities, float64, of logits of shape (n_classes, n_cells)."""
    from scipy.special import softmax

    return softmax(logits.astype("float64"), axis=0)


@contextmanager
def _each_block(n_threads: int) -> Iterator[Each]:
    """Give the function that applies another one to blocks: in threads, each with one thread of linear algebra."""
    if n_threads == 1:
        yield map
        return
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1), ThreadPoolExecutor(n_threads) as pool:
        yield pool.map


def neighbors_outside_fold(
    values: "np.ndarray",
    cell_ids: "np.ndarray",
    folds: "Sequence[np.ndarray]",
    *,
    k: int,
    known: "Neighbors | None" = None,
    device: str = CPU,
) -> "list[np.ndarray]":
    """Find, for every cell, its k nearest cells outside its own fold, for several partitions into folds.

    Distances are Euclidean, see :func:`scfm.neighbors.search.find_outside`. Cells at the same distance are ordered by a
    hash of the two ids: by name would favour one batch, as ids often carry the batch's name.

    Parameters
    ----------
    values
        Embedding, shape (n_cells, n_dims); cells sorted by id.
    cell_ids
        Their ids, shape (n_cells,).
    folds
        Fold numbers of each partition, each of shape (n_cells,); -1 for a cell outside the partition.
    k
        Number of neighbours.
    known
        Neighbours of the embedding that were searched before; used where they are of the same cells.
    device
        Where distances are computed.

    Returns
    -------
    Per partition the cell numbers, nearest first, shape (n_cells, k); -1 where a cell has fewer than k.
    """
    import numpy as np

    from scfm.neighbors.exact import by_hash
    from scfm.neighbors.search import find_outside

    ids = np.asarray(cell_ids, dtype=str)
    near = known.indices if known and known.k > k and known.is_of(ids) else None
    return find_outside(values, folds, k, ties=by_hash(ids), near=near, device=device)
