"""What a probe scores after training on permuted classes: one fit for the logistic, a distribution for the neighbours.

The neighbours of a cell do not depend on the classes, so a permutation of the 15-NN probe is a new vote on the same
graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.probing.baselines import generator_for
from scfm.probing.rows import Measured, measure
from scfm.probing.votes import auroc_of_votes, classes_of, count_votes, decide

if TYPE_CHECKING:
    import numpy as np

#: neighbours that vote, and training cells that are permuted, at once: few enough for the processor's cache
_VOTES = 400_000


@dataclass(frozen=True)
class Training:
    """The training part of one fold.

    Attributes
    ----------
    classes
        Class numbers, shape (n_train,).
    strata
        Within which classes are permuted, shape (n_train,); None: over all cells. For the target batch this is the
        label: the permuted batch still follows the label composition, so the baseline shows what composition alone
        gives away.
    place
        Seed, target, scheme and fold: the same permutations for every embedding.
    """

    classes: "np.ndarray"
    strata: "np.ndarray | None"
    place: tuple

    def permuted(self, n_draws: int, at_once: int) -> "Iterator[np.ndarray]":
        """Yield permutations of the classes, shapes (up to ``at_once``, n_train); ``at_once`` does not change them."""
        import numpy as np

        strata = np.zeros(len(self.classes), dtype=int) if self.strata is None else self.strata
        groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
        generators = [generator_for(*self.place, number) for number in range(len(groups))]
        for start in range(0, n_draws, at_once):
            drawn = np.tile(self.classes, (min(at_once, n_draws - start), 1))
            for cells, rng in zip(groups, generators, strict=True):
                drawn[:, cells] = rng.permuted(drawn[:, cells], axis=1)
            yield drawn


def knn_null(
    near: "np.ndarray", training: Training, true: "np.ndarray", weights: "np.ndarray", *, n_draws: int, key: tuple
) -> Measured | None:
    """Return the scores of the neighbours' vote over permutations of the training part.

    Parameters
    ----------
    near
        Neighbours as positions in the training part, nearest first, shape (k, n_test); -1 where there are fewer.
    training
        The training part.
    true
        Class numbers of the test cells, shape (n_test,).
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
    for drawn in training.permuted(n_draws, max(1, _VOTES // max(near.size, len(training.classes)))):
        classes = np.concatenate([classes_of(near, one, n_classes) for one in drawn], axis=1)
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
