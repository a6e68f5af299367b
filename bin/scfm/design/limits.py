"""The limits that a design is judged by; each is a parameter and is written beside the value that it judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scfm.task.settings import given


@dataclass(frozen=True, slots=True)
class DesignLimits:
    """Limits of the design checks; ``--design_<name>`` sets them.

    Attributes
    ----------
    min_samples
        Fewer samples than this: no association coefficient.
    strong
        Theil's U or Cramer's V from which an association is strong.
    moderate
        The same for moderate.
    max_size_ratio
        Largest over smallest batch, in cells.
    min_effective
        Smallest effective share of batches, exp(entropy) over their number.
    max_js
        Largest mean Jensen-Shannon distance between the batches' label proportions.
    negligible, mild, clear
        Share of the variance explained by the batch (principal component regression) below which its effect is
        negligible, mild and clear; above, it is dominant.
    """

    min_samples: int = 6
    strong: float = 0.8
    moderate: float = 0.5
    max_size_ratio: float = 10.0
    min_effective: float = 0.5
    max_js: float = 0.5
    negligible: float = 0.02
    mild: float = 0.1
    clear: float = 0.3

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> "DesignLimits":
        """Return the limits that parameters set; the default where one is absent."""
        return cls(**given(params, "design_", cls.__dataclass_fields__))

    def strength(self, share: float) -> str:
        """Return the band of a share of variance: ``negligible``, ``mild``, ``clear`` or ``dominant``."""
        bands = (("negligible", self.negligible), ("mild", self.mild), ("clear", self.clear))
        return next((name for name, limit in bands if share < limit), "dominant")

    def association(self, value: float) -> str:
        """Return the band of an association coefficient: ``weak``, ``moderate`` or ``strong``."""
        return "strong" if value >= self.strong else "moderate" if value >= self.moderate else "weak"
