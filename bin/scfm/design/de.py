"""Which design differential expression between conditions can have, chosen from samples, donors and batches."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from scfm.design.confounding import Pair, contrast_rank

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, slots=True)
class DeDesign:
    """The design of differential expression.

    Attributes
    ----------
    design
        ``donor + condition``, ``batch + condition``, ``condition``, or ``none`` where no test has replicates.
    relation
        Relation of the primary batch to the condition.
    reason_code
        ``paired``, ``estimable``, ``not_estimable``, ``no_condition``, ``one_condition`` or ``no_replicates``.
    reason
        A sentence.
    samples
        Samples per condition.
    """

    design: str
    relation: str
    reason_code: str
    reason: str
    samples: dict[str, int]

    def facts(self) -> dict[str, Any]:
        """Return the design for ``<dataset>.design.json``; ``class`` is the relation."""
        found = asdict(self)
        return {"class": found.pop("relation"), **found}


def choose_de_design(obs: "pd.DataFrame", pair: Pair, *, paired: str, reused: bool) -> DeDesign:
    """Choose the design of differential expression.

    Donors are in the model where they were sampled in several conditions, then the batch where every contrast can be
    estimated with it; in both cases with a residual degree of freedom. Else the condition is alone in the model.

    Parameters
    ----------
    obs
        ``sample, batch, condition, donor`` of the cells with a batch, missing values allowed.
    pair
        The primary batch key and the condition.
    paired
        ``true``, ``false`` or empty, as declared.
    reused
        Whether a donor's name stands for several subjects.
    """
    samples = obs[["sample", "batch", "condition", "donor"]].dropna(subset=["sample", "condition"]).drop_duplicates()
    counts = samples.drop_duplicates(["sample", "condition"])["condition"].value_counts().sort_index()
    sizes = {str(level): int(n) for level, n in counts.items()}

    def chosen(design: str, code: str, reason: str) -> DeDesign:
        return DeDesign(design, pair.relation, code, reason, sizes)

    if pair.relation == "not_declared":
        return chosen("none", "no_condition", "No condition_key is declared, so there is nothing to test.")
    if len(sizes) < 2:
        return chosen("none", "one_condition", "All samples are of one condition, so there is nothing to test.")
    if sum(n >= 2 for n in sizes.values()) < 2:
        return chosen(
            "none",
            "no_replicates",
            f"Fewer than two conditions have two samples or more ({_shown(sizes)}): without replicates no p-value can"
            " be given, only ranks and effect sizes.",
        )
    donor, batch = (_blocks(samples, name) for name in ("donor", "batch"))
    if paired != "false" and not reused and donor is not None and _is_estimable(*donor):
        return chosen(
            "donor + condition", "paired", "Donors were sampled in several conditions: each is its own control."
        )
    if batch is not None and _is_estimable(*batch):
        return chosen("batch + condition", "estimable", "Every contrast can be estimated with the batch in the model.")
    return chosen(
        "condition",
        "not_estimable",
        "The condition is alone in the model: with the batch in the model not every contrast can be estimated with a"
        f" degree of freedom left ({pair.relation}), so differences between batches are part of the result.",
    )


def _shown(sizes: dict[str, int]) -> str:
    return ", ".join(f"{level}: {n}" for level, n in sizes.items())


def _blocks(samples: "pd.DataFrame", name: str) -> "tuple[np.ndarray, int] | None":
    """Return samples per block and condition, and the number of samples; None where a sample has no block."""
    import pandas as pd

    rows = samples.drop_duplicates(["sample", name, "condition"])
    if rows[name].isna().any():
        return None
    return pd.crosstab(rows[name], rows["condition"]).to_numpy(), int(rows["sample"].nunique())


def _is_estimable(table: "np.ndarray", n_samples: int) -> bool:
    """Return whether every contrast can be estimated with the blocks in the model, and leaves a degree of freedom."""
    contrasts = table.shape[1] - 1
    return contrast_rank(table) == contrasts and n_samples > table.shape[0] + contrasts
