"""Training health of a model from its loss history: overfitting, convergence, suspicious covariates.

Losses are ELBOs as scvi-tools logs them: lower is better. Every limit is a setting, and its value is stored beside the
number it judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scfm.registries.messages import message

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


VERDICTS = ("fine", "overfit", "not_converged", "unknown")
_MESSAGES = {"overfit": "W-TRN-01", "unknown": "W-TRN-02", "not_converged": "W-TRN-04"}
_PATIENCE = "W-TRN-01/patience"
#: limits that are settings of a method
LIMITS = (
    "max_gap",
    "strong_gap",
    "max_rise",
    "max_patience",
    "min_improvement",
    "max_depth_correlation",
    "max_condition_r2",
)
#: those that the verdict on the losses is judged by
_LOSS_LIMITS = LIMITS[:5]


@dataclass(frozen=True)
class TrainingLimits:
    """Limits that a training is judged by.

    Parameters
    ----------
    max_gap, strong_gap
        Relative distance of validation from training loss at the best epoch above which a training is overfit, and
        strongly so.
    max_rise
        Relative rise of the validation loss after its best epoch above which a training is overfit.
    max_patience
        A longer patience than this excuses no rise: a training that waits for ever would never be overfit.
    min_improvement
        Mean relative fall of the validation loss per epoch over the last ``window`` epochs above which a training that
        was cut at its limit of epochs has not converged.
    window
        See ``min_improvement``.
    max_depth_correlation
        Absolute Spearman correlation of a covariate with the cells' total counts from which it repeats them.
    max_condition_r2
        Share of a covariate that the condition explains above which the covariate takes its place.
    """

    max_gap: float = 0.05
    strong_gap: float = 0.10
    max_rise: float = 0.01
    max_patience: int = 20
    min_improvement: float = 1e-3
    window: int = 10
    max_depth_correlation: float = 0.9
    max_condition_r2: float = 0.5

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "TrainingLimits":
        """Return the limits that the settings of a method have; the default where one is absent."""
        return cls(**{name: settings[name] for name in LIMITS if name in settings})


@dataclass(frozen=True)
class Judgement:
    """The one verdict on a training.

    Attributes
    ----------
    verdict
        One of ``VERDICTS``.
    facts
        Those of :func:`training_facts`.
    limits, max_epochs, patience
        What it was judged by.
    has_risen
        The loss rose by more than ``max_rise`` after its best epoch.
    """

    verdict: str
    facts: dict
    limits: TrainingLimits
    max_epochs: int
    patience: int
    has_risen: bool = False

    @property
    def is_strong(self) -> bool:
        """For ``overfit``: the gap is above ``strong_gap``, or the loss rose."""
        return self.has_risen or self.facts.get("gap", 0) > self.limits.strong_gap

    @property
    def has_waited(self) -> bool:
        """The loss rose while early stopping waited for longer than ``max_patience``."""
        return self.has_risen and self.patience > self.limits.max_patience


def training_facts(history: "pd.DataFrame", limits: TrainingLimits) -> dict:
    """Summarise a loss history.

    Parameters
    ----------
    history
        One row per epoch with ``epoch``, ``elbo_train`` and, where cells were held out, ``elbo_validation``.
    limits
        For the window of the improvement.

    Returns
    -------
    ``epochs_run``; with validation also ``best_epoch`` (1-based), ``gap`` (validation over training loss at the best
    epoch, relative; 0 is ideal, a slightly negative value normal), ``rise`` (last over best validation loss, relative;
    at least 0) and ``improvement`` (mean relative fall per epoch at the end; None for fewer epochs than the window).
    """
    facts: dict = {"epochs_run": len(history)}
    if "elbo_validation" not in history or history["elbo_validation"].isna().all():
        return facts
    validation = history["elbo_validation"].to_numpy(dtype=float)
    train = history["elbo_train"].to_numpy(dtype=float)
    best = int(validation.argmin())
    facts["best_epoch"] = best + 1
    facts["gap"] = float((validation[best] - train[best]) / abs(train[best]))
    facts["rise"] = float((validation[-1] - validation[best]) / abs(validation[best]))
    facts["improvement"] = None
    if len(validation) > limits.window:
        start, end = validation[-1 - limits.window], validation[-1]
        facts["improvement"] = float((start - end) / abs(start) / limits.window)
    return facts


def judge_training(
    history: "pd.DataFrame", *, max_epochs: int, patience: int | None, limits: TrainingLimits | None = None
) -> Judgement:
    """Give one verdict on a training.

    ``unknown``: no cells were held out. ``overfit``: the gap is above ``max_gap``, or the loss rose by more than
    ``max_rise`` after a best epoch that lies further back than the patience, of which ``max_patience`` counts.
    ``not_converged``: it was cut at its limit of epochs while the loss still fell by more than ``min_improvement`` per
    epoch. ``fine``: none of these. Where a training is both overfit and not converged it is overfit: more epochs widen
    the gap.

    Parameters
    ----------
    history
        See :func:`training_facts`.
    max_epochs
        Limit of epochs of the run.
    patience
        Epochs without improvement after which training stops; None or 0 without early stopping.
    limits
        Limits; the defaults if None.
    """
    limits, patience = limits or TrainingLimits(), patience or 0
    facts = training_facts(history, limits)
    if "gap" not in facts:
        return Judgement("unknown", facts, limits, max_epochs, patience)
    risen = facts["rise"] > limits.max_rise and facts["best_epoch"] < facts["epochs_run"] - min(
        patience, limits.max_patience
    )
    is_cut = facts["epochs_run"] >= max_epochs
    if facts["gap"] > limits.max_gap or risen:
        verdict = "overfit"
    elif is_cut and facts["improvement"] is not None and facts["improvement"] > limits.min_improvement:
        verdict = "not_converged"
    else:
        verdict = "fine"
    return Judgement(verdict, facts, limits, max_epochs, patience, has_risen=risen)


def training_messages(judgement: Judgement, *, dataset: str, method: str, seed: int) -> list[dict]:
    """Return the message of a verdict: W-TRN-01 overfit, with a case for early stopping that waited too long, W-TRN-02
    unknown, W-TRN-04 not converged; none if fine.
    """
    if judgement.verdict == "fine":
        return []
    facts, limits = judgement.facts, judgement.limits
    parts: dict = {"max_epochs": judgement.max_epochs} if judgement.verdict == "not_converged" else {}
    if judgement.has_waited:
        parts = {"patience": judgement.patience, "limit": limits.max_patience}
    elif judgement.verdict == "overfit":
        parts["verb"] = "memorises" if judgement.is_strong else "begins to memorise"
    return [
        message(
            _PATIENCE if judgement.has_waited else _MESSAGES[judgement.verdict],
            dataset=dataset,
            method=method,
            seed=seed,
            values={**facts, "verdict": judgement.verdict},
            threshold={name: getattr(limits, name) for name in _LOSS_LIMITS},
            **parts,
        )
    ]


def coverage_warnings(
    n_train: int, batch_size: int, limit: int | None, *, dataset: str, method: str, seed: int
) -> list[dict]:
    """Return W-TRN-03 where an epoch does not see all training cells.

    Parameters
    ----------
    n_train
        Training cells.
    batch_size
        Cells per minibatch.
    limit
        Minibatches per epoch at most; None for all.
    """
    seen = n_train if limit is None else min(n_train, limit * batch_size)
    if seen >= n_train:
        return []
    values = {"limit": limit, "batch_size": batch_size, "seen": seen, "n_train": n_train, "coverage": seen / n_train}
    return [message("W-TRN-03", dataset=dataset, method=method, seed=seed, values=values, threshold=1.0)]


def covariate_warnings(
    covariates: "pd.DataFrame",
    total_counts: "np.ndarray",
    *,
    dataset: str,
    method: str,
    condition: "pd.Series | None" = None,
    limits: TrainingLimits | None = None,
) -> list[dict]:
    """Warn of covariates that repeat the depth of the cells (W-TRN-05), which a count model holds already, and of those
    that follow the condition (W-TRN-07).

    Parameters
    ----------
    covariates
        Covariates, one column each, n_cells rows; numbers are continuous, all else is levels.
    total_counts
        Counts per cell, shape (n_cells,).
    condition
        Condition per cell, missing allowed; None where it is not declared.
    limits
        ``max_depth_correlation`` and ``max_condition_r2`` are read; the defaults if None.
    """
    import pandas as pd

    limits = limits or TrainingLimits()
    about = {"dataset": dataset, "method": method}
    found = []
    depth = pd.Series(total_counts, index=covariates.index).rank()
    for name in covariates.columns:
        values = covariates[name]
        if pd.api.types.is_numeric_dtype(values.dtype):
            correlation = float(values.rank().corr(depth))
            if abs(correlation) >= limits.max_depth_correlation:
                numbers = {"covariate": name, "spearman": correlation}
                found.append(message("W-TRN-05", **about, values=numbers, threshold=limits.max_depth_correlation))
        share = None if condition is None else _explained(values, condition)
        if share is not None and share > limits.max_condition_r2:
            numbers = {"covariate": name, "share": share}
            found.append(message("W-TRN-07", **about, values=numbers, threshold=limits.max_condition_r2))
    return found


def _explained(values: "pd.Series", condition: "pd.Series") -> float | None:
    """Return the share of a covariate's variance that the condition explains (R2), of levels the share of the condition
    that they explain (Theil's U); None where one of them is constant.
    """
    import pandas as pd

    from scfm.design.confounding import theils_u
    from scfm.design.strength import columns_of, r_squared

    both = values.notna().to_numpy() & condition.notna().to_numpy()
    values, condition = values[both], condition[both]
    if len(values.unique()) < 2 or len(condition.unique()) < 2:
        return None
    if pd.api.types.is_numeric_dtype(values.dtype):
        return float(r_squared(values.to_numpy(dtype=float)[:, None], [columns_of(condition)])[0])
    return theils_u(pd.crosstab(values.to_numpy(dtype=object), condition.to_numpy(dtype=object)).to_numpy())
