"""The probe that looks for the batch among the nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData

#: a probe with a larger p value is no better than guessing
PROBE_ALPHA = 0.05


@dataclass(frozen=True)
class Probe:
    """AUROC of a nearest-neighbour probe for the batch (0 to 1, lower is better), and of one trained on permuted
    batches (chance); the smallest p value over seeds, NaN without permutations.
    """

    value: float
    chance: float
    p: float = math.nan

    @property
    def finds_batch(self) -> bool:
        """Whether the probe is better than chance."""
        return self.value > self.chance and not self.p > PROBE_ALPHA


def batch_probes(data: "ReportData", dataset: str) -> dict[tuple[str, str], Probe]:
    """Return the nearest-neighbour probe for the batch by method and correction: AUROC, means over folds and seeds."""
    probing = data.of("probing", dataset)
    chosen = probing[
        (probing["target"] == "batch")
        & (probing["scheme"] == "kfold")
        & (probing["classifier"] == "knn")
        & (probing["metric"] == "auroc")
        & (probing["fold"] == "mean")
        & (probing["group"] == "all")
        & (probing["status"] == "ok")
    ]
    by = chosen.astype({"value": float, "baseline_permuted": float, "p_value": float}).groupby(["method", "correction"])
    found = by.agg(value=("value", "mean"), chance=("baseline_permuted", "mean"), p=("p_value", "min"))
    return {key: Probe(float(r["value"]), float(r["chance"]), float(r["p"])) for key, r in found.iterrows()}
