"""Train/test splits, made once per data set and shared by every embedding.

A split is a table ``cell_id, target, scheme, fold``; ``fold`` is the fold in which the cell is *tested*, it trains
in all others. Two schemes:

``kfold``
    Stratified on the target, shuffled (scikit-learn's ``StratifiedKFold`` on the cells sorted by id). Train and test
    share their batches, so a high score does not show that labels transfer to a new batch.
``leave_one_batch_out``
    Target ``label`` only: the fold is the batch. Predicting a batch that was never seen is not defined.

A combination that is not defined (one label, one batch, fewer cells than folds) has no rows; :func:`why_undefined`
gives the reason code.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.io.tables import CELL_ID
from scfm.registries.messages import message

if TYPE_CHECKING:
    import pandas as pd

TARGETS = ("label", "batch")
KFOLD = "kfold"
LEAVE_ONE_BATCH_OUT = "leave_one_batch_out"
SCHEMES = (KFOLD, LEAVE_ONE_BATCH_OUT)
COLUMNS = [CELL_ID, "target", "scheme", "fold"]

_log = logging.getLogger(__name__)


def scored_cells(obs: "pd.DataFrame") -> "pd.DataFrame":
    """Return the scored rows of the obs table, sorted by cell id.

    Raises
    ------
    ScfmError
        If a column is missing, an id occurs twice, or a scored cell lacks its batch or label.
    """
    missing = [c for c in (CELL_ID, "batch", "label", "scored") if c not in obs.columns]
    if missing:
        raise ScfmError(f"The obs table has no column {', '.join(missing)}; found {list(obs.columns)}.")
    scored = obs.loc[obs["scored"].astype(bool), [CELL_ID, "batch", "label"]].astype({CELL_ID: str})
    repeated = int(scored[CELL_ID].duplicated().sum())
    if repeated:
        raise ScfmError(f"The obs table has {repeated} repeated cell ids; splits need one row per cell.")
    for key in TARGETS:
        absent = int(scored[key].isna().sum())
        if absent:
            raise ScfmError(f"{absent} cells are marked as scored but have no {key}; set 'scored' to false for them.")
    scored = scored.astype({"batch": str, "label": str})
    return scored.sort_values(CELL_ID, kind="stable").reset_index(drop=True)


def why_undefined(scored: "pd.DataFrame", target: str, scheme: str, *, n_folds: int) -> str:
    """Return the reason code why a target cannot be probed under a scheme, or an empty string if it can.

    Codes: ``no_scored_cells``, ``one_label``, ``one_batch``, ``not_defined_for_batch``, ``too_few_cells`` (no class
    has as many cells as there are folds).
    """
    if scored.empty:
        return "no_scored_cells"
    if scheme == LEAVE_ONE_BATCH_OUT and target == "batch":
        return "not_defined_for_batch"
    if scored[target].nunique() < 2:
        return f"one_{target}"
    if scheme == LEAVE_ONE_BATCH_OUT:
        return "one_batch" if scored["batch"].nunique() < 2 else ""
    return "too_few_cells" if scored[target].value_counts().max() < n_folds else ""


def small_classes(obs: "pd.DataFrame", *, n_folds: int) -> list[dict]:
    """Return a warning (``scfm.registries.messages.message``) per target with classes smaller than the number of folds.

    Such a class is missing from some test parts (its F1 is 0 there), and a class of one cell is never learnt.
    """
    scored, found = scored_cells(obs), []
    for target in TARGETS:
        counts = scored[target].value_counts()
        small = {str(name): int(n) for name, n in counts[counts < n_folds].sort_index().items()}
        if small:
            found.append(
                message("W-PRB-01", target=target, n_classes=len(small), sizes=small, values=small, threshold=n_folds)
            )
    return found


def make_splits(obs: "pd.DataFrame", *, n_folds: int, seed: int) -> "pd.DataFrame":
    """Make the probing splits of a data set.

    Parameters
    ----------
    obs
        The obs table: ``cell_id, batch, label, scored``. Row order has no influence.
    n_folds
        Number of folds of the scheme ``kfold``, at least 2.
    seed
        Seed of the shuffling. The study's figures use 5 folds and seed 123.

    Returns
    -------
    Table ``cell_id, target (label|batch), scheme (kfold|leave_one_batch_out), fold`` (all strings), scored cells
    only, each once per defined combination of target and scheme.

    Raises
    ------
    ScfmError
        If ``n_folds`` is below 2 or the obs table is broken (see :func:`scored_cells`).
    """
    import pandas as pd

    if n_folds < 2:
        raise ScfmError(f"Probing needs at least 2 folds; n_folds is {n_folds}.")
    scored = scored_cells(obs)
    for entry in small_classes(obs, n_folds=n_folds):
        _log.warning(entry["text"])
    parts = []
    for target in TARGETS:
        for scheme in SCHEMES:
            if why_undefined(scored, target, scheme, n_folds=n_folds):
                continue
            fold = scored["batch"] if scheme == LEAVE_ONE_BATCH_OUT else _stratified(scored[target], n_folds, seed)
            parts.append(pd.DataFrame({CELL_ID: scored[CELL_ID], "target": target, "scheme": scheme, "fold": fold}))
    if not parts:
        return pd.DataFrame({c: pd.Series(dtype=str) for c in COLUMNS})
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _stratified(classes: "pd.Series", n_folds: int, seed: int) -> "pd.Series":
    """Return the test fold of each cell as text; cells must come sorted by id."""
    import warnings

    import numpy as np
    import pandas as pd
    from sklearn.model_selection import StratifiedKFold

    fold = np.full(len(classes), -1)
    splitter = StratifiedKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # small classes are reported by name in small_classes
        warnings.filterwarnings("ignore", message="The least populated class")
        for number, (_, test) in enumerate(splitter.split(np.zeros(len(classes)), classes.to_numpy())):
            fold[test] = number
    return pd.Series(fold.astype(str), index=classes.index)
