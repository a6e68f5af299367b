"""How evenly cells and labels are spread over the batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scfm.design.limits import DesignLimits
from scfm.preparation.design import composition_distance, effective_share
from scfm.registries.messages import message

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Balance:
    """Balance of the batches.

    Attributes
    ----------
    size_ratio
        Largest over smallest batch, 1 or more.
    effective
        exp(entropy of the batch sizes) over their number, above 0 to 1.
    js_distance
        Mean pairwise Jensen-Shannon distance of the batches' label proportions, 0 to 1.
    effective_by_label, batches_by_label
        The same share, and the number of batches, of the cells of every label.
    absent
        Number of labels that every batch lacks.
    """

    size_ratio: float
    effective: float
    js_distance: float
    effective_by_label: dict[str, float] = field(default_factory=dict)
    batches_by_label: dict[str, int] = field(default_factory=dict)
    absent: dict[str, int] = field(default_factory=dict)


def measure_balance(batch: "pd.Series", label: "pd.Series") -> Balance | None:
    """Return the balance of the scored cells; None with fewer than two batches.

    Parameters
    ----------
    batch, label
        Of the scored cells, no missing values.
    """
    import pandas as pd

    table = pd.crosstab(batch.astype(str), label.astype(str))
    if len(table) < 2:
        return None
    sizes = table.sum(axis=1)
    return Balance(
        size_ratio=float(sizes.max() / sizes.min()),
        effective=effective_share(sizes.to_numpy()),
        js_distance=composition_distance(table.to_numpy()),
        effective_by_label={str(name): effective_share(table[name].to_numpy()) for name in table},
        batches_by_label={str(name): int((table[name] > 0).sum()) for name in table},
        absent={str(b): int(n) for b, n in (table == 0).sum(axis=1).items()},
    )


def balance_messages(balance: Balance, limits: DesignLimits) -> list[dict]:
    """Return W-BAL-01 if batch sizes or compositions are beyond a limit, and W-BAL-02 for labels in few batches."""
    n_batches, n_labels = len(balance.absent), len(balance.effective_by_label)
    reasons = []
    if balance.size_ratio > limits.max_size_ratio:
        reasons.append(f"batch sizes differ {balance.size_ratio:.3g}-fold (limit {limits.max_size_ratio:.3g})")
    if balance.effective < limits.min_effective:
        reasons.append(
            f"the effective number of batches is {balance.effective:.2f} of {n_batches} (limit {limits.min_effective})"
        )
    if balance.js_distance > limits.max_js:
        reasons.append(
            f"label proportions differ between batches (Jensen-Shannon distance {balance.js_distance:.2f}, limit"
            f" {limits.max_js})"
        )
    found = []
    if reasons:
        worst = max(balance.absent, key=lambda b: balance.absent[b])
        n_absent = balance.absent[worst]
        text = "; ".join(reasons)
        found.append(
            message(
                "W-BAL-01",
                reasons=f"{text[0].upper()}{text[1:]}",
                absent=f" {n_absent} of {n_labels} labels are missing in '{worst}'." if n_absent else "",
                values={
                    "size_ratio": balance.size_ratio,
                    "effective_share": balance.effective,
                    "js_distance": balance.js_distance,
                    "labels_missing": balance.absent,
                },
                threshold={
                    "size_ratio": limits.max_size_ratio,
                    "effective_share": limits.min_effective,
                    "js_distance": limits.max_js,
                },
            )
        )
    uneven = {
        name: share
        for name, share in balance.effective_by_label.items()
        if share < limits.min_effective and balance.batches_by_label[name] > 1
    }
    if uneven:
        found.append(
            message(
                "W-BAL-02", labels=list(uneven), n_labels=len(uneven), values=uneven, threshold=limits.min_effective
            )
        )
    return found
