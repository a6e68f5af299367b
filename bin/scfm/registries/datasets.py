"""The catalogue of the study's data sets: which files, which keys, and what their batches really are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scfm.errors import ScfmError
from scfm.registries.reader import ASSETS, read_registry
from scfm.text import did_you_mean

#: what a samplesheet takes over from the catalogue where it says nothing of its own
ROW_COLUMNS = ("batch_key", "label_key", "organism", "batch_role", "condition_key", "donor_key", "tissue_key")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of ``assets/datasets.tsv``; the meaning of each field is written in ``assets/schema_datasets.json``.

    ``n_cells`` and ``n_genes`` are None where the study does not state them.
    """

    name: str
    title: str
    collection_id: str
    dataset_ids: tuple[str, ...]
    selection: str
    recipe: str
    batch_key: str
    label_key: str
    organism: str
    batch_role: str
    batch_is: str
    confounded_with: str
    condition_key: str
    donor_key: str
    tissue_key: str
    n_batches: int
    n_labels: int
    n_cells: int | None
    n_genes: int | None
    licence: str
    reference: str
    citation: str

    def row(self) -> dict[str, str]:
        """Return the samplesheet columns that the scenario fills."""
        return {column: getattr(self, column) for column in ROW_COLUMNS if getattr(self, column)}


def load_catalogue(path: Path | str | None = None) -> dict[str, Scenario]:
    """Load and check the catalogue, ``assets/datasets.tsv`` of this checkout by default; see
    :func:`scfm.registries.methods.read_registry`.
    """
    rows = read_registry(Path(path) if path else ASSETS / "datasets.tsv", kind="dataset")
    numbers = ("n_batches", "n_labels", "n_cells", "n_genes")
    return {name: Scenario(**row | {n: int(row[n]) if row[n] else None for n in numbers}) for name, row in rows.items()}


def find_scenario(name: str, catalogue: Mapping[str, Scenario]) -> Scenario:
    """Return a scenario by name.

    Raises
    ------
    ScfmError
        There is none of that name; the sentence offers the nearest.
    """
    if name not in catalogue:
        raise ScfmError(
            f"there is no scenario '{name}' in the catalogue.{did_you_mean(name, catalogue)} Known:"
            f" {', '.join(catalogue)}."
        )
    return catalogue[name]
