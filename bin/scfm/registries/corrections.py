"""``assets/corrections.tsv``: which corrections of a finished embedding exist, and what each uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scfm.registries.reader import ASSETS, read_registry


@dataclass(frozen=True, slots=True)
class Correction:
    """One row of ``assets/corrections.tsv``; each field is explained in ``assets/schema_corrections.json``."""

    name: str
    title: str
    needs_labels: bool
    stochastic: bool
    parameters: str
    reference: str
    description: str


def load_corrections(path: Path | str | None = None) -> dict[str, Correction]:
    """Load and check the corrections table, ``assets/corrections.tsv`` of this checkout by default; see
    :func:`scfm.registries.reader.read_registry`.
    """
    rows = read_registry(Path(path) if path else ASSETS / "corrections.tsv", kind="correction")
    return {name: Correction(**row) for name, row in rows.items()}
