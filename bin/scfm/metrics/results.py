"""What a metric gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scfm.errors import NotApplicable
from scfm.metrics.evaluated import combined_error


@dataclass(frozen=True)
class Score:
    """One value, or the reason why there is none.

    Attributes
    ----------
    value
        The value; None where it is not defined.
    n_cells
        Cells it is computed from.
    reason
        Reason code; empty where there is a value.
    spread
        Largest minus smallest value over the seeds of a clustering, whose median ``value`` is; None without seeds.
    stderr
        Standard error of ``value`` where it is computed from a sample of the cells; None where from all.
    """

    value: float | None
    n_cells: int
    reason: str = ""
    spread: float | None = None
    stderr: float | None = None

    @classmethod
    def of_seeds(cls, values: "Sequence[float]", n_cells: int) -> "Score":
        """Return the median and the spread of the values of several seeds; one seed has no spread."""
        import statistics

        spread = max(values) - min(values) if len(values) > 1 else None
        return cls(statistics.median(values), n_cells, spread=spread)


@dataclass(frozen=True)
class MetricResult:
    """The value over all cells, and its parts by label where the metric has such."""

    overall: Score
    by_label: Mapping[str, Score] = field(default_factory=dict)


def mean_over_labels(by_label: Mapping[str, Score], what: str) -> MetricResult:
    """Return the plain mean of the labels that have a value; raise :class:`NotApplicable` where none has.

    Parameters
    ----------
    by_label
        Values and reasons per label.
    what
        Name of the metric, for the sentence.
    """
    import numpy as np

    known = {name: s for name, s in by_label.items() if s.value is not None}
    if not known:
        reasons = sorted({s.reason for s in by_label.values()})
        raise NotApplicable(f"{what} has no value in any label ({', '.join(reasons)}).", reasons[0])
    mean = float(np.mean([s.value for s in known.values()]))
    error = combined_error({name: s.stderr for name, s in known.items()})
    return MetricResult(Score(mean, sum(s.n_cells for s in known.values()), stderr=error), by_label)
