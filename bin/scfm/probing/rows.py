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
    "status",
    "reason",
]
RESERVED_FOLDS, RESERVED_GROUPS = ("mean", "sd"), ("all",)
_NO_BASELINES = (float("nan"), float("nan"))


def escape(name: str, reserved: tuple[str, ...]) -> str:
    """Return a class or batch name, quoted where it is also a word of the table (``mean``, ``sd``, ``all``)."""
    return f"'{name}'" if name in reserved else name


@dataclass(frozen=True)
class Measured:
    """Scores of one set of predictions: ``whole`` by metric, ``parts`` by metric and class (shape (n_classes,))."""

    whole: dict[str, float]
    parts: "dict[str, np.ndarray]"


def measure(true: "np.ndarray", guess: "np.ndarray", n_classes: int, *, target: str, scheme: str) -> Measured:
    """Score predictions; macro-F1 over the study's classes in ``kfold``, over the tested ones in a held-out batch."""
    counts = metrics.confusion(true, guess, n_classes)
    whole = metrics.overall(counts, classes_of_f1="study" if scheme == KFOLD else "test")
    if target == "batch":
        whole[metrics.RESCALED] = metrics.rescale(whole["balanced_accuracy"], n_classes)
    return Measured(whole, metrics.per_class(counts))


def _overall_metrics(target: str) -> tuple[str, ...]:
    return (*metrics.OVERALL, metrics.RESCALED) if target == "batch" else metrics.OVERALL


def scored_rows(
    key: tuple, names: list[str], observed: Measured, *, floor: Measured, null: list[Measured]
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
        chance = np.mean([n.whole[name] for n in null]) if null else np.nan
        yield (*key, "all", name, value, n_test, floor.whole[name], chance, "ok", "")
    for j, label in enumerate(names):
        support, group = int(observed.parts["support"][j]), escape(label, RESERVED_GROUPS)
        if not support and key[1] == LEAVE_ONE_BATCH_OUT:
            continue
        for name in metrics.PER_CLASS:
            value = observed.parts[name][j]
            if np.isnan(value):
                yield (*key, group, name, value, support, *_NO_BASELINES, "not_applicable", "class_absent_from_test")
                continue
            chance = np.mean([n.parts[name][j] for n in null]) if null else np.nan
            baselines = _NO_BASELINES if name == "support" else (floor.parts[name][j], chance)
            yield (*key, group, name, value, support, *baselines, "ok", "")


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
        yield (target, scheme, classifier, fold, "all", metric, nan, n_test, nan, nan, "not_applicable", reason)


def summary_rows(folds: list[tuple]) -> list[tuple]:
    """Return mean and sample sd over the folds where a number is defined; ``n_test`` is their sum.

    The baselines' columns hold the mean and sd of the baselines. Where no fold is defined the reason is the folds'.

    Parameters
    ----------
    folds
        Rows of all folds of one target and scheme, with the columns ``COLUMNS``.
    """
    import numpy as np

    groups: dict[tuple, list[tuple]] = {}
    for row in folds:
        groups.setdefault((*row[:3], *row[4:6]), []).append(row)
    rows = []
    for key, part in groups.items():
        defined = [row for row in part if row[-2] == "ok"]
        numbers = np.array([(row[6], *row[8:10]) for row in defined])
        n_test = sum(row[7] for row in defined or part)
        for statistic, least in (("mean", 1), ("sd", 2)):
            if len(defined) >= least:
                value, *floors = (numbers.mean(axis=0) if statistic == "mean" else numbers.std(axis=0, ddof=1)).tolist()
                outcome = ("ok", "")
            else:
                value, *floors = [float("nan")] * 3
                outcome = ("not_applicable", "one_fold" if defined else part[0][-1])
            rows.append((*key[:3], statistic, *key[3:], value, n_test, *floors, *outcome))
    return rows
