"""Tables read in the types of their schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    return _typed(_read_text(path, name, schemas), path, schemas.rules(name))


def read_typed_parts(
    paths: Sequence[Path], name: str, schemas: Schemas
) -> "tuple[pd.DataFrame, list[tuple[Path, ScfmError]]]":
    """Read the files that together are a table, one below the other, as :func:`read_typed` reads each.

    Types are converted once for all files: for each of many small ones it would take most of the time.

    Returns
    -------
    The table of the files that can be read, and the others with what is wrong with each.
    """
    import pandas as pd

    texts: dict[Path, pd.DataFrame] = {}
    damaged: list[tuple[Path, ScfmError]] = []
    rules = schemas.rules(name)
    for path in paths:
        try:
            texts[path] = _read_text(path, name, schemas)
        except ScfmError as error:
            damaged.append((path, error))
    none = pd.DataFrame({c: pd.Series(dtype=object) for c in rules})
    try:
        return (_typed(pd.concat(texts.values(), ignore_index=True), name, rules) if texts else none), damaged
    except ScfmError:
        found = {path: _error_of(text, path, rules) for path, text in texts.items()}
        wrong = {path: problem for path, problem in found.items() if problem is not None}
        good = [text for path, text in texts.items() if path not in wrong]
        table = _typed(pd.concat(good, ignore_index=True), name, rules) if good else none
        return table, [*damaged, *wrong.items()]


def _error_of(text: "pd.DataFrame", path: Path, rules: Mapping[str, Mapping[str, Any]]) -> "ScfmError | None":
    """Return what is wrong with the values of a file."""
    try:
        _typed(text, path, rules)
    except ScfmError as error:
        return error
    return None


def _read_text(path: Path | str, name: str, schemas: Schemas) -> "pd.DataFrame":
    """Read the columns of a table's schema as text."""
    rules = schemas.rules(name)
    frame = read_texts(path)
    missing = [c for c in rules if c not in frame.columns]
    if missing:
        raise ScfmError(f"{path}: columns missing: {', '.join(missing)}. Expected those of schema_{name}.json.")
    return frame[list(rules)]


def _typed(text: "pd.DataFrame", path: Path | str, rules: Mapping[str, Mapping[str, Any]]) -> "pd.DataFrame":
    """Convert every column to the type of its rule."""
    import pandas as pd

    return pd.DataFrame({c: as_type(text[c], rules[c]["type"], f"{path}, column '{c}'") for c in rules})


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
