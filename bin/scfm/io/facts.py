"""What streaming through the values of a matrix tells: the one tally of what can't be a raw count."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from scfm.io.matrix import Matrix

#: fractional values that stay under this limit may be logarithms (practitioners' rule D1)
LOG_MAX = 25.0
#: float32, in which counts are computed with, holds every whole number up to this one
LARGEST = 2**24
#: totals that differ by less than this (standard deviation over mean) are one total
SAME_TOTAL = 0.01


@dataclass(frozen=True, slots=True)
class MatrixFacts:
    """What streaming through a matrix found.

    Attributes
    ----------
    source
        ``layers/<name>``, ``raw`` or ``X``.
    storage
        ``csr``, ``csc`` or ``dense``.
    shape
        Cells, genes.
    n_stored
        Values looked at (stored values of a sparse matrix).
    n_nan, n_infinite, n_negative, n_fractional, n_large
        How many of them are of that kind; fractional: finite and not whole; large: above 16,777,216.
    maximum
        Largest finite value.
    max_fraction
        Largest distance of a finite value from the next whole number, 0 to 0.5.
    example
        A fractional value; 0 if there is none.
    logged
        Whether they are certainly logarithms (:func:`scfm.io.counts.is_logged`).
    total
        Total of every cell where all cells have (nearly) the same, else None.
    """

    source: str
    storage: str
    shape: tuple[int, int]
    n_stored: int = 0
    n_nan: int = 0
    n_infinite: int = 0
    n_negative: int = 0
    n_fractional: int = 0
    n_large: int = 0
    maximum: float = 0.0
    max_fraction: float = 0.0
    example: float = 0.0
    logged: bool = False
    total: float | None = None

    @property
    def is_count(self) -> bool:
        """Whether the matrix holds whole, non-negative, finite numbers that float32 can hold, not all of them zero."""
        odd = self.n_nan or self.n_infinite or self.n_negative or self.n_fractional or self.n_large
        return self.maximum > 0 and not odd

    @property
    def looks_logged(self) -> bool:
        """Whether the values may be logarithms: fractional and none above 25."""
        return self.n_fractional > 0 and self.maximum <= LOG_MAX

    def is_usable(self, *, round_counts: bool) -> bool:
        """Whether the matrix can serve as counts, after rounding if that is allowed."""
        return self.is_count or (round_counts and not self.logged and replace(self, n_fractional=0).is_count)

    @classmethod
    def of(cls, matrix: Matrix) -> "MatrixFacts":
        """Return the facts of a matrix of which no value was looked at."""
        return cls(matrix.source, matrix.storage, matrix.shape)


def tally(facts: MatrixFacts, block: "np.ndarray") -> MatrixFacts:
    """Return the facts with one more block of values counted in."""
    import numpy as np

    values = np.asarray(block).ravel()
    if values.size == 0:
        return facts
    if values.dtype.kind in "bui":
        return replace(
            facts,
            n_stored=facts.n_stored + values.size,
            n_negative=facts.n_negative + (int((values < 0).sum()) if values.dtype.kind == "i" else 0),
            n_large=facts.n_large + (int((values > LARGEST).sum()) if values.dtype.itemsize > 2 else 0),
            maximum=max(facts.maximum, float(values.max())),
        )
    nan, infinite = np.isnan(values), np.isinf(values)
    finite = values[~(nan | infinite)] if nan.any() or infinite.any() else values
    distance = np.abs(finite - np.rint(finite))
    example = facts.example
    if not example and distance.size and distance.max() > 0:
        example = float(finite[int(np.argmax(distance > 0))])
    return replace(
        facts,
        n_stored=facts.n_stored + values.size,
        n_nan=facts.n_nan + int(nan.sum()),
        n_infinite=facts.n_infinite + int(infinite.sum()),
        n_negative=facts.n_negative + int((finite < 0).sum()),
        n_fractional=facts.n_fractional + int((distance > 0).sum()),
        n_large=facts.n_large + int((finite > LARGEST).sum()),
        maximum=max(facts.maximum, float(finite.max())) if finite.size else facts.maximum,
        max_fraction=max(facts.max_fraction, float(distance.max())) if finite.size else facts.max_fraction,
        example=example,
    )


def common_total(totals: "np.ndarray") -> float | None:
    """Return the mean of totals that are all nearly the same, among cells that have any; None if they differ.

    Ten cells or more with a mean above 100 are needed: small totals are the same by chance.
    """
    found = totals[totals > 0]
    if len(found) < 10 or found.mean() <= 100 or found.std() > SAME_TOTAL * found.mean():
        return None
    return float(found.mean())
