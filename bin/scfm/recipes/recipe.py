"""A recipe as an object; ``docs/recipes.md`` says how to write one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.recipes.schema import meaning_errors, shape_errors
from scfm.recipes.source import Document, read_document

OPERATORS = {"equals": "is", "not_equals": "is not", "in": "is one of", "not_in": "is none of", "missing": "is"}


def value_text(value: Any) -> str:
    """Return a value of a recipe as the text that columns are compared with; whole numbers without ``.0``.

    Examples
    --------
    >>> [value_text(v) for v in ("a ", 5.0, 2.5, True)]
    ['a', '5', '2.5', 'True']
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on an obs column: ``operator`` is a key of :data:`OPERATORS`, ``wanted`` its values as text.

    For ``missing``, ``wants_missing`` says which it must be, and ``wanted`` is empty.
    """

    column: str
    operator: str
    wanted: tuple[str, ...] = ()
    wants_missing: bool = False

    @property
    def rule(self) -> str:
        """The condition in words, for the report: ``disease is normal``."""
        if self.operator == "missing":
            return f"{self.column} is {'' if self.wants_missing else 'not '}missing"
        return f"{self.column} {OPERATORS[self.operator]} {', '.join(self.wanted)}"


@dataclass(frozen=True, slots=True)
class GeneMap:
    """Rename genes by the columns ``source`` and ``target`` of a table."""

    table: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Source:
    """A file and what is done to it; the meaning of each field is written in ``assets/schema_recipe.json``."""

    name: str
    cellxgene: str = ""
    collection: str = ""
    version: str = ""
    select: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""
    file: str = ""
    size: int | None = None
    sha256: str = ""
    counts: str = ""
    keep: tuple[Filter, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    paste: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    genes: GeneMap | None = None

    @property
    def is_own_file(self) -> bool:
        """Whether the file is that of the samplesheet's own row."""
        return not (self.cellxgene or self.collection or self.url or self.file)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of gene pairs; ``columns`` is name in the recipe to name in the header."""

    name: str
    columns: Mapping[str, str]
    url: str = ""
    file: str = ""
    separator: str = ","
    required: tuple[str, ...] = ()
    first_per: str = ""
    end_mark: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of labels: values of ``column``, as text, and the labels they get."""

    column: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Labels:
    """A new column made by the first matching rule; ``unmapped`` is ``drop`` or ``missing``."""

    column: str
    rules: tuple[Rule, ...]
    unmapped: str = "drop"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe that was read and checked; sources and tables by name, in the order of the file."""

    path: Path
    name: str
    description: str
    sources: Mapping[str, Source]
    tables: Mapping[str, Table]
    genes: str
    keep: tuple[Filter, ...]
    labels: Labels | None
    prefix: str
    drop_columns: tuple[str, ...]


def load_recipe(path: Path | str) -> Recipe:
    """Read and check a recipe.

    Raises
    ------
    ScfmError
        All errors, one a line: file, place in it, what was expected.
    """
    path = Path(path)
    document = read_document(path)
    errors = _errors(document)
    if errors:
        raise ScfmError("\n".join(errors))
    content = document.content
    return Recipe(
        path=path,
        name=content["name"],
        description=" ".join(content.get("description", "").split()),
        sources={name: _source(name, spec or {}) for name, spec in content["sources"].items()},
        tables={name: _table(name, spec) for name, spec in content.get("tables", {}).items()},
        genes=content.get("genes", "intersection"),
        keep=_filters(content),
        labels=_labels(content.get("labels")),
        prefix=content.get("cell_ids", {}).get("prefix", ""),
        drop_columns=tuple(content.get("drop_columns", ())),
    )


def _errors(document: Document) -> list[str]:
    """Return all errors of a document; what goes beyond the shape is looked at only where the shape is right."""
    if document.content is None:
        return [f"{document.name}: the recipe is empty; expected at least 'name' and 'sources'."]
    return document.errors + (shape_errors(document) or meaning_errors(document))


def _filters(spec: Mapping[str, Any]) -> tuple[Filter, ...]:
    found = []
    for entry in spec.get("keep", ()):
        operator = next(k for k in entry if k != "column")
        value = entry[operator]
        if operator == "missing":
            found.append(Filter(entry["column"], operator, wants_missing=value))
        else:
            values = value if isinstance(value, list) else [value]
            found.append(Filter(entry["column"], operator, tuple(value_text(v) for v in values)))
    return tuple(found)


def _source(name: str, spec: Mapping[str, Any]) -> Source:
    genes = spec.get("genes")
    taken = ("cellxgene", "collection", "version", "select", "url", "file", "size", "sha256", "counts", "rename", "set")
    return Source(
        name=name,
        keep=_filters(spec),
        paste={column: tuple(others) for column, others in spec.get("paste", {}).items()},
        genes=GeneMap(genes["table"], genes["from"], genes["to"]) if genes else None,
        **{k: spec[k] for k in taken if k in spec},
    )


def _table(name: str, spec: Mapping[str, Any]) -> Table:
    return Table(name=name, **{**spec, "required": tuple(spec.get("required", ()))})


def _labels(spec: Mapping[str, Any] | None) -> Labels | None:
    if spec is None:
        return None
    rules = []
    for rule in spec["rules"]:
        kept = {value_text(v): value_text(v) for v in rule.get("keep", ())}
        mapped = {value_text(v): label for label, values in rule.get("map", {}).items() for v in values}
        rules.append(Rule(rule["from"], kept | mapped))
    return Labels(spec["column"], tuple(rules), spec.get("unmapped", "drop"))
