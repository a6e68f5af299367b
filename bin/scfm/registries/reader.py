"""The reader of the tables of ``assets/``: typed rows by name, checked against the table's JSON schema."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.io.tables import read_json


def _assets() -> Path:
    """Return the folder of the registries: inside the installed package, else that of the checkout."""
    installed = Path(__file__).resolve().parents[1] / "assets"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[3] / "assets"


#: folder of the registries, schemas and recipes
ASSETS = _assets()


def _typed(text: str, kind: str) -> Any:
    """Turn the text of a cell into what the schema asks for; what can't be turned stays text, for the schema to
    refuse.
    """
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if kind == "array":
        return [part.strip() for part in text.split(",") if part.strip()]
    return text.strip()


def _read_rows(path: Path, properties: dict[str, dict], kind: str) -> list[dict[str, Any]]:
    """Read the TSV into typed rows, in file order."""
    if not path.is_file():
        raise ScfmError(f"{path}: the {kind}s table does not exist.")
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
        lines = [line for line in reader if line]
    if not lines:
        raise ScfmError(f"{path}: the {kind}s table is empty; expected a header and one row per {kind}.")
    header, *body = lines
    missing = [c for c in properties if c not in header]
    unknown = [c for c in header if c not in properties]
    if missing or unknown:
        raise ScfmError(
            f"{path}: the header lacks {missing or 'nothing'} and has unknown {unknown or 'nothing'}; "
            f"expected {list(properties)}."
        )
    rows = []
    for number, line in enumerate(body, start=2):
        if len(line) != len(header):
            raise ScfmError(f"{path}: row {number} has {len(line)} columns, the header has {len(header)}.")
        rows.append({c: _typed(v, properties[c].get("type", "string")) for c, v in zip(header, line, strict=True)})
    return rows


def read_registry(path: Path, schema_path: Path | str | None = None, *, kind: str) -> dict[str, dict[str, Any]]:
    """Read a table of ``assets/`` and check it against its schema.

    Parameters
    ----------
    path
        TSV table with a column ``name``.
    schema_path
        JSON schema of the table; by default ``schema_<kind>s.json`` beside it (a task has the files that were staged
        for it), else the one of this checkout.
    kind
        What a row is: ``method``, ``model``, ``metric``.

    Returns
    -------
    Rows by name, in the order of the table; arrays are tuples.

    Raises
    ------
    ScfmError
        Names row and column of the first error.
    """
    from jsonschema import Draft202012Validator

    name = f"schema_{kind}s.json"
    beside = path.parent / name
    schema_path = Path(schema_path or (beside if beside.is_file() else ASSETS / name))
    if not schema_path.is_file():
        raise ScfmError(f"{schema_path}: the schema of the {kind}s table does not exist; it belongs beside {path}.")
    schema = read_json(schema_path)
    rows = _read_rows(path, schema["items"]["properties"], kind)
    errors = sorted(Draft202012Validator(schema).iter_errors(rows), key=lambda e: [str(p) for p in e.absolute_path])
    if errors:
        place = list(errors[0].absolute_path)
        where = f"row {int(place[0]) + 2}" if place else "the table"
        column = f", column '{place[1]}'" if len(place) > 1 else ""
        raise ScfmError(f"{path}: {where}{column}: {errors[0].message}. The columns are described in assets/{name}.")
    found: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows, start=2):
        if row["name"] in found:
            raise ScfmError(
                f"{path}: row {number}, column 'name': '{row['name']}' is a duplicate; names must be unique."
            )
        found[row["name"]] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    return found
