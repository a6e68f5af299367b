"""Over-correction: is biology still readable, and does the correction move what it should leave alone?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scfm.diagnosis.data import Cells, Embedded
from scfm.diagnosis.retest import ALL, DISJOINT, NULL_BATCHES, Corrector, disjoint_row, null_row
from scfm.diagnosis.settings import DiagnosisSettings
from scfm.errors import NotApplicable
from scfm.inputs.batch_role import looks_like_conditions, same_split

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: folds of the probe at most, neighbours of its vote
FOLDS, K = 5, 15
BIOLOGY = "biology_probe"
COLUMNS = (
    "test",
    "label",
    "column",
    "folds",
    "n_cells",
    "before",
    "after",
    "value",
    "limit",
    "failed",
    "status",
    "reason",
)


def biology_columns(cells: Cells) -> list[str]:
    """Return the columns of obs that are biology and should stay readable.

    Condition and tissue; and the batch where it is declared biological or mixed, or where no role is declared and it
    looks like a condition (W-CONF-04), unless one of the others splits the cells in the same way.
    """
    import pandas as pd

    found = [c for c in ("condition", "tissue") if cells.column(c) is not None]
    batch = pd.Series(cells.obs["batch"].astype(str).to_numpy())
    role = cells.facts.get("batch_role") or ""
    donor = cells.column("donor")
    is_biology = role in {"biological", "mixed"} or (
        not role and bool(looks_like_conditions(batch, None if donor is None else pd.Series(donor)))
    )
    same = any(same_split(batch, pd.Series(cells.column(c))) for c in found)
    return [*found, *(["batch"] if is_biology and not same else [])]


@dataclass(frozen=True)
class Task:
    """One label and the column of obs by which its cells are classified.

    Attributes
    ----------
    label, column
        What it is about.
    rows
        Cells, positions in the data set, ascending.
    target
        Level of every cell, shape (n,).
    folds
        Fold in which every cell is tested, shape (n,).
    scheme
        ``donors``: no donor is in training and test; ``stratified``: folds without donors.
    before
        What :func:`probe` reads from the uncorrected embedding.
    """

    label: str
    column: str
    rows: "np.ndarray"
    target: "np.ndarray"
    folds: "np.ndarray"
    scheme: str
    before: float = float("nan")


def probe_tasks(cells: Cells, before: Embedded, settings: DiagnosisSettings) -> list[Task]:
    """Return the tasks of a data set: every label x column with two levels of enough cells.

    Parameters
    ----------
    cells
        The data set.
    before
        The uncorrected embedding, which is probed once for all others of the same cells.
    settings
        ``min_cells`` of a level, and the seed of the folds.
    """
    import numpy as np

    donors, rows = cells.column("donor"), before.rows
    found = []
    for column in biology_columns(cells):
        values = cells.obs[column].to_numpy().astype(str)
        for code, label in enumerate(cells.labels.names):
            inside = rows[cells.labels.codes[rows] == code]
            levels, counts = np.unique(values[inside], return_counts=True)
            inside = inside[np.isin(values[inside], levels[counts >= settings.min_cells])]
            if len(np.unique(values[inside])) < 2:
                continue
            folds, scheme = _folds(values[inside], None if donors is None else donors[inside], settings.seed)
            task = Task(label, column, inside, values[inside], folds, scheme)
            found.append(replace(task, before=probe(before.coordinates[np.searchsorted(rows, inside)], task)))
    return found


def _folds(target: "np.ndarray", donors: "np.ndarray | None", seed: int) -> "tuple[np.ndarray, str]":
    """Return the folds: grouped by donor where every level has two donors, else stratified by level."""
    import numpy as np
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    folds = np.zeros(len(target), dtype=int)
    blank = np.zeros((len(target), 1))
    levels, sizes = np.unique(target, return_counts=True)
    n_donors = 0 if donors is None else min(len(np.unique(donors[target == level])) for level in levels)
    if n_donors > 1:
        scheme, splitter = "donors", StratifiedGroupKFold(min(FOLDS, n_donors), shuffle=True, random_state=seed)
    else:
        scheme, splitter = "stratified", StratifiedKFold(min(FOLDS, int(sizes.min())), shuffle=True, random_state=seed)
    for number, (_, test) in enumerate(splitter.split(blank, target, donors if scheme == "donors" else None)):
        folds[test] = number
    return folds, scheme


def probe(values: "np.ndarray", task: Task) -> float:
    """Return how well a column is read from an embedding inside a label: balanced accuracy, 0 to 1.

    The larger of a logistic regression and of 15 nearest neighbours: what either can read is still there.

    Parameters
    ----------
    values
        Coordinates of the task's cells, shape (n, n_dims).
    task
        Target and folds.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.neighbors import KNeighborsClassifier

    from scfm.probing.softmax_loss import centre_and_scale

    guesses = [np.empty_like(task.target), np.empty_like(task.target)]
    for fold in np.unique(task.folds):
        test = task.folds == fold
        train = ~test
        mean, scale = centre_and_scale(values[train])
        models = [
            ((values - mean) / scale, LogisticRegression(max_iter=1000, class_weight="balanced")),
            (values, KNeighborsClassifier(min(K, int(train.sum())))),
        ]
        for guess, (features, model) in zip(guesses, models, strict=True):
            if len(np.unique(task.target[train])) == 1:
                guess[test] = task.target[train][0]
            else:
                guess[test] = model.fit(features[train], task.target[train]).predict(features[test])
    return float(max(balanced_accuracy_score(task.target, guess) for guess in guesses))


