"""Probe one embedding: every target, scheme, classifier and fold, with its baselines, as one tidy table."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.io.tables import CELL_ID
from scfm.probing.baselines import majority_class
from scfm.probing.classifiers import LogisticProbe, neighbors_outside_fold
from scfm.probing.metrics import auroc
from scfm.probing.null import Training, join, knn_null
from scfm.probing.rows import (
    COLUMNS,
    RESERVED_FOLDS,
    RESERVED_GROUPS,
    Measured,
    escape,
    excluded_rows,
    measure,
    scored_rows,
    summary_rows,
    undefined_rows,
)
from scfm.probing.settings import ProbeSettings
from scfm.probing.splits import KFOLD, LEAVE_ONE_BATCH_OUT, SCHEMES, TARGETS, why_undefined
from scfm.probing.votes import count_votes, decide, vote_weights
from scfm.registries.messages import message

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CLASSIFIERS = ("logistic", "knn")
TASKS = tuple((target, scheme) for target in TARGETS for scheme in SCHEMES)


@dataclass(frozen=True)
class Task:
    """One target under one scheme: who is tested where, as numbers.

    ``classes`` and ``fold`` have the shape (n_cells,); ``fold`` is -1 for a cell outside the splits.
    """

    target: str
    scheme: str
    names: list[str]
    classes: "np.ndarray"
    fold: "np.ndarray"
    fold_names: list[str]
    strata: "np.ndarray | None"


def make_task(cells: "pd.DataFrame", splits: "pd.DataFrame", target: str, scheme: str) -> Task:
    """Number classes and folds for one target and scheme.

    Parameters
    ----------
    cells
        ``cell_id, batch, label`` of the cells of the embedding, sorted by id. If batch and label are categorical, their
        categories are the classes of the study, also those that the embedding has lost.
    splits
        The shared splits of the data set.
    target, scheme
        See :mod:`scfm.probing.splits`.
    """
    import numpy as np
    import pandas as pd

    part = splits[(splits["target"] == target) & (splits["scheme"] == scheme)]
    fold = cells[CELL_ID].map(part.set_index(CELL_ID)["fold"])
    fold_names = sorted(fold.dropna().unique(), key=lambda name: (len(name), name) if scheme == KFOLD else (0, name))
    classes = pd.Categorical(cells[target])
    strata = pd.factorize(cells["label"])[0] if target == "batch" else None
    return Task(
        target,
        scheme,
        [str(n) for n in classes.categories],
        classes.codes.astype(np.int64),
        fold.map({name: i for i, name in enumerate(fold_names)}).fillna(-1).to_numpy(dtype=int),
        fold_names,
        strata,
    )


@dataclass(frozen=True)
class Fold:
    """One fold of a task.

    ``train`` and ``test`` are cell numbers; ``excluded`` (n_classes,) counts test cells left out because training
    never saw their label; ``reason`` is empty where the fold can be scored.
    """

    name: str
    train: "np.ndarray"
    test: "np.ndarray"
    excluded: "np.ndarray"
    reason: str


def make_fold(task: Task, number: int) -> Fold:
    """Return one fold; with a held-out batch, cells whose label is in no other batch are left out and counted."""
    import numpy as np

    n_classes = len(task.names)
    train, test = np.flatnonzero((task.fold != number) & (task.fold >= 0)), np.flatnonzero(task.fold == number)
    seen = np.bincount(task.classes[train], minlength=n_classes) > 0
    excluded = np.zeros(n_classes, dtype=int)
    if task.scheme == LEAVE_ONE_BATCH_OUT:
        excluded = np.where(seen, 0, np.bincount(task.classes[test], minlength=n_classes))
        test = test[seen[task.classes[test]]]
    reason = ""
    if seen.sum() < 2:
        reason = f"one_{task.target}_in_training"
    elif not len(test):
        reason = f"no_{task.target}_in_training"
    return Fold(task.fold_names[number], train, test, excluded, reason)


def probe(
    cells: "pd.DataFrame",
    values: "np.ndarray",
    splits: "pd.DataFrame",
    settings: ProbeSettings,
    *,
    tasks_wanted: Collection[tuple[str, str]] = TASKS,
) -> "tuple[pd.DataFrame, list[dict]]":
    """Probe an embedding for label and batch.

    Parameters
    ----------
    cells
        ``cell_id, batch, label`` of the scored cells of the embedding, in the order of ``values``.
    values
        Coordinates, shape (n_cells, n_dims). Row order has no influence on the result.
    splits
        The shared splits; cells that the embedding lacks are left out.
    settings
        See :class:`ProbeSettings`.
    tasks_wanted
        Pairs of target and scheme to probe; all by default.

    Returns
    -------
    Table with the columns ``COLUMNS``; warnings as made by ``scfm.registries.messages.message``.
    """
    import numpy as np
    import pandas as pd

    order = np.argsort(cells[CELL_ID].to_numpy(dtype=str), kind="stable")
    cells, values = cells.iloc[order].reset_index(drop=True), np.asarray(values, dtype=np.float32)[order]
    rows, tasks = [], []
    for target, scheme in (t for t in TASKS if t in tasks_wanted):
        task = make_task(cells, splits, target, scheme)
        reason = why_undefined(cells, target, scheme, n_folds=1)
        if not reason and len(task.fold_names) < 2:
            reason = "too_few_cells"
        if reason:
            for classifier in CLASSIFIERS:
                rows += undefined_rows(target, scheme, classifier, "mean", n_test=0, reason=reason)
        else:
            tasks.append(task)
    neighbors = (
        neighbors_outside_fold(values, [t.fold for t in tasks], k=settings.k, seed=settings.seed) if tasks else []
    )
    logistic = LogisticProbe(c=settings.c, max_iter=settings.max_iter, is_balanced=settings.balanced)
    for task, nearest in zip(tasks, neighbors, strict=True):
        folds: list[tuple] = []
        nulls: dict[tuple, list[np.ndarray]] = {}
        for number in range(len(task.fold_names)):
            fold = make_fold(task, number)
            folds += _fold_rows(task, fold, values, nearest, logistic=logistic, settings=settings, nulls=nulls)
        rows += folds + summary_rows(folds, nulls)
    return pd.DataFrame(rows, columns=COLUMNS), _warnings(logistic)


def _fold_rows(
    task: Task,
    fold: Fold,
    values: "np.ndarray",
    nearest: "np.ndarray",
    *,
    logistic: LogisticProbe,
    settings: ProbeSettings,
    nulls: "dict[tuple, list[np.ndarray]]",
) -> Iterator[tuple]:
    """Yield the rows of one fold for both classifiers, and add the permuted scores of its defined numbers to nulls."""
    for classifier in CLASSIFIERS:
        key = (task.target, task.scheme, classifier, escape(fold.name, RESERVED_FOLDS))
        if fold.reason:
            yield from undefined_rows(*key, n_test=len(fold.test), reason=fold.reason)
        else:
            if classifier == "logistic":
                observed, null = _logistic(task, fold, values, logistic, settings)
            else:
                observed, null = _nearest(task, fold, nearest, settings)
            if null is not None:
                _collect(nulls, classifier, task.names, observed, null)
            yield from scored_rows(key, task.names, observed, floor=_floor(task, fold), null=null)
        if task.scheme == LEAVE_ONE_BATCH_OUT:
            yield from excluded_rows(key, task.names, fold.excluded)


def _collect(
    nulls: "dict[tuple, list[np.ndarray]]", classifier: str, names: list[str], observed: Measured, null: Measured
) -> None:
    """Add the permuted scores of one fold to those of the folds before it."""
    import numpy as np

    for metric, draws in null.whole.items():
        if not np.isnan(observed.whole[metric]):
            nulls.setdefault((classifier, "all", metric), []).append(draws)
    for metric in ("recall", "f1"):
        for j in np.flatnonzero(~np.isnan(observed.parts[metric])):
            group = escape(names[j], RESERVED_GROUPS)
            nulls.setdefault((classifier, group, metric), []).append(null.parts[metric][:, j])


def _training(task: Task, fold: Fold, settings: ProbeSettings) -> Training:
    """Return the training part of a fold; its permutations are the same for every embedding."""
    strata = None if task.strata is None else task.strata[fold.train]
    return Training(task.classes[fold.train], strata, (settings.seed, task.target, task.scheme, fold.name))


def _logistic(
    task: Task, fold: Fold, values: "np.ndarray", probe: LogisticProbe, settings: ProbeSettings
) -> tuple[Measured, Measured | None]:
    """Return the scores of the logistic probe, and those after permutation."""
    training, true, n_classes = _training(task, fold, settings), task.classes[fold.test], len(task.names)
    draws = [d for block in training.permuted(settings.logistic_permutations, 1) for d in block]
    found = probe.predict(values[fold.train], [training.classes, *draws], values[fold.test], n_classes)
    observed, *null = [
        measure(true, p.classes, auroc(p.scores, true), n_classes, key=(task.target, task.scheme)) for p in found
    ]
    return observed, join(null) if null else None


def _nearest(
    task: Task, fold: Fold, nearest: "np.ndarray", settings: ProbeSettings
) -> tuple[Measured, Measured | None]:
    """Return the scores of the neighbours' vote, and those after permutation."""
    import numpy as np

    training, true, n_classes = _training(task, fold, settings), task.classes[fold.test], len(task.names)
    weights = vote_weights(training.classes, n_classes, is_balanced=settings.balanced)
    position = np.full(len(task.classes), -1)
    position[fold.train] = np.arange(len(fold.train))
    cells = nearest[fold.test]
    near = np.where(cells < 0, -1, position[cells])
    classes = np.where(near < 0, -1, training.classes[near])
    votes = count_votes(classes, n_classes)
    key = (task.target, task.scheme)
    observed = measure(true, decide(votes, classes, weights), auroc(votes, true), n_classes, key=key)
    return observed, knn_null(near, training, true, weights, n_draws=settings.permutations, key=key)


def _floor(task: Task, fold: Fold) -> Measured:
    """Return the scores of always saying the largest class; its AUROC is 0.5, as it puts no cell above another."""
    import numpy as np

    n_classes = len(task.names)
    guess = np.full(len(fold.test), majority_class(task.classes[fold.train], n_classes))
    return measure(task.classes[fold.test], guess, 0.5, n_classes, key=(task.target, task.scheme))


def _warnings(logistic: LogisticProbe) -> list[dict]:
    """Return one warning for all fits that did not converge."""
    if not logistic.n_unconverged:
        return []
    return [
        message(
            "W-PRB-02",
            values={"unconverged": logistic.n_unconverged, "fits": logistic.n_fits},
            threshold=logistic.max_iter,
        )
    ]
