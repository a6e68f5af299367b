"""The parts of ``docs/`` that are made from the tables of ``assets/`` and their schemas.

A page marks such a part by two comments, ``<!-- made: NAME -->`` and ``<!-- end: NAME -->``; ``bin/make_docs.py``
writes what is between them, and a test compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.registries.messages import load_messages
from scfm.registries.schemas import Schemas
from scfm.registries.sections import load_chapters

_PART = re.compile(r"(<!-- made: (?P<name>[a-z_]+) -->\n).*?(<!-- end: (?P=name) -->\n)", re.DOTALL)


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def messages_part() -> str:
    """Return a table of messages per topic."""
    parts = []
    for topic, rows in groupby(load_messages().values(), key=lambda row: row.topic):
        table = [[row.code, row.severity, row.when, row.advice or "nothing"] for row in rows]
        parts.append(f"## {topic}\n\n{markdown_table(['code', 'severity', 'when', 'what to do'], table)}")
    return "\n".join(parts)


def tables_part() -> str:
    """Return the published tables and the chapter of the report that shows each."""
    rows = [[f"`{t.name}.tsv`", t.title, t.chapter] for t in Schemas().tables.values()]
    return markdown_table(["table", "what it holds", "chapter of the report"], rows)


def chapters_part() -> str:
    """Return the chapters of the report in their order."""
    rows = [[c.title, c.description, "folded" if c.folded else ""] for c in load_chapters().values()]
    return markdown_table(["chapter", "what it holds", ""], rows)


def columns_part() -> str:
    """Return the columns of every published table."""
    schemas = Schemas()
    return "\n".join(schemas.describe(name) for name in schemas.tables)


def parameters_part() -> str:
    """Return a table of parameters per group of ``nextflow_schema.json``."""
    schema = json.loads((Path(__file__).resolve().parents[3] / "nextflow_schema.json").read_text(encoding="utf-8"))
    parts = []
    for group in schema["$defs"].values():
        rows = [
            [f"`--{name}`", _default_of(entry), " ".join(_sentences_of(entry))]
            for name, entry in group["properties"].items()
        ]
        table = markdown_table(["parameter", "default", "what"], rows)
        parts.append(f"## {group['title']}\n\n{group['description']}\n\n{table}")
    return "\n".join(parts)


def _default_of(entry: dict[str, Any]) -> str:
    """Return the default of a parameter as it is written on a command line; empty where it has none."""
    value = entry.get("default")
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _sentences_of(entry: dict[str, Any]) -> Iterator[str]:
    """Yield what a parameter is, its values, its help, and whether ``--help`` lists it with ``--show_hidden`` only."""
    yield entry["description"]
    if "enum" in entry:
        yield f"One of {', '.join(f'`{value}`' for value in entry['enum'])}."
    if "help_text" in entry:
        yield entry["help_text"]
    if entry.get("hidden"):
        yield "*Expert.*"


#: what the comments of a page can enclose
PARTS: dict[str, Callable[[], str]] = {
    "messages": messages_part,
    "tables": tables_part,
    "chapters": chapters_part,
    "columns": columns_part,
    "parameters": parameters_part,
}


def filled(text: str, page: Path | str) -> str:
    """Return a page with its made parts.

    Raises
    ------
    ScfmError
        The page asks for a part that does not exist.
    """

    def part(match: re.Match[str]) -> str:
        if match["name"] not in PARTS:
            raise ScfmError(f"{page}: there is no part '{match['name']}'; expected one of {', '.join(PARTS)}.")
        return f"{match[1]}\n{PARTS[match['name']]()}\n{match[3]}"

    return _PART.sub(part, text)
