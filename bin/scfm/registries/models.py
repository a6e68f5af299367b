"""The models table: what the pipeline must know about each foundation model without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scfm.registries.reader import ASSETS, read_registry


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One row of ``assets/models.tsv``; the meaning of each field is written in ``assets/schema_models.json``."""

    name: str
    title: str
    family: str
    output_type: str
    stochastic: bool
    uses_gpu: bool
    dims: tuple[str, ...]
    gene_ids: str
    organisms: tuple[str, ...]
    cells_apart: bool
    licence: str
    trained_on: str
    packages: tuple[str, ...]
    reference: str
    citation: str
    description: str


def load_model_table(path: Path | str | None = None) -> dict[str, ModelInfo]:
    """Load and check the models table, ``assets/models.tsv`` of this checkout by default; see
    :func:`scfm.registries.methods.read_registry`.
    """
    rows = read_registry(Path(path) if path else ASSETS / "models.tsv", kind="model")
    return {name: ModelInfo(**row) for name, row in rows.items()}
