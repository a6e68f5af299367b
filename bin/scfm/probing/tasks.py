"""One target under one scheme, as numbers: classes, folds, and who trains and who is tested in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.io.tables import CELL_ID
from scfm.probing.splits import KFOLD, LEAVE_ONE_BATCH_OUT

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


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
