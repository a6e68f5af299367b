"""What a probe scores on permuted classes: one fit for the logistic, a distribution for the neighbours.

The neighbours of a cell do not depend on the classes, so a permutation of the 15-NN probe is a new vote on the same
graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.probing.baselines import generator_for
from scfm.probing.rows import Measured, measure
from scfm.probing.tasks import Fold, Task
from scfm.probing.votes import auroc_of_votes, classes_of, count_votes, decide

if TYPE_CHECKING:
    import numpy as np

#: neighbours that vote, and cells that are permuted, at once: few enough for the processor's cache
_VOTES = 400_000


@dataclass(frozen=True)
class Permutations:
    """Permutations of the classes of one task, the same in all of its folds.

    A cell has one class in a permutation, whether it is trained on or tested. Were every fold permuted by itself, the
    means over folds would vary less than those of classes that mean nothing: of two near cells in different folds each
    votes for the other, so that their folds err together.

    Attributes
    ----------
    classes
        Class numbers, shape (n_cells,).
    strata
        Within which classes are permuted, shape (n_cells,), see :func:`strata_of`.
    place
        Seed, target and scheme: the same permutations for every embedding of these cells.
    """

    classes: "np.ndarray"
    strata: "np.ndarray"
    place: tuple

    def draws(self, n_draws: int, at_once: int) -> "Iterator[np.ndarray]":
        """Yield permutations of the classes, shapes (up to ``at_once``, n_cells); ``at_once`` does not change them."""
        import numpy as np

        order = np.argsort(self.strata, kind="stable")
        grouped, ends = self.classes[order], np.cumsum(np.unique(self.strata, return_counts=True)[1])
        parts = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        generators = [generator_for(*self.place, number) for number in range(len(parts))]
        mixed = [(part, rng) for part, rng in zip(parts, generators, strict=True) if np.ptp(grouped[part])]
        for start in range(0, n_draws, at_once):
            block = np.tile(grouped, (min(at_once, n_draws - start), 1))
            for part, rng in mixed:
                block[:, part] = rng.permuted(block[:, part], axis=1)
            drawn = np.empty_like(block)
            drawn[:, order] = block
            yield drawn


def strata_of(task: Task, folds: "Sequence[Fold]") -> "np.ndarray":
    """Return the strata in which the classes of a task are permuted, shape (n_cells,).

    Inside a fold, so that every fold trains on and tests as many cells of each class as it does. The target batch also
    inside a label: the permuted batch still follows the label composition, and the baseline shows what composition
    alone gives away. Cells of a held-out batch that are left out of its test change among themselves.
    """
    import numpy as np

    is_tested = np.zeros(len(task.classes), dtype=int)
    for fold in folds:
        is_tested[fold.test] = 1
    labels = np.zeros(len(task.classes), dtype=int) if task.strata is None else task.strata
    return np.unique(np.stack([task.fold, labels, is_tested]), axis=1, return_inverse=True)[1].ravel()


def knn_null(
    near: "np.ndarray", fold: Fold, permutations: Permutations, weights: "np.ndarray", *, n_draws: int, key: tuple
) -> Measured | None:
    """Return the scores of the neighbours' vote in one fold over permutations of the classes.

    Parameters
    ----------
    near
        Neighbours as positions in the training part, nearest first, shape (k, n_test); -1 where there are fewer.
    fold
        The fold.
    permutations
        Those of the task.
    weights
        Weight of a vote per class, shape (n_classes,); permuting keeps the sizes of the classes.
    n_draws
        Number of permutations; 0 gives None.
    key
        Target and scheme.

    Returns
    -------
    Every overall metric with shape (n_draws,), every metric per class with shape (n_draws, n_classes).
    """
    import numpy as np

    if not n_draws:
        return None
    k, n_test = near.shape
    n_classes = len(weights)
    parts = []
    for drawn in permutations.draws(n_draws, max(1, _VOTES // max(near.size, len(permutations.classes)))):
        true = drawn[:, fold.test]
        classes = np.concatenate([classes_of(near, one[fold.train], n_classes) for one in drawn], axis=1)
        votes = count_votes(classes, n_classes)
        guesses = decide(votes, classes, weights).reshape(len(drawn), n_test)
        auroc = auroc_of_votes(votes.reshape(n_classes, len(drawn), n_test), true, k)
        parts.append(measure(true, guesses, auroc, n_classes, key=key))
    return join(parts)


def join(parts: list[Measured]) -> Measured:
    """Put the scores of several draws one behind the other."""
    import numpy as np

    return Measured(
        {name: np.concatenate([np.atleast_1d(p.whole[name]) for p in parts]) for name in parts[0].whole},
        {name: np.concatenate([np.atleast_2d(p.parts[name]) for p in parts]) for name in parts[0].parts},
    )
