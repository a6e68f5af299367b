"""Rows of the probing table: observed numbers with their baselines, reasons for what is not defined, mean and sd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.probing import metrics
from scfm.probing.splits import KFOLD, LEAVE_ONE_BATCH_OUT

if TYPE_CHECKING:
    import numpy as np

KEYS = ["target", "scheme", "classifier"]
COLUMNS = [
    *KEYS,
    "fold",
    "group",
    "metric",
    "value",
    "n_test",
    "baseline_majority",
    "baseline_permuted",
    "permuted_q95",
    "p_value",
    "status",
    "reason",
]
RESERVED_FOLDS, RESERVED_GROUPS = ("mean", "sd"), ("all",)
_NO_BASELINES = (float("nan"),) * 4
#: columns of numbers: the value and its baselines
_NUMBERS = (6, *range(8, 12))
#: a quantile or a p value needs this many permutations; with fewer, 0.05 can't be reached
LEAST_PERMUTATIONS = 19


def escape(name: str, reserved: tuple[str, ...]) -> str:
    """Return a class or batch name, quoted where it is also a word of the table (``mean``, ``sd``, ``all``)."""
    return f"'{name}'" if name in reserved else name


@dataclass(frozen=True)
class Measured:
    """Scores of one set of predictions, or of many draws.

    Attributes
    ----------
    whole
        By metric, shape () or (n_draws,).
    parts
        By metric per class, shape (n_classes,) or (n_draws, n_classes).
    """

    whole: "dict[str, np.ndarray]"
    parts: "dict[str, np.ndarray]"


def measure(
    true: "np.ndarray", guess: "np.ndarray", auroc: "float | np.ndarray", n_classes: int, *, key: tuple
) -> Measured:
    """Score predictions; macro-F1 over the study's classes in ``kfold``, over the tested ones in a held-out batch.

    Parameters
    ----------
    true
        Class numbers, shape (n_test,) or that of ``guess``.
    guess
        Predicted class numbers, shape (n_test,) or (n_draws, n_test).
    auroc
        AUROC of the scores behind the guesses, a number or shape (n_draws,).
    n_classes
        Number of classes of the study.
    key
        Begins with target and scheme.
    """
    target, scheme = key[:2]
    counts = metrics.confusion(true, guess, n_classes)
    whole = {metrics.AUROC: auroc, **metrics.overall(counts, classes_of_f1="study" if scheme == KFOLD else "test")}
    if target == "batch":
        whole[metrics.RESCALED] = metrics.rescale(whole["balanced_accuracy"], n_classes)
    return Measured(whole, metrics.per_class(counts))


def _overall_metrics(target: str) -> tuple[str, ...]:
    return (*metrics.OVERALL, metrics.RESCALED) if target == "batch" else metrics.OVERALL


def against(value: float, null: "np.ndarray | None") -> tuple[float, float, float]:
    """Compare a score with those after permutation.

    Parameters
    ----------
    value
        The observed score; higher means that more can be read.
    null
        Scores after training on permuted classes, shape (n_draws,); None where there are none.

    Returns
    -------
    Mean of the permuted scores; their 95 % quantile; one-sided p value, (1 + draws at least as high) / (1 + draws).
    NaN without permutations, the last two also with fewer than ``LEAST_PERMUTATIONS``.
    """
    import numpy as np

    if null is None:
        return (float("nan"),) * 3
    if len(null) < LEAST_PERMUTATIONS:
        return float(np.mean(null)), float("nan"), float("nan")
    reached = int((null >= value - 1e-12).sum())
    return float(np.mean(null)), float(np.quantile(null, 0.95)), (1 + reached) / (1 + len(null))


def scored_rows(
    key: tuple, names: list[str], observed: Measured, *, floor: Measured, null: Measured | None
) -> Iterator[tuple]:
    """Yield the overall and per-class rows of one fold.

    Parameters
    ----------
    key
        ``target, scheme, classifier, fold``.
    names
        Class names.
    observed, floor, null
        Scores of the classifier, of the majority class, and of the classifier trained on permuted classes.
    """
    import numpy as np

    n_test = int(observed.parts["support"].sum())
    for name, value in observed.whole.items():
        if np.isnan(value):
            yield (*key, "all", name, value, n_test, *_NO_BASELINES, "not_applicable", "one_class_in_test")
            continue
        chance = against(float(value), null.whole[name] if null else None)
        yield (*key, "all", name, float(value), n_test, float(floor.whole[name]), *chance, "ok", "")
    for j, label in enumerate(names):
        support, group = int(observed.parts["support"][j]), escape(label, RESERVED_GROUPS)
        if not support and key[1] == LEAVE_ONE_BATCH_OUT:
            continue
        for name in metrics.PER_CLASS:
            value = float(observed.parts[name][j])
            if np.isnan(value):
                yield (*key, group, name, value, support, *_NO_BASELINES, "not_applicable", "class_absent_from_test")
            elif name == "support":
                yield (*key, group, name, value, support, *_NO_BASELINES, "ok", "")
            else:
                chance = against(value, null.parts[name][:, j] if null else None)
                yield (*key, group, name, value, support, float(floor.parts[name][j]), *chance, "ok", "")


def excluded_rows(key: tuple, names: list[str], excluded: "np.ndarray") -> Iterator[tuple]:
    """Yield how many cells could not be scored because their label is in the held-out batch only."""
    import numpy as np

    total = int(excluded.sum())
    yield (*key, "all", "cells_excluded", float(total), total, *_NO_BASELINES, "ok", "")
    for j in np.flatnonzero(excluded):
        start = (*key, escape(names[j], RESERVED_GROUPS))
        for metric in ("recall", "f1"):
            yield (
                *start,
                metric,
                np.nan,
                int(excluded[j]),
                *_NO_BASELINES,
                "not_applicable",
                "label_absent_from_training",
            )


def undefined_rows(
    target: str, scheme: str, classifier: str, fold: str, *, n_test: int, reason: str
) -> Iterator[tuple]:
    """Yield one row per overall metric for what is not defined."""
    nan = float("nan")
    for metric in _overall_metrics(target):
        yield (target, scheme, classifier, fold, "all", metric, nan, n_test, *_NO_BASELINES, "not_applicable", reason)


def summary_rows(folds: list[tuple], nulls: "dict[tuple, list[np.ndarray]]") -> list[tuple]:
    """Return mean and sample sd over the folds where a number is defined; ``n_test`` is their sum.

    The baselines' columns hold the mean and sd of the baselines. A mean is compared with the means of the permuted
    scores, draw by draw; an sd has no such comparison. Where no fold is defined the reason is the folds'.

    Parameters
    ----------
    folds
        Rows of all folds of one target and scheme, with the columns ``COLUMNS``.
    nulls
        Permuted scores of each defined fold, by ``classifier, group, metric``.
    """
    import numpy as np

    groups: dict[tuple, list[tuple]] = {}
    for row in folds:
        groups.setdefault((*row[:3], *row[4:6]), []).append(row)
    rows = []
    for key, part in groups.items():
        defined = [row for row in part if row[-2] == "ok"]
        numbers = np.array([[row[i] for i in _NUMBERS] for row in defined])
        n_test = sum(row[7] for row in defined or part)
        draws = nulls.get(key[2:])
        for statistic, least in (("mean", 1), ("sd", 2)):
            if len(defined) >= least:
                summary = numbers.mean(axis=0) if statistic == "mean" else numbers.std(axis=0, ddof=1)
                value, majority, permuted, *_ = summary.tolist()
                of_means = against(value, np.mean(draws, axis=0)) if draws and statistic == "mean" else ()
                comparison = of_means or (permuted, float("nan"), float("nan"))
                outcome = ("ok", "")
            else:
                value, majority, *comparison = [float("nan")] * 5
                outcome = ("not_applicable", "one_fold" if defined else part[0][-1])
            rows.append((*key[:3], statistic, *key[3:], value, n_test, majority, *comparison, *outcome))
    return rows
