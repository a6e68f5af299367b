"""The vote of the nearest neighbours: counted, corrected for the sizes of the classes, and decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: relative difference of two corrected votes that still counts as a tie: they differ by rounding alone
_TIE = 1e-12


def vote_weights(train: "np.ndarray", n_classes: int, *, is_balanced: bool) -> "np.ndarray":
    """Return the weight of one vote for each class, shape (n_classes,).

    Parameters
    ----------
    train
        Class numbers of the training cells, shape (n_train,).
    n_classes
        Number of classes.
    is_balanced
        Weigh a vote by one over the training cells of its class, so that a large class does not win by its size
        alone: 15 neighbours of 1,000 and 50 cells hold a cell of the small class by chance in one of two
        neighbourhoods. Otherwise all votes are equal.
    """
    import numpy as np

    sizes = np.bincount(train, minlength=n_classes)
    if not is_balanced:
        return np.ones(n_classes)
    return np.where(sizes > 0, 1 / np.maximum(sizes, 1), 0.0)


def count_votes(near: "np.ndarray", n_classes: int) -> "np.ndarray":
    """Count the classes among neighbours.

    Parameters
    ----------
    near
        Class numbers of the neighbours, shape (n_test, k); -1 where a cell has fewer than k.
    n_classes
        Number of classes.

    Returns
    -------
    Counts, shape (n_test, n_classes).
    """
    import numpy as np

    width = n_classes + 1  # the last column takes the absent neighbours
    places = np.arange(len(near))[:, None] * width + np.where(near < 0, n_classes, near)
    return np.bincount(places.ravel(), minlength=len(near) * width).reshape(len(near), width)[:, :n_classes]


def decide(votes: "np.ndarray", near: "np.ndarray", weights: "np.ndarray") -> "np.ndarray":
    """Return the class with the most weighted votes; of tied classes the one with the nearest neighbour.

    Parameters
    ----------
    votes
        Those of :func:`count_votes`, shape (n_test, n_classes).
    near
        Class numbers of the neighbours, nearest first, shape (n_test, k); -1 where a cell has fewer than k.
    weights
        Weight of a vote per class, shape (n_classes,).

    Returns
    -------
    Class numbers, shape (n_test,).
    """
    import numpy as np

    rows = np.arange(len(near))
    weighted = votes * weights
    is_top = weighted >= weighted.max(axis=1, keepdims=True) * (1 - _TIE)
    nearest = (is_top[rows[:, None], near] & (near >= 0)).argmax(axis=1)
    return near[rows, nearest]


def auroc_of_votes(votes: "np.ndarray", true: "np.ndarray", k: int) -> "np.ndarray":
    """Return the AUROC of votes, one class against the rest, mean over classes, for many draws of the votes at once.

    Votes are whole numbers, so ranks come from a histogram instead of sorting; ties count one half. The weight of a
    class's votes does not change their order.

    Parameters
    ----------
    votes
        Shape (n_draws, n_test, n_classes), values 0 to k.
    true
        Class numbers, shape (n_test,).
    k
        Number of neighbours.

    Returns
    -------
    Shape (n_draws,), 0 to 1, 0.5 is chance, higher: the class can be predicted; NaN where no class has both cells of
    its own and others.
    """
    import numpy as np

    n_draws, n_test, n_classes = votes.shape
    levels = k + 1
    place = np.arange(n_draws)[:, None] * n_classes
    everywhere = (place[:, :, None] + np.arange(n_classes)) * levels + votes
    own = (place + true) * levels + votes[:, np.arange(n_test), true]
    shape, size = (n_draws, n_classes, levels), n_draws * n_classes * levels
    positive = np.bincount(own.ravel(), minlength=size).reshape(shape)
    negative = np.bincount(everywhere.ravel(), minlength=size).reshape(shape) - positive
    below = np.cumsum(negative, axis=2) - negative / 2
    n_positive, n_negative = positive.sum(axis=2), negative.sum(axis=2)
    known = (n_positive[0] > 0) & (n_negative[0] > 0)
    if not known.any():
        return np.full(n_draws, np.nan)
    won = (positive * below).sum(axis=2)[:, known]
    return (won / (n_positive[:, known] * n_negative[:, known])).mean(axis=1)
