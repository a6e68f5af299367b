"""``assets/chapters.tsv`` and ``assets/sections.tsv``: the chapters of the report, and the sections of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scfm.errors import ScfmError
from scfm.registries.reader import ASSETS, read_registry
from scfm.registries.tables import load_tables


@dataclass(frozen=True, slots=True)
class Chapter:
    """One row of ``assets/chapters.tsv``; the meaning of each field is written in ``assets/schema_chapters.json``."""

    name: str
    title: str
    description: str
    folded: bool


@dataclass(frozen=True, slots=True)
class SectionRow:
    """One row of ``assets/sections.tsv``; the meaning of each field is written in ``assets/schema_sections.json``."""

    name: str
    function: str
    chapter: str
    scope: str
    table: str


def load_chapters(folder: Path | str = ASSETS) -> dict[str, Chapter]:
    """Return the chapters by name, in the order of the page."""
    return {name: Chapter(**row) for name, row in read_registry(Path(folder) / "chapters.tsv", kind="chapter").items()}


def load_sections(folder: Path | str = ASSETS) -> dict[str, SectionRow]:
    """Return the rows of the sections by name, in the order of the page.

    Raises
    ------
    ScfmError
        A row names a chapter or a table that does not exist.
    """
    path = Path(folder) / "sections.tsv"
    rows = {name: SectionRow(**row) for name, row in read_registry(path, kind="section").items()}
    chapters, tables = load_chapters(folder), load_tables(Path(folder) / "tables.tsv")
    for row in rows.values():
        if row.chapter not in chapters:
            raise ScfmError(
                f"{path}: section '{row.name}', column 'chapter': '{row.chapter}' is no chapter; chapters.tsv has"
                f" {', '.join(chapters)}."
            )
        if row.table and row.table not in tables:
            raise ScfmError(
                f"{path}: section '{row.name}', column 'table': '{row.table}' is no published table; tables.tsv has"
                f" {', '.join(tables)}."
            )
    return rows
