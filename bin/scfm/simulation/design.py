"""What a simulated data set is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from scfm.errors import ScfmError
from scfm.simulation.programmes import Programme, named_genes, programmes_of
from scfm.text import did_you_mean

#: how batches lie to donors and conditions: drawn alone; a batch has one condition; a donor has one batch; every donor
#: is a batch; every sample (donor and condition) is a batch
NESTINGS = ("none", "batch_in_condition", "donor_in_batch", "batch_is_donor", "batch_is_sample")


@dataclass(frozen=True)
class Design:
    """Sizes and effects of a simulated data set.

    Effects are standard deviations of log fold changes, drawn per gene; 0 leaves an effect out.

    Attributes
    ----------
    n_cells, n_genes
        Cells and genes.
    n_types, n_batches, n_conditions, n_donors
        Levels of the factors; donors are per condition, or in all conditions where they are paired.
    paired
        Whether every donor is in every condition.
    nesting
        One of :data:`NESTINGS`.
    batch_shares
        Share of the cells in every batch, shape (n_batches,); equal by default.
    type_shares
        Share of the cells in every type, shape (n_types,); equal by default.
    composition
        Share of the types in every batch, shape (n_batches, n_types); ``type_shares`` by default. Rows sum to 1.
    donor_types
        Pairs of a type and the only donor that has it; cells of other donors are of the remaining types.
    type_effect, batch_effect, condition_effect, donor_effect
        Effects on the genes that respond.
    type_genes, condition_genes
        Share of the genes that respond to type or condition; all respond to batch and donor.
    responding_types
        Types that respond to the condition; all by default.
    programmes
        Planted genes in chosen cells: differences between conditions, activation, genes of one sex.
    ambient_shares
        Share of ambient counts in the cells of every batch, shape (n_batches,); none by default.
    depth, depth_spread
        Median total counts of a cell, and the standard deviation of their logarithms.
    batch_depth
        Factor on the depth in every batch, shape (n_batches,); 1 by default.
    dispersion
        Dispersion phi of the counts: variance = mean + phi mean^2; 0 is Poisson.
    gene_spread
        Standard deviation of the log expression of genes.
    """

    n_cells: int = 1000
    n_genes: int = 1000
    n_types: int = 4
    n_batches: int = 2
    n_conditions: int = 1
    n_donors: int = 3
    paired: bool = False
    nesting: str = "none"
    batch_shares: Sequence[float] | None = None
    type_shares: Sequence[float] | None = None
    composition: Sequence[Sequence[float]] | None = None
    donor_types: Sequence[Sequence[int]] = ()
    type_effect: float = 1.0
    batch_effect: float = 0.3
    condition_effect: float = 0.0
    donor_effect: float = 0.1
    type_genes: float = 0.2
    condition_genes: float = 0.1
    responding_types: Sequence[int] | None = None
    programmes: Sequence[Programme] = ()
    ambient_shares: Sequence[float] | None = None
    depth: float = 2000.0
    depth_spread: float = 0.3
    batch_depth: Sequence[float] | None = None
    dispersion: float = 0.1
    gene_spread: float = 1.5

    def __post_init__(self) -> None:
        """Refuse what makes no data set; raise :class:`ScfmError` with every error."""
        errors = self._number_errors() or [*self._shape_errors(), *self._level_errors(), *self._programme_errors()]
        if errors:
            raise ScfmError(f"The simulated design is not possible: {'; '.join(errors)}.")

    @property
    def all_donors(self) -> int:
        """Number of donors in all conditions."""
        return self.n_donors if self.paired else self.n_donors * self.n_conditions

    def _number_errors(self) -> list[str]:
        """Return a sentence per number out of its range."""
        counts = ("n_cells", "n_genes", "n_types", "n_batches", "n_conditions", "n_donors")
        given = {n: getattr(self, n) for n in counts}
        found = [
            f"{n} is {value}, expected a whole number of 1 or more"
            for n, value in given.items()
            if not isinstance(value, int) or value < 1
        ]
        sizes = ("type_effect", "batch_effect", "condition_effect", "donor_effect", "depth_spread", "gene_spread")
        found += [
            f"{n} is {getattr(self, n)}, expected 0 or more"
            for n in (*sizes, "dispersion")
            if not 0 <= getattr(self, n) < float("inf")
        ]
        found += [
            f"{n} is {getattr(self, n)}, expected 0 to 1"
            for n in ("type_genes", "condition_genes")
            if not 0 <= getattr(self, n) <= 1
        ]
        if not 0 < self.depth < float("inf"):
            found.append(f"depth is {self.depth}, expected more than 0")
        return found

    def _shape_errors(self) -> list[str]:
        """Return a sentence per list that does not fit the levels."""
        found = []
        rows = [("batch_shares", self.batch_shares, self.n_batches), ("type_shares", self.type_shares, self.n_types)]
        composition = self.composition if self.composition is not None else []
        if self.composition is not None and len(composition) != self.n_batches:
            found.append(f"composition has {len(composition)} rows, expected {self.n_batches}, one per batch")
        rows += [(f"row {i + 1} of composition", row, self.n_types) for i, row in enumerate(composition)]
        for name, shares, n in rows:
            if shares is not None and (len(shares) != n or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6):
                found.append(f"{name} is {list(shares)}, expected {n} shares that sum to 1")
        factors = self.batch_depth
        if factors is not None and (len(factors) != self.n_batches or min(factors) <= 0):
            found.append(f"batch_depth is {list(factors)}, expected {self.n_batches} positive factors")
        ambient = self.ambient_shares
        if ambient is not None and (len(ambient) != self.n_batches or not all(0 <= a < 1 for a in ambient)):
            found.append(f"ambient_shares is {list(ambient)}, expected {self.n_batches} shares from 0 to below 1")
        return found

    def _level_errors(self) -> list[str]:
        """Return a sentence per level that does not exist, and about numbers that do not fit the nesting."""
        found = []
        wrong = [t for t in self.responding_types or () if not 0 <= t < self.n_types]
        if wrong:
            found.append(f"responding_types names {wrong}, expected 0 to {self.n_types - 1}")
        if self.nesting not in NESTINGS:
            found.append(f"nesting is '{self.nesting}', expected {', '.join(NESTINGS)}")
        samples = self.n_donors * self.n_conditions
        needed = {"batch_is_donor": self.all_donors, "batch_is_sample": samples}.get(self.nesting, self.n_batches)
        if self.n_batches != needed:
            found.append(f"n_batches is {self.n_batches}, expected {needed} where nesting is {self.nesting}")
        if self.nesting == "batch_in_condition" and self.n_batches < self.n_conditions:
            found.append(f"n_batches is {self.n_batches}, expected {self.n_conditions} or more, one per condition")
        if self.nesting == "donor_in_batch" and self.all_donors < self.n_batches:
            found.append(f"there are {self.all_donors} donors for {self.n_batches} batches, expected one per batch")
        pairs = [list(pair) for pair in self.donor_types]
        if any(len(p) != 2 or p[0] not in range(self.n_types) or p[1] not in range(self.all_donors) for p in pairs):
            found.append(
                f"donor_types is {pairs}, expected pairs of a type (0 to {self.n_types - 1}) and a donor "
                f"(0 to {self.all_donors - 1})"
            )
        elif len({p[0] for p in pairs}) < len(pairs) or len(pairs) >= self.n_types:
            found.append(f"donor_types is {pairs}, expected different types, and one type left for the other donors")
        else:
            rows = [row for row in (self.type_shares, *(self.composition or ())) if row is not None]
            owned = {p[0] for p in pairs}
            if owned and any(sum(share for t, share in enumerate(row) if t not in owned) <= 0 for row in rows):
                found.append(f"donor_types is {pairs}, and a batch has no other type for the cells of other donors")
        return found

    def _programme_errors(self) -> list[str]:
        """Return a sentence per error of a programme."""
        levels = {
            "types": self.n_types,
            "batches": self.n_batches,
            "conditions": self.n_conditions,
            "donors": self.all_donors,
        }
        found = [error for programme in self.programmes for error in programme.errors(levels)]
        names = [programme.name for programme in self.programmes]
        if len(set(names)) < len(names):
            found.append(f"programmes are named {names}, expected different names")
        if not found and len(named_genes(self.programmes)) > self.n_genes:
            found.append(f"the programmes name more genes than n_genes, {self.n_genes}")
        return found


def design_of(given: Mapping[str, Any], **more: Any) -> Design:
    """Return the design with the fields given.

    Parameters
    ----------
    given
        Fields of :class:`Design` by name, as read from JSON.
    more
        Fields that win over ``given``.

    Raises
    ------
    ScfmError
        A field is unknown, of a wrong kind, or out of its range.
    """
    if not isinstance(given, Mapping):
        raise ScfmError(f"A simulated design is an object of fields by name; found {type(given).__name__}.")
    known = {field.name: field for field in fields(Design)}
    unknown = [name for name in given if name not in known]
    if unknown:
        hints = "".join(did_you_mean(str(name), list(known)) for name in unknown)
        raise ScfmError(f"Unknown fields of a simulated design: {', '.join(map(str, unknown))}.{hints}")
    try:
        programmes = programmes_of(given.get("programmes", ()))
        return Design(**{**given, "programmes": programmes, **more})
    except TypeError as error:
        raise ScfmError(f"A field of the simulated design is of a wrong kind: {error}.") from error
