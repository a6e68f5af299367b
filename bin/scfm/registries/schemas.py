"""Check a table against its JSON schema in ``assets/`` (one schema per published table, the single source).

The schemas describe a table as an array of row objects. Validating hundreds of thousands of rows one by one takes
minutes, so :meth:`Schemas.check` reads the same schema and checks column by column; it supports the keywords in
``KEYWORDS`` and refuses a schema that uses another one, so that no rule is passed over in silence.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.io.tables import read_json
from scfm.registries.reader import ASSETS
from scfm.registries.tables import Table, load_tables

if TYPE_CHECKING:
    import pandas as pd

KEYWORDS = {"type", "description", "enum", "minimum", "maximum", "minLength", "pattern"}


class Schemas:
    """The schemas in one folder, read when first asked for.

    Parameters
    ----------
    folder
        Holds ``tables.tsv`` and the schemas.
    """

    def __init__(self, folder: Path | str = ASSETS) -> None:
        self.folder = Path(folder)
        self._loaded: dict[str, dict[str, Any]] = {}

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The published tables by name, of ``tables.tsv`` in the folder."""
        return load_tables(self.folder / "tables.tsv")

    def load(self, name: str) -> dict[str, Any]:
        """Return the schema of a published table, or of ``warnings``.

        One with ``x-like`` has the columns and the key of the schema named there.
        """
        if name not in self._loaded:
            path = self.folder / self._file(name)
            if not path.is_file():
                raise ScfmError(
                    f"{path} does not exist; the schemas of the tables lie beside the table of metrics (assets/)."
                )
            schema = read_json(path)
            like = schema.get("x-like")
            self._loaded[name] = self.load(like) | schema if like else schema
        return self._loaded[name]

    def _file(self, name: str) -> str:
        """Return the file of a schema: what ``tables.tsv`` says, or the usual name where that has no such table."""
        listed = self.tables if (self.folder / "tables.tsv").is_file() else {}
        return listed[name].schema if name in listed else f"schema_{name}.json"

    def rules(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the rule of every column of a table, in the published order."""
        return self.load(name)["items"]["properties"]

    def columns(self, name: str) -> list[str]:
        """Return the columns of a table in the published order."""
        return list(self.rules(name))

    def key(self, name: str) -> list[str]:
        """Return the columns that together name a row, which is also the order of the rows."""
        return list(self.load(name)["x-key"])

    def check(self, frame: "pd.DataFrame", name: str) -> None:
        """Raise :class:`ScfmError` with every error of a table against its schema (missing values as NaN or None)."""
        rules, key = self.rules(name), self.key(name)
        missing = [c for c in rules if c not in frame.columns]
        extra = [c for c in frame.columns if c not in rules]
        errors = [f"columns missing: {', '.join(missing)}"] if missing else []
        if extra:
            errors.append(f"columns not in the schema: {', '.join(map(str, extra))}")
        for column, rule in rules.items():
            if column in frame.columns:
                errors += [f"column '{column}': {error}" for error in _column_errors(frame[column], rule)]
        if not missing and frame.duplicated(key).any():
            again = frame.loc[frame.duplicated(key), key]
            errors.append(
                f"{len(again)} rows repeat a key ({', '.join(key)}), first: {', '.join(map(str, again.iloc[0]))}"
            )
        if errors:
            raise ScfmError(f"Table {name} does not fit schema_{name}.json: {'; '.join(errors)}.")

    def describe(self, name: str) -> str:
        """Return the columns of a table as Markdown, for ``docs/output.md``."""
        head = [f"### `{name}.tsv`", ""]
        like = self.load(name).get("x-like")
        if like:
            return "\n".join([*head, f"{self.load(name)['description']} Key and columns: as `{like}.tsv`."]) + "\n"
        lines = [
            *head,
            f"{self.load(name)['description']} Key: {', '.join(f'`{k}`' for k in self.key(name))}.",
            "",
            "| column | type | meaning |",
            "|---|---|---|",
        ]
        for column, rule in self.rules(name).items():
            types = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
            kind = "/".join(t for t in types if t != "null") + (", may be NA" if "null" in types else "")
            words = f" One of {', '.join(f'`{v}`' for v in rule['enum'])}." if "enum" in rule else ""
            lines.append(f"| `{column}` | {kind} | {rule['description']}{words} |")
        return "\n".join(lines) + "\n"

    def check_messages(self, messages: list[dict]) -> None:
        """Raise :class:`ScfmError` if a message does not fit ``schema_warnings.json``."""
        import jsonschema

        errors = [
            f"message {next(iter(error.absolute_path), '')}: {error.message}"
            for error in jsonschema.Draft202012Validator(self.load("warnings")).iter_errors(messages)
        ]
        if errors:
            raise ScfmError(f"warnings.json does not fit schema_warnings.json: {'; '.join(errors[:5])}.")


def _column_errors(values: "pd.Series", rule: dict[str, Any]) -> list[str]:
    """Return the errors of one column against its rule."""
    unknown = set(rule) - KEYWORDS
    if unknown:
        return [f"its schema uses keywords that are not checked here: {', '.join(sorted(unknown))}"]
    types = [rule["type"]] if isinstance(rule["type"], str) else list(rule["type"])
    absent = values.isna()
    errors = []
    if absent.any() and "null" not in types:
        errors.append(f"{int(absent.sum())} missing values")
    present = values[~absent]
    if present.empty:
        return errors
    wrong = ~_is_type(present, next(t for t in types if t != "null"))
    if wrong.any():
        return [
            *errors,
            f"{int(wrong.sum())} values are not of type {'/'.join(types)}, first: {present[wrong].tolist()[0]!r}",
        ]
    return errors + _value_errors(present, rule)


def _is_type(values: "pd.Series", kind: str) -> "pd.Series":
    """Return which values are of a JSON type."""
    import numpy as np
    import pandas as pd

    if kind == "string":
        return values.map(lambda v: isinstance(v, str))
    if kind == "boolean":
        return values.map(lambda v: isinstance(v, (bool, np.bool_)))
    numbers = pd.to_numeric(values, errors="coerce")
    good = numbers.notna() & np.isfinite(numbers) & values.map(lambda v: not isinstance(v, (str, bool, np.bool_)))
    return good & (numbers == numbers.round()) if kind == "integer" else good


def _value_errors(values: "pd.Series", rule: dict[str, Any]) -> list[str]:
    """Return errors of present, well-typed values."""
    checks = {
        "enum": lambda limit: ~values.isin(limit),
        "minimum": lambda limit: values.astype(float) < limit,
        "maximum": lambda limit: values.astype(float) > limit,
        "minLength": lambda limit: values.str.len() < limit,
        "pattern": lambda limit: ~values.str.contains(limit, regex=True),
    }
    errors = []
    for keyword, test in checks.items():
        if keyword in rule:
            bad = test(rule[keyword])
            if bad.any():
                errors.append(
                    f"{int(bad.sum())} values against {keyword} {rule[keyword]}, first: {values[bad].tolist()[0]!r}"
                )
    return errors
