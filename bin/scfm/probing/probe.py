"""Probe one embedding: every target, scheme, classifier and fold, with its baselines, as one tidy table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.io.tables import CELL_ID
from scfm.probing.baselines import generator_for, majority_class, permute
from scfm.probing.classifiers import LogisticProbe, neighbors_outside_fold, vote
from scfm.probing.rows import (
    COLUMNS,
    RESERVED_FOLDS,
    escape,
    excluded_rows,
    measure,
    scored_rows,
    summary_rows,
    undefined_rows,
)
from scfm.probing.splits import KFOLD, LEAVE_ONE_BATCH_OUT, SCHEMES, TARGETS, why_undefined
from scfm.registries.messages import message

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CLASSIFIERS = ("logistic", "knn")


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of the probes; the names with ``probe_`` before them are the pipeline's parameters."""

    c: float = 1.0
    max_iter: int = 1000
    k: int = 15
    permutations: int = 1
    seed: int = 123

    def __post_init__(self) -> None:
        """Refuse what cannot work, by the parameter's name."""
        for name, least in (("c", 0.0), ("max_iter", 0), ("k", 0), ("permutations", -1), ("seed", -1)):
            if not getattr(self, name) > least:
                raise ScfmError(f"Parameter probe_{name} is {getattr(self, name)}; it must be above {least}.")

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "ProbeSettings":
        """Take the ``probe_*`` entries of the pipeline's parameters; others are not for this step."""
        kinds = {"c": float, "max_iter": int, "k": int, "permutations": int, "seed": int}
        given = {}
        for name, kind in kinds.items():
            value = params.get(f"probe_{name}")
            if value is not None:
                try:
                    given[name] = kind(value)
                except (TypeError, ValueError):
                    raise ScfmError(f"Parameter probe_{name} is '{value}'; expected a number.") from None
        return cls(**given)


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
    cells: "pd.DataFrame", values: "np.ndarray", splits: "pd.DataFrame", settings: ProbeSettings
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

    Returns
    -------
    Table with the columns ``COLUMNS``; warnings as made by ``scfm.registries.messages.message``.
    """
    import numpy as np
    import pandas as pd

    order = np.argsort(cells[CELL_ID].to_numpy(dtype=str), kind="stable")
    cells, values = cells.iloc[order].reset_index(drop=True), np.asarray(values, dtype=np.float32)[order]
    rows, tasks = [], []
    for target in TARGETS:
        for scheme in SCHEMES:
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
    logistic = LogisticProbe(c=settings.c, max_iter=settings.max_iter)
    for task, nearest in zip(tasks, neighbors, strict=True):
        folds = []
        for number in range(len(task.fold_names)):
            fold = make_fold(task, number)
            folds += list(_fold_rows(task, fold, values, nearest, logistic=logistic, settings=settings))
        rows += folds + summary_rows(folds)
    return pd.DataFrame(rows, columns=COLUMNS), _warnings(logistic)


def _fold_rows(
    task: Task,
    fold: Fold,
    values: "np.ndarray",
    nearest: "np.ndarray",
    *,
    logistic: LogisticProbe,
    settings: ProbeSettings,
) -> Iterator[tuple]:
    """Yield the rows of one fold for both classifiers."""
    import numpy as np

    n_classes, train, test = len(task.names), fold.train, fold.test
    known = [task.classes, *_permuted_training(task, fold, settings)]
    for classifier in CLASSIFIERS:
        key = (task.target, task.scheme, classifier, escape(fold.name, RESERVED_FOLDS))
        if fold.reason:
            yield from undefined_rows(*key, n_test=len(test), reason=fold.reason)
        else:
            if classifier == "logistic":
                guesses = logistic.predict(values[train], [c[train] for c in known], values[test])
            else:
                guesses = [vote(nearest[test], classes, n_classes) for classes in known]
            guesses.append(np.full(len(test), majority_class(task.classes[train], n_classes)))
            measured = [
                measure(task.classes[test], g, n_classes, target=task.target, scheme=task.scheme) for g in guesses
            ]
            yield from scored_rows(key, task.names, measured[0], floor=measured[-1], null=measured[1:-1])
        if task.scheme == LEAVE_ONE_BATCH_OUT:
            yield from excluded_rows(key, task.names, fold.excluded)


def _permuted_training(task: Task, fold: Fold, settings: ProbeSettings) -> "list[np.ndarray]":
    """Return the classes with those of the training part permuted, once per repeat; the same for every embedding."""
    found = []
    for repeat in range(settings.permutations):
        classes = task.classes.copy()
        strata = None if task.strata is None else task.strata[fold.train]
        rng = generator_for(settings.seed, task.target, task.scheme, fold.name, repeat)
        classes[fold.train] = permute(classes[fold.train], within=strata, rng=rng)
        found.append(classes)
    return found


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