def biology_rows(embedded: Embedded, tasks: Sequence[Task], settings: DiagnosisSettings) -> list[dict[str, Any]]:
    """Probe what is biology inside every label after correction, beside what was read before.

    Parameters
    ----------
    embedded
        The embedding.
    tasks
        Those of :func:`probe_tasks`.
    settings
        ``biology_drop``.

    Returns
    -------
    A row per label and column, and one per column over its labels (``label`` is ``all``): mean before and after.
    """
    import numpy as np

    rows = []
    for task in tasks:
        place = np.searchsorted(embedded.rows, task.rows)
        scores = {"before": task.before, "after": probe(embedded.coordinates[place], task)}
        about = {"label": task.label, "column": task.column, "folds": task.scheme, "n_cells": len(place)}
        rows.append(about | _drop(scores, settings))
    for column in dict.fromkeys(t.column for t in tasks):
        mine = [r for r in rows if r["column"] == column]
        means = {when: float(np.mean([r[when] for r in mine])) for when in ("before", "after")}
        folds = ",".join(sorted({r["folds"] for r in mine}))
        about = {"label": ALL, "column": column, "folds": folds, "n_cells": sum(r["n_cells"] for r in mine)}
        rows.append(about | _drop(means, settings))
    return rows


def _drop(scores: Mapping[str, float], settings: DiagnosisSettings) -> dict[str, Any]:
    """Return what a row of the biology probe says; its value is the drop."""
    drop = scores["before"] - scores["after"]
    judged = {"value": drop, "limit": settings.biology_drop, "failed": drop > settings.biology_drop}
    return {"test": BIOLOGY, **scores, **judged, "status": "ok", "reason": ""}


def overcorrection_rows(
    embedded: Embedded,
    before: Embedded,
    tasks: Sequence[Task],
    settings: DiagnosisSettings,
    *,
    cells: Cells,
    corrector: Corrector | None,
) -> "pd.DataFrame":
    """Return the tests of over-correction of one embedding.

    Parameters
    ----------
    embedded, before
        The embedding and the uncorrected one of the same cells.
    tasks
        Those of :func:`probe_tasks`.
    settings
        Thresholds.
    cells
        The data set.
    corrector
        Makes the embedding again from the uncorrected one; None where that is not cheap.

    Returns
    -------
    ``COLUMNS``. A test that can't be made has a row with its reason.
    """
    import pandas as pd

    rows = biology_rows(embedded, tasks, settings) or [_absent(BIOLOGY, "no_biology_column")]
    for test, make in ((NULL_BATCHES, null_row), (DISJOINT, disjoint_row)):
        if corrector is None:
            rows.append(_absent(test, "not_rerun"))
            continue
        try:
            rows.append(make(before, cells, corrector, settings))
        except NotApplicable as error:
            rows.append(_absent(test, error.code))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _absent(test: str, reason: str) -> dict[str, Any]:
    """Return the row of a test without a value."""
    about = {"test": test, "label": ALL, "column": "", "folds": "", "n_cells": 0}
    return about | {"status": "not_applicable", "reason": reason}
