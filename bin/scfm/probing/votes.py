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


def classes_of(near: "np.ndarray", train: "np.ndarray", n_classes: int) -> "np.ndarray":
    """Return the classes of neighbours.

    Parameters
    ----------
    near
        Neighbours as positions in the training part, nearest first, shape (k, n_test); -1 where a cell has fewer
        than k.
    train
        Class numbers of the training cells, shape (n_train,).
    n_classes
        Number of classes, which stands for an absent neighbour.

    Returns
    -------
    Shape (k, n_test), of the smallest unsigned type.
    """
    import numpy as np

    return np.append(train, n_classes).astype(np.min_scalar_type(n_classes))[near]


def count_votes(near: "np.ndarray", n_classes: int) -> "np.ndarray":
    """Count the classes among neighbours.

    Arrays lie along the cells: sums of bytes over neighbours are several times as fast as a histogram per cell.

    Parameters
    ----------
    near
        Class numbers of the neighbours, shape (k, n_test); ``n_classes`` for an absent one.
    n_classes
        Number of classes.

    Returns
    -------
    Counts, shape (n_classes, n_test), of the smallest unsigned type.
    """
    import numpy as np

    votes = np.empty((n_classes, near.shape[1]), dtype=np.min_scalar_type(len(near)))
    for number, own in enumerate(votes):
        np.add.reduce((near == number).view(np.uint8), axis=0, dtype=votes.dtype, out=own)
    return votes


def decide(votes: "np.ndarray", near: "np.ndarray", weights: "np.ndarray") -> "np.ndarray":
    """Return the class with the most weighted votes; of tied classes the one with the nearest neighbour.

    Parameters
    ----------
    votes
        Those of :func:`count_votes`, shape (n_classes, n_test).
    near
        Class numbers of the neighbours, nearest first, shape (k, n_test); the number of classes for an absent one.
    weights
        Weight of a vote per class, shape (n_classes,).

    Returns
    -------
    Class numbers, shape (n_test,).
    """
    import numpy as np

    weighted = votes * weights[:, None]
    is_top = np.vstack([weighted >= weighted.max(axis=0) * (1 - _TIE), np.zeros((1, len(near[0])), dtype=bool)])
    found, left = np.empty(near.shape[1], dtype=np.intp), np.arange(near.shape[1])
    for nearest in near:
        found[left] = nearest[left]
        left = left[~is_top[found[left], left]]
        if not len(left):
            break
    return found


def auroc_of_votes(votes: "np.ndarray", true: "np.ndarray", k: int) -> "np.ndarray":
    """Return the AUROC of votes, one class against the rest, mean over classes, for many draws of the votes at once.

    Votes are whole numbers, so ranks come from a histogram instead of sorting; ties count one half. The weight of a
    class's votes does not change their order.

    Parameters
    ----------
    votes
        Shape (n_classes, n_draws, n_test), values 0 to k.
    true
        Class numbers, shape (n_test,), or (n_draws, n_test) with as many cells of each class in every draw.
    k
        Number of neighbours.

    Returns
    -------
    Shape (n_draws,), 0 to 1, 0.5 is chance, higher: the class can be predicted; NaN where no class has both cells of
    its own and others.
    """
    import numpy as np

    n_classes, n_draws, n_test = votes.shape
    shape, size = (n_classes, n_draws, k + 1), n_classes * n_draws * (k + 1)
    places = np.arange(n_classes * n_draws).reshape(n_classes, n_draws, 1) * (k + 1) + votes
    own = places[true, np.arange(n_draws)[:, None], np.arange(n_test)]
    positive = np.bincount(own.ravel(), minlength=size).reshape(shape)
    negative = np.bincount(places.ravel(), minlength=size).reshape(shape) - positive
    below = np.cumsum(negative, axis=2) - negative / 2
    n_positive, n_negative = positive.sum(axis=2), negative.sum(axis=2)
    known = (n_positive[:, 0] > 0) & (n_negative[:, 0] > 0)
    if not known.any():
        return np.full(n_draws, np.nan)
    won = (positive * below).sum(axis=2)[known]
    return (won / (n_positive[known] * n_negative[known])).mean(axis=0)
