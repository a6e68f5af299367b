"""``assets/tables.tsv``: which tables a run publishes, and which files of the steps they are joined from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from scfm.registries.reader import ASSETS, read_registry


@dataclass(frozen=True, slots=True)
class Table:
    """One row of ``assets/tables.tsv``; the meaning of each field is written in ``assets/schema_tables.json``."""

    name: str
    pattern: str
    step: str
    every_embedding: bool
    schema: str
    title: str
    chapter: str
    messages: tuple[str, ...]

    def matches(self, file: str) -> bool:
        """Return whether a file of a step, by its name, is a part of the table."""
        return bool(self.pattern) and fnmatch(file, self.pattern)


def table_of_message(code: str, tables: Mapping[str, Table]) -> str:
    """Return the name of the table that holds the values behind a message; empty where none does.

    Parameters
    ----------
    code
        Of the message, ``W-BAL-03``. Among prefixes that fit, the longest counts.
    tables
        Those of :func:`load_tables`.
    """
    fitting = [(len(prefix), t.name) for t in tables.values() for prefix in t.messages if _fits(code, prefix)]
    return max(fitting)[1] if fitting else ""


def _fits(code: str, prefix: str) -> bool:
    return code == prefix or code.startswith(f"{prefix}-")


def load_tables(path: Path | str | None = None) -> dict[str, Table]:
    """Load and check the table of tables, ``assets/tables.tsv`` of this checkout by default; see
    :func:`scfm.registries.reader.read_registry`.
    """
    rows = read_registry(Path(path) if path else ASSETS / "tables.tsv", kind="table")
    return {name: Table(**row) for name, row in rows.items()}
