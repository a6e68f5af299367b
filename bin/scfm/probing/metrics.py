"""Classification metrics from a confusion matrix; all are higher-is-better, in [0, 1] unless said otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

OVERALL = ("accuracy", "balanced_accuracy", "macro_f1")
PER_CLASS = ("recall", "f1", "support")
RESCALED = "balanced_accuracy_rescaled"


def confusion(true: "np.ndarray", predicted: "np.ndarray", n_classes: int) -> "np.ndarray":
    """Count pairs of true and predicted class.

    Parameters
    ----------
    true, predicted
        Class numbers in [0, n_classes), shape (n_test,).
    n_classes
        Number of classes of the study, so that a class absent from this fold keeps its row.

    Returns
    -------
    Counts, shape (n_classes, n_classes), rows are true classes.
    """
    import numpy as np

    return np.bincount(true * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)


def per_class(counts: "np.ndarray") -> "dict[str, np.ndarray]":
    """Return recall, F1 and support of every class, each of shape (n_classes,).

    Recall is NaN for a class without test cells. F1 is 2 TP / (2 TP + FP + FN), and 0 for a class without test
    cells, as in the study.
    """
    import numpy as np

    support, hit = counts.sum(axis=1), np.diag(counts)
    both = support + counts.sum(axis=0)
    recall = np.where(support > 0, hit / np.maximum(support, 1), np.nan)
    f1 = np.where(both > 0, 2 * hit / np.maximum(both, 1), 0.0)
    return {"recall": recall, "f1": f1, "support": support.astype(float)}


def overall(counts: "np.ndarray", *, classes_of_f1: str) -> dict[str, float]:
    """Return accuracy, balanced accuracy and macro-F1 of a confusion matrix.

    Parameters
    ----------
    counts
        Confusion matrix, shape (n_classes, n_classes), with at least one cell.
    classes_of_f1
        Over which classes F1 is averaged: ``study`` (all; a class absent from the test part counts 0, the rule of
        the study) or ``test`` (those with test cells; for held-out batches, where absence is the design).

    Returns
    -------
    ``accuracy``; ``balanced_accuracy``, the mean recall over the classes with test cells; ``macro_f1``.
    """
    import numpy as np

    parts = per_class(counts)
    f1 = parts["f1"] if classes_of_f1 == "study" else parts["f1"][parts["support"] > 0]
    return {
        "accuracy": float(np.trace(counts) / counts.sum()),
        "balanced_accuracy": float(np.nanmean(parts["recall"])),
        "macro_f1": float(f1.mean()),
    }


def rescale(accuracy: float, n_classes: int) -> float:
    """Return ``(accuracy - 1/B) / (1 - 1/B)``: 0 at chance, 1 when all is known; a little below 0 is noise.

    For the target batch 0 means that no batch signal was found, so *lower* is better mixing.
    """
    chance = 1.0 / n_classes
    return (accuracy - chance) / (1.0 - chance)
