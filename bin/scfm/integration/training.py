"""Training health of a model from its loss history: overfitting, convergence, suspicious covariates.

Losses are ELBOs as scvi-tools logs them: lower is better. Every threshold is a default of ours and is stored beside
the value it judges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.registries.messages import message

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class TrainingLimits:
    """Limits that training is judged by.

    Parameters
    ----------
    gap, strong_gap
        Relative distance of validation from training loss at the best epoch.
    rise
        Relative rise of the validation loss after its best epoch.
    improvement
        Mean relative fall of the validation loss per epoch over the last ``window`` epochs.
    depth_correlation
        Absolute Spearman correlation of a covariate with the cells' total counts.
    """

    gap: float = 0.05
    strong_gap: float = 0.10
    rise: float = 0.01
    improvement: float = 1e-3
    window: int = 10
    depth_correlation: float = 0.9


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


def training_warnings(
    history: "pd.DataFrame",
    *,
    max_epochs: int,
    patience: int | None,
    dataset: str,
    method: str,
    limits: TrainingLimits | None = None,
) -> list[dict]:
    """Judge a training run (codes W-TRN-01, W-TRN-02, W-TRN-04).

    Parameters
    ----------
    history
        See :func:`training_facts`.
    max_epochs
        Limit of epochs of the run.
    patience
        Epochs without improvement after which training stops; None or 0 without early stopping.
    """
    limits = limits or TrainingLimits()
    facts = training_facts(history, limits)
    about = {"dataset": dataset, "method": method}
    if "gap" not in facts:
        return [message("W-TRN-02", **about, values=facts)]
    found = []
    risen = facts["rise"] > limits.rise and facts["best_epoch"] < facts["epochs_run"] - (patience or 0)
    if facts["gap"] > limits.gap or risen:
        found.append(
            message(
                "W-TRN-01",
                **about,
                verb="memorises" if facts["gap"] > limits.strong_gap or risen else "begins to memorise",
                values=facts,
                threshold={"gap": limits.gap, "strong_gap": limits.strong_gap, "rise": limits.rise},
            )
        )
    if (
        facts["epochs_run"] >= max_epochs
        and facts["improvement"] is not None
        and facts["improvement"] > limits.improvement
    ):
        found.append(message("W-TRN-04", **about, max_epochs=max_epochs, values=facts, threshold=limits.improvement))
    return found


def covariate_warnings(
    covariates: "pd.DataFrame",
    total_counts: "np.ndarray",
    *,
    dataset: str,
    method: str,
    limits: TrainingLimits | None = None,
) -> list[dict]:
    """Warn of covariates that repeat the depth of the cells (W-TRN-05), which a count model holds already.

    Parameters
    ----------
    covariates
        Continuous covariates, one column each, n_cells rows.
    total_counts
        Counts per cell, shape (n_cells,).
    """
    import pandas as pd

    limits = limits or TrainingLimits()
    found = []
    depth = pd.Series(total_counts, index=covariates.index).rank()
    for name in covariates.columns:
        correlation = float(covariates[name].rank().corr(depth))
        if abs(correlation) >= limits.depth_correlation:
            found.append(
                message(
                    "W-TRN-05",
                    dataset=dataset,
                    method=method,
                    values={"covariate": name, "spearman": correlation},
                    threshold=limits.depth_correlation,
                )
            )
    return found
