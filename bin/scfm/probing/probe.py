"""Probe one embedding: every target, scheme, classifier and fold, with its baselines, as one tidy table."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from scfm.io.tables import CELL_ID
from scfm.probing.baselines import generator_for, majority_class
from scfm.probing.classifiers import LogisticProbe, neighbors_outside_fold
from scfm.probing.metrics import auroc
from scfm.probing.null import Permutations, join, knn_null, strata_of
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
from scfm.probing.sample import stratified_sample
from scfm.probing.settings import ProbeSettings
from scfm.probing.splits import LEAVE_ONE_BATCH_OUT, SCHEMES, TARGETS, why_undefined
from scfm.probing.tasks import Fold, Task, make_fold, make_task
from scfm.probing.votes import classes_of, count_votes, decide, vote_weights
from scfm.registries.messages import message
from scfm.task.device import CPU

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from scfm.neighbors.table import Neighbors

CLASSIFIERS = ("logistic", "knn")
#: what is said about training on a sample
EFFECT_METRICS = ("auroc", "macro_f1", "balanced_accuracy")
TASKS = tuple((target, scheme) for target in TARGETS for scheme in SCHEMES)


def probe(
    cells: "pd.DataFrame",
    values: "np.ndarray",
    splits: "pd.DataFrame",
    settings: ProbeSettings,
    *,
    tasks_wanted: Collection[tuple[str, str]] = TASKS,
    known: "Neighbors | None" = None,
    n_threads: int = 1,
    labels_seen: bool = False,
    device: str = CPU,
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
    known
        Neighbours of the embedding that were searched before; used where they are of the same cells.
    n_threads
        Threads of the logistic regression.
    labels_seen
        Whether the embedding was made with labels: what a probe of the label reads would be circular, so it is not
        applicable (``labels_seen``).
    device
        Where distances and losses are computed (:mod:`scfm.task.device`).

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
        if labels_seen and target == "label":
            reason = "labels_seen"
        elif not reason and len(task.fold_names) < 2:
            reason = "too_few_cells"
        if reason:
            for classifier in CLASSIFIERS:
                rows += undefined_rows(target, scheme, classifier, "mean", n_test=0, reason=reason)
        else:
            tasks.append(task)
    ids = cells[CELL_ID].to_numpy(dtype=str)
    folds_of = [t.fold for t in tasks]
    neighbors = neighbors_outside_fold(values, ids, folds_of, k=settings.k, known=known, device=device) if tasks else []
    fitting = {"c": settings.c, "max_iter": settings.max_iter, "is_balanced": settings.balanced}
    logistic = LogisticProbe(**fitting, n_threads=n_threads, device=device)
    effects: list[dict] = []
    for task, nearest in zip(tasks, neighbors, strict=True):
        folds: list[tuple] = []
        effects += _effect_of_sample(task, values, settings, logistic)
        nulls: dict[tuple, list[np.ndarray]] = {}
        made = [make_fold(task, number) for number in range(len(task.fold_names))]
        permuted = Permutations(task.classes, strata_of(task, made), (settings.seed, task.target, task.scheme))
        for fold in made:
            folds += _fold_rows(
                task, fold, values, nearest, logistic=logistic, settings=settings, permuted=permuted, nulls=nulls
            )
        rows += folds + summary_rows(folds, nulls)
    return pd.DataFrame(rows, columns=COLUMNS), _warnings(logistic, settings, effects)


def _fold_rows(
    task: Task,
    fold: Fold,
    values: "np.ndarray",
    nearest: "np.ndarray",
    *,
    logistic: LogisticProbe,
    settings: ProbeSettings,
    permuted: Permutations,
    nulls: "dict[tuple, list[np.ndarray]]",
) -> Iterator[tuple]:
    """Yield the rows of one fold for both classifiers, and add the permuted scores of its defined numbers to nulls."""
    for classifier in CLASSIFIERS:
        key = (task.target, task.scheme, classifier, escape(fold.name, RESERVED_FOLDS))
        if fold.reason:
            yield from undefined_rows(*key, n_test=len(fold.test), reason=fold.reason)
        else:
            if classifier == "logistic":
                observed, null = _logistic(task, fold, values, probe=logistic, settings=settings, permuted=permuted)
            else:
                observed, null = _nearest(task, fold, nearest, settings, permuted)
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


def _logistic(
    task: Task,
    fold: Fold,
    values: "np.ndarray",
    *,
    probe: LogisticProbe,
    settings: ProbeSettings,
    permuted: Permutations,
) -> tuple[Measured, Measured | None]:
    """Return the scores of the logistic probe, and those after permutation."""
    draws = [d for block in permuted.draws(settings.logistic_permutations, 1) for d in block]
    observed, *null = _logistic_scores(
        task, fold, values, [task.classes, *draws], limit=settings.max_training, probe=probe, seed=settings.seed
    )
    return observed, join(null) if null else None


def _logistic_scores(
    task: Task,
    fold: Fold,
    values: "np.ndarray",
    targets: "list[np.ndarray]",
    *,
    limit: int,
    probe: LogisticProbe,
    seed: int,
) -> list[Measured]:
    """Return the scores of models of several targets (the classes of all cells), trained on at most ``limit`` cells
    (0: on all).
    """
    n_classes = len(task.names)
    rng = generator_for(seed, task.target, task.scheme, fold.name, "training cells")
    chosen, stands_for = stratified_sample(targets[0][fold.train], n_classes, limit, rng)
    found = probe.predict(
        values[fold.train[chosen]],
        [target[fold.train][chosen] for target in targets],
        values[fold.test],
        n_classes,
        cell_weights=stands_for,
        name=task.target,
    )
    key = (task.target, task.scheme)
    tested = [target[fold.test] for target in targets]
    return [
        measure(true, p.classes, auroc(p.scores, true), n_classes, key=key)
        for true, p in zip(tested, found, strict=True)
    ]


def _effect_of_sample(
    task: Task, values: "np.ndarray", settings: ProbeSettings, probe: LogisticProbe
) -> Iterator[dict]:
    """Yield what doubling the training cells to the limit changes in the first fold that exceeds it, if one does."""
    limit = settings.max_training
    for number in range(len(task.fold_names)):
        fold = make_fold(task, number)
        if not fold.reason and 0 < limit < len(fold.train):
            half, whole = (
                _logistic_scores(task, fold, values, [task.classes], limit=size, probe=probe, seed=settings.seed)[
                    0
                ].whole
                for size in (limit // 2, limit)
            )
            change = {name: float(whole[name]) - float(half[name]) for name in EFFECT_METRICS}
            yield {"target": task.target, "scheme": task.scheme, "n_train": len(fold.train), **change}
            return


def _nearest(
    task: Task, fold: Fold, nearest: "np.ndarray", settings: ProbeSettings, permuted: Permutations
) -> tuple[Measured, Measured | None]:
    """Return the scores of the neighbours' vote, and those after permutation."""
    import numpy as np

    training, true, n_classes = task.classes[fold.train], task.classes[fold.test], len(task.names)
    weights = vote_weights(training, n_classes, is_balanced=settings.balanced)
    position = np.full(len(task.classes), -1)
    position[fold.train] = np.arange(len(fold.train))
    cells = np.ascontiguousarray(nearest[fold.test].T)  # along the cells in memory too, for the votes
    near = np.where(cells < 0, -1, position[cells])
    classes = classes_of(near, training, n_classes)
    votes = count_votes(classes, n_classes)
    key = (task.target, task.scheme)
    observed = measure(true, decide(votes, classes, weights), auroc(votes.T, true), n_classes, key=key)
    return observed, knn_null(near, fold, permuted, weights, n_draws=settings.permutations, key=key)


def _floor(task: Task, fold: Fold) -> Measured:
    """Return the scores of always saying the largest class; its AUROC is 0.5, as it puts no cell above another."""
    import numpy as np

    n_classes = len(task.names)
    guess = np.full(len(fold.test), majority_class(task.classes[fold.train], n_classes))
    return measure(task.classes[fold.test], guess, 0.5, n_classes, key=(task.target, task.scheme))


def _warnings(logistic: LogisticProbe, settings: ProbeSettings, effects: list[dict]) -> list[dict]:
    """Return one message for all fits that did not converge, and one for all targets trained on a sample."""
    found = []
    if logistic.n_unconverged:
        values = {"unconverged": logistic.n_unconverged, "fits": logistic.n_fits}
        found.append(message("W-PRB-02", values=values, threshold=logistic.max_iter))
    if effects:
        shown = {f"{e['target']}, {e['scheme']}": f"{e['auroc']:+.4f}, {e['macro_f1']:+.4f}" for e in effects}
        largest = max(e["n_train"] for e in effects)
        found.append(
            message(
                "I-PRB-03",
                n_train=largest,
                half=settings.max_training // 2,
                shown=shown,
                values={"effects": effects},
                threshold=settings.max_training,
            )
        )
    return found
