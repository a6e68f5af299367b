"""Classification metrics from a confusion matrix or scores; all are higher-is-better, in [0, 1] unless said otherwise.

Confusion matrices may have leading axes (draws of a permutation); results keep them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: the headline of a probe: does not depend on a threshold, nor on the sizes of the classes
AUROC = "auroc"
OVERALL = (AUROC, "balanced_accuracy", "accuracy", "macro_f1")
PER_CLASS = ("recall", "f1", "support")
RESCALED = "balanced_accuracy_rescaled"


def confusion(true: "np.ndarray", predicted: "np.ndarray", n_classes: int) -> "np.ndarray":
    """Count pairs of true and predicted class.

    Parameters
    ----------
    true
        Class numbers in [0, n_classes), shape (n_test,) or that of ``predicted``.
    predicted
        Class numbers, shape (n_test,) or (n_draws, n_test).
    n_classes
        Number of classes of the study, so that a class absent from this fold keeps its row.

    Returns
    -------
    Counts, shape (n_classes, n_classes), rows are true classes; with draws (n_draws, n_classes, n_classes).
    """
    import numpy as np

    draws = predicted.shape[:-1]
    n_draws, size = int(np.prod(draws, dtype=int)), n_classes**2
    pairs = true * n_classes + predicted.reshape(n_draws, -1) + size * np.arange(n_draws)[:, None]
    return np.bincount(pairs.ravel(), minlength=n_draws * size).reshape(*draws, n_classes, n_classes)


def per_class(counts: "np.ndarray") -> "dict[str, np.ndarray]":
    """Return recall, F1 and support of every class, each of shape (..., n_classes).

    Recall is NaN for a class without test cells. F1 is 2 TP / (2 TP + FP + FN), and 0 for a class without test
    cells, as in the study.
    """
    import numpy as np

    support, hit = counts.sum(axis=-1), np.diagonal(counts, axis1=-2, axis2=-1)
    both = support + counts.sum(axis=-2)
    recall = np.where(support > 0, hit / np.maximum(support, 1), np.nan)
    f1 = np.where(both > 0, 2 * hit / np.maximum(both, 1), 0.0)
    return {"recall": recall, "f1": f1, "support": support.astype(float)}


def overall(counts: "np.ndarray", *, classes_of_f1: str) -> "dict[str, np.ndarray]":
    """Return accuracy, balanced accuracy and macro-F1 of a confusion matrix, each of shape (...).

    Parameters
    ----------
    counts
        Confusion matrices, shape (..., n_classes, n_classes), with at least one cell and the same true classes.
    classes_of_f1
        Over which classes F1 is averaged: ``study`` (all; a class absent from the test part counts 0, the rule of
        the study) or ``test`` (those with test cells; for held-out batches, where absence is the design).

    Returns
    -------
    ``accuracy``; ``balanced_accuracy``, the mean recall over the classes with test cells; ``macro_f1``.
    """
    import numpy as np

    parts = per_class(counts)
    f1 = parts["f1"]
    if classes_of_f1 == "test":
        f1 = np.where(parts["support"] > 0, f1, np.nan)
    return {
        "balanced_accuracy": np.nanmean(parts["recall"], axis=-1),
        "accuracy": np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1)),
        "macro_f1": np.nanmean(f1, axis=-1),
    }


def auroc(scores: "np.ndarray", true: "np.ndarray") -> float:
    """Return the area under the ROC curve, one class against the rest, mean over classes.

    Parameters
    ----------
    scores
        Higher for cells that look more like the class, shape (n_test, n_classes).
    true
        Class numbers, shape (n_test,).

    Returns
    -------
    0 to 1; 0.5 is chance whatever the sizes of the classes. Classes without test cells, or that all test cells have,
    do not count; NaN if none is left.
    """
    import numpy as np
    import pandas as pd

    found = []
    for number in np.unique(true):
        own = true == number
        if not own.all():
            rank = pd.Series(scores[:, number]).rank().to_numpy()[own].sum()  # Mann-Whitney U over the number of pairs
            found.append((rank - own.sum() * (own.sum() + 1) / 2) / (own.sum() * (~own).sum()))
    return float(np.mean(found)) if found else float("nan")


def rescale(accuracy: float, n_classes: int) -> float:
    """Return ``(accuracy - 1/B) / (1 - 1/B)``: 0 at chance, 1 when all is known; a little below 0 is noise.

    For the target batch 0 means that no batch signal was found, so *lower* is better mixing.
    """
    chance = 1.0 / n_classes
    return (accuracy - chance) / (1.0 - chance)
