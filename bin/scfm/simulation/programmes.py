"""Programmes of a simulated data set: genes that differ in chosen cells only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from scfm.errors import ScfmError
from scfm.text import did_you_mean

#: fields of a programme that say who expresses it -> column of obs
FACTORS = {"types": "cell_type", "batches": "batch", "conditions": "condition", "donors": "donor"}
_NAME = re.compile(r"^[A-Za-z0-9_]+$")


@dataclass(frozen=True)
class Programme:
    """Genes with a planted log fold change in the cells that fit all of the levels given.

    Attributes
    ----------
    name
        Letters, digits and ``_``; it names columns of obs and var.
    genes
        Gene symbols, all raised; or a number of unnamed genes of the upper half of expression, in turn raised and
        lowered.
    size
        Log fold change (natural logarithm), more than 0.
    types, batches, conditions, donors
        Numbers of the levels whose cells express it; all by default.
    """

    name: str
    genes: Sequence[str] | int
    size: float = 1.0
    types: Sequence[int] | None = None
    batches: Sequence[int] | None = None
    conditions: Sequence[int] | None = None
    donors: Sequence[int] | None = None

    def errors(self, levels: Mapping[str, int]) -> list[str]:
        """Return a sentence per error; ``levels`` has the number of levels of every field of :data:`FACTORS`."""
        what = f"programme '{self.name}'"
        found = [] if _NAME.match(str(self.name)) else [f"{what}: expected a name of letters, digits and '_'"]
        if isinstance(self.genes, int):
            is_good = self.genes >= 1
        else:
            is_good = not isinstance(self.genes, str) and 0 < len(set(self.genes)) == len(self.genes)
        if not is_good:
            found.append(f"{what}: genes is {self.genes!r}, expected 1 or more, or a list of different symbols")
        if not 0 < self.size < float("inf"):
            found.append(f"{what}: size is {self.size}, expected more than 0")
        for name, n in levels.items():
            wrong = [level for level in getattr(self, name) or () if level not in range(n)]
            if wrong:
                found.append(f"{what}: {name} names {wrong}, expected 0 to {n - 1}")
        return found


def programmes_of(given: Sequence[Mapping[str, Any] | Programme]) -> tuple[Programme, ...]:
    """Return programmes from objects as read from JSON; raise :class:`ScfmError` for an unknown or missing field."""
    known = [field.name for field in fields(Programme)]
    found = []
    for item in given:
        if isinstance(item, Programme):
            found.append(item)
            continue
        unknown = [key for key in item if key not in known]
        if unknown:
            raise ScfmError(f"A programme has no field '{unknown[0]}'.{did_you_mean(unknown[0], known)}")
        absent = [key for key in ("name", "genes") if key not in item]
        if absent:
            raise ScfmError(f"A programme lacks the field '{absent[0]}'; expected name and genes at least.")
        found.append(Programme(**item))
    return tuple(found)


def named_genes(programmes: Sequence[Programme]) -> list[str]:
    """Return the symbols that the programmes name, each once; they are the first genes of the data set."""
    return list(dict.fromkeys(g for p in programmes if not isinstance(p.genes, int) for g in p.genes))
