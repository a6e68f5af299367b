"""The field's words in everything that a user reads: no word of the glossary's left column is used."""

from __future__ import annotations

import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers_pipeline import PROJECT

GLOSSARY = PROJECT / "docs" / "glossary.md"
#: pages that quote the words themselves, or that a script writes from tables that are checked
QUOTING = {GLOSSARY}
TABLES = [*(PROJECT / "assets").rglob("*.tsv"), *(PROJECT / "assets").rglob("*.json")]
PAGES = [
    *(PROJECT / name for name in ("README.md", "CITATIONS.md")),
    *(PROJECT / "docs").rglob("*.md"),
    *(PROJECT / name / "README.md" for name in ("containers", "tests/data", "assets/published")),
]
CODE = sorted((PROJECT / "bin").rglob("*.py"))
PIPELINE = [
    *(PROJECT / name for name in ("main.nf", "nextflow.config", "nextflow_schema.json", "Makefile", "env.sh")),
    *(path for folder in ("conf", "scripts") for path in (PROJECT / folder).iterdir() if path.is_file()),
    *(
        path
        for folder in ("modules", "subworkflows", "workflows")
        for path in (PROJECT / folder).rglob("*")
        if path.suffix in {".nf", ".yml", ".test"}
    ),
]


def _rows() -> Iterator[list[str]]:
    """Yield the cells of the table of words that are not used."""
    part = GLOSSARY.read_text().partition("## Words that are not used")[2]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def _patterns() -> list[tuple[re.Pattern[str], list[str]]]:
    """Return a pattern per row, and the phrases that may hold its words."""
    found = []
    for row in _rows():
        words = [re.escape(word.strip()).replace(r"\ ", r"\s+") for word in row[0].split(",")]
        allowed = [phrase.strip() for phrase in row[3].split(",") if phrase.strip()]
        found.append((re.compile(rf"(?<![\w-])({'|'.join(words)})(?![\w-])", re.IGNORECASE), allowed))
    return found


PATTERNS = _patterns()


def hits(text: str) -> list[str]:
    """Return the words of the left column in a text, each with what is around it."""
    found = []
    for pattern, allowed in PATTERNS:
        for match in pattern.finditer(text):
            near = " ".join(text[max(0, match.start() - 20) : match.end() + 20].split())
            # the phrase must hold the match itself, not only be near it
            spans = [m.span() for phrase in allowed for m in re.finditer(re.escape(phrase), text, re.IGNORECASE)]
            if not any(start <= match.start() and match.end() <= end for start, end in spans):
                found.append(f"'{match[0]}' in '{near}'")
    return found


def _texts_of_code(path: Path) -> str:
    """Return strings, docstrings and comments of a Python file; identifiers are not text."""
    kinds = {tokenize.STRING, tokenize.COMMENT, *(k for k in [getattr(tokenize, "FSTRING_MIDDLE", None)] if k)}
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return "\n".join(token.string for token in tokens if token.type in kinds)


def _name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def test_the_glossary_has_words_and_finds_them() -> None:
    assert len(PATTERNS) > 10
    assert all(row[1] for row in _rows())
    assert hits("The door says so.") and hits("held\nagainst the plan") and hits("It stands there.")
    assert not hits("a stand-in that stands for it; fault injection; they can't be told apart; indoors, recommended")
    assert hits("a stand-in stands here")  # an allowed phrase does not excuse the next word


@pytest.mark.parametrize("path", [p for p in PAGES if p not in QUOTING], ids=_name)
def test_pages_use_the_words_of_the_field(path) -> None:
    assert hits(path.read_text()) == []


@pytest.mark.parametrize("folder", sorted({p.parent for p in CODE}), ids=_name)
def test_code_uses_the_words_of_the_field(folder) -> None:
    found = {_name(p): hits(_texts_of_code(p)) for p in CODE if p.parent == folder}
    assert {name: words for name, words in found.items() if words} == {}


def test_tables_and_schemas_use_the_words_of_the_field() -> None:
    found = {_name(p): hits(p.read_text()) for p in TABLES}
    assert len(found) > 20
    assert {name: words for name, words in found.items() if words} == {}


def test_the_pipeline_uses_the_words_of_the_field() -> None:
    texts = {_name(p): p.read_text() for p in PIPELINE}
    schema = json.loads(texts["nextflow_schema.json"])
    assert len(texts) > 100 and "$defs" in schema
    found = {name: hits(text) for name, text in texts.items()}
    assert {name: words for name, words in found.items() if words} == {}
