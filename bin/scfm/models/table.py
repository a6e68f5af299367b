"""The models table: what the pipeline must know about each foundation model without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scfm.errors import ScfmError
from scfm.registry import ASSETS, _read_rows
from scfm.tables import read_json


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
    description: str


def load_model_table(path: Path | str | None = None) -> dict[str, ModelInfo]:
    """Load and check the models table.

    Parameters
    ----------
    path
        TSV table; ``assets/models.tsv`` of this checkout by default.

    Returns
    -------
    Models by name, in the order of the table.

    Raises
    ------
    ScfmError
        Names row and column of the first fault.
    """
    from jsonschema import Draft202012Validator

    path = Path(path) if path else ASSETS / "models.tsv"
    schema = read_json(ASSETS / "schema_models.json")
    rows = _read_rows(path, schema["items"]["properties"])
    for error in Draft202012Validator(schema).iter_errors(rows):
        place = list(error.absolute_path)
        where = f"row {int(place[0]) + 2}" + (f", column '{place[1]}'" if len(place) > 1 else "") if place else "the table"
        raise ScfmError(f"{path}: {where}: {error.message}. The columns are described in assets/schema_models.json.")
    names = [row["name"] for row in rows]
    if len(set(names)) != len(names):
        raise ScfmError(f"{path}: column 'name': a name stands twice; names must be unique.")
    return {row["name"]: ModelInfo(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}) for row in rows}
