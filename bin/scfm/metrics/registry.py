"""The metrics table: which metrics exist, in which profiles they run, and which function computes each."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scfm.errors import ScfmError
from scfm.metrics.inputs import MetricInputs
from scfm.metrics.results import MetricResult
from scfm.registries.reader import ASSETS, read_registry

PROFILES = ("paper", "standard", "full")


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of ``assets/metrics.tsv``; the meaning of each field is written in ``assets/schema_metrics.json``."""

    name: str
    title: str
    group: str
    profile: tuple[str, ...]
    higher_is_better: bool
    range: str
    in_total: tuple[str, ...]
    clusters_or_tests: bool
    needs: tuple[str, ...]
    anchor_low: str
    anchor_high: str
    code: str
    reference: str
    definition: str
    limitations: str

    def function(self) -> Callable[[MetricInputs], MetricResult]:
        """Import and return the function of the column ``code``."""
        module, name = self.code.split(".")
        return getattr(importlib.import_module(f"scfm.metrics.{module}"), name)


def load_metrics(path: Path | str | None = None) -> dict[str, Metric]:
    """Load and check the metrics table, ``assets/metrics.tsv`` of this checkout by default; see
    :func:`scfm.registries.methods.read_registry`.
    """
    rows = read_registry(Path(path) if path else ASSETS / "metrics.tsv", kind="metric")
    return {name: Metric(**row) for name, row in rows.items()}


def metrics_of(metrics: dict[str, Metric], profile: str) -> list[Metric]:
    """Return the metrics of a profile, in the order of the table; raise :class:`ScfmError` for an unknown profile."""
    if profile not in PROFILES:
        raise ScfmError(f"Unknown metrics profile '{profile}'. Known: {', '.join(PROFILES)}.")
    return [m for m in metrics.values() if profile in m.profile]
