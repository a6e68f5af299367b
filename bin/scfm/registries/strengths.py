"""``assets/strengths.tsv``: parameters that order the points of a sweep by how strongly they correct."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scfm.registries.reader import ASSETS, read_registry


@dataclass(frozen=True, slots=True)
class Strength:
    """One row of ``assets/strengths.tsv``; each field is explained in ``assets/schema_strengths.json``."""

    name: str
    stronger: str
    description: str


def load_strengths(path: Path | str | None = None) -> dict[str, Strength]:
    """Load and check the table, ``assets/strengths.tsv`` of this checkout by default; see
    :func:`scfm.registries.reader.read_registry`.
    """
    rows = read_registry(Path(path) if path else ASSETS / "strengths.tsv", kind="strength")
    return {name: Strength(**row) for name, row in rows.items()}
