"""Tables read in the types of their schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.io.tables import read_texts
from scfm.registries.schemas import Schemas

if TYPE_CHECKING:
    import pandas as pd

_TRUE = {"true", "1", "yes"}
_FALSE = {"false", "0", "no"}


def read_typed(path: Path | str, name: str, schemas: Schemas) -> "pd.DataFrame":
    """Read a TSV in the types of a table's schema; only columns that may be null read ``NA`` as missing.

    A label or batch called "NA" stays the text "NA", which the general reader would lose.
    """
    rules = schemas.rules(name)
    frame = read_texts(path)
    missing = [c for c in rules if c not in frame.columns]
    if missing:
        raise ScfmError(f"{path}: columns missing: {', '.join(missing)}. Expected those of schema_{name}.json.")
    return frame[list(rules)].apply(
        lambda column: as_type(column, rules[column.name]["type"], f"{path}, column '{column.name}'")
    )


def as_type(values: "pd.Series", types: str | list[str], where: str) -> "pd.Series":
    """Convert a column of text into a JSON type; raise :class:`ScfmError` naming ``where`` if it can't be."""
    import pandas as pd

    kinds = [types] if isinstance(types, str) else types
    kind = next(t for t in kinds if t != "null")
    if kind == "string":
        return values
    blank = values.isin(["", "NA"]) & ("null" in kinds)
    if kind == "boolean":
        low = values.str.lower()
        wrong = ~low.isin(_TRUE | _FALSE) & ~blank
        result = low.isin(_TRUE)
        result = result.astype("boolean").mask(blank) if "null" in kinds else result
    else:
        numbers = pd.to_numeric(values.mask(blank), errors="coerce")
        wrong = numbers.isna() & ~blank
        if kind == "integer":
            wrong |= numbers.notna() & (numbers != numbers.round())
        result = numbers
    if wrong.any():
        raise ScfmError(f"{where}: {int(wrong.sum())} values are not of type {kind}, first: '{values[wrong].iloc[0]}'.")
    return result.astype("Int64" if "null" in kinds else "int64") if kind == "integer" else result
