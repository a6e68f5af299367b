"""What is wrong with a recipe, as sentences: its shape by the schema, then what a schema can't say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scfm.io.frames import RESERVED
from scfm.io.tables import read_json
from scfm.recipes.source import Document, Place, written
from scfm.text import did_you_mean, listing

LOCATIONS = ("cellxgene", "collection", "url", "file")
_TYPES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "object": "keys with values",
    "array": "a list",
    "null": "nothing",
}


def recipe_schema() -> dict[str, Any]:
    """Return the schema, which ``assets/schema_recipe.json`` is a link to: ``bin`` is mounted in a task's container,
    not ``assets``.
    """
    return read_json(Path(__file__).with_name("schema_recipe.json"))


def shape_errors(document: Document) -> list[str]:
    """Return a sentence per violation of the schema, in the order of the file."""
    from jsonschema import Draft202012Validator

    keys = list(_odd_keys(document.content, (), document))
    if keys:
        return keys
    errors = Draft202012Validator(recipe_schema()).iter_errors(document.content)
    by_line = sorted(
        errors,
        key=lambda e: (
            document.lines.get(tuple(e.absolute_path), 0),
            written(tuple(e.absolute_path)),
            str(e.validator),
        ),
    )
    # too few or too many keys says nothing new beside an unknown or missing one
    named = {tuple(e.absolute_path) for e in by_line if e.validator in {"additionalProperties", "required"}}
    kept = [
        e
        for e in by_line
        if not (e.validator in {"minProperties", "maxProperties"} and tuple(e.absolute_path) in named)
    ]
    return list(dict.fromkeys(sentence for e in kept for sentence in _sentences(e, document)))


def _odd_keys(content: Any, place: Place, document: Document) -> Iterator[str]:
    """Yield a sentence per key that YAML did not read as text (``no:``, ``1:``)."""
    if isinstance(content, dict):
        for key, value in content.items():
            if not isinstance(key, str):
                yield (
                    f"{document.where(place)}: the key {key!r} is read as {type(key).__name__}, not as text; put it in"
                    " quotes."
                )
            yield from _odd_keys(value, (*place, str(key)), document)
    if isinstance(content, list):
        for number, value in enumerate(content):
            yield from _odd_keys(value, (*place, number), document)


def _sentences(error: Any, document: Document) -> Iterator[str]:
    """Yield the sentences for one error of the validator."""
    place, schema, value = tuple(error.absolute_path), error.schema, error.instance
    where, kind = document.where(place), error.validator
    if kind == "additionalProperties":
        known = list(schema["properties"])
        for key in [k for k in value if k not in known]:
            yield (
                f"{document.where((*place, key))}: unknown key '{key}'.{did_you_mean(key, known)} Known:"
                f" {', '.join(known)}."
            )
    elif kind == "required":
        for key in [k for k in schema["required"] if k not in value]:
            yield (
                f"{where}: the key '{key}' is missing:"
                f" {schema['properties'][key].get('description', 'it is required.')}"
            )
    elif kind == "type":
        wanted = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        quotes = (
            " Put it in quotes if it is meant as text."
            if "string" in wanted and not isinstance(value, (list, dict, type(None)))
            else ""
        )
        yield (
            f"{where}: expected {' or '.join(_TYPES[w] for w in wanted if w != 'null')}, found {_shown(value)}.{quotes}"
        )
    elif kind == "enum":
        yield (
            f"{where}: {_shown(value)} is not allowed; one of"
            f" {listing(schema['enum'])}.{did_you_mean(str(value), map(str, schema['enum']))}"
        )
    elif "propertyNames" in error.schema_path and kind == "pattern":
        yield f"{document.where((*place, value))}: '{value}' can't be a name: {schema['description']}"
    else:
        wanted = schema.get("errorMessage") or schema.get("description") or error.message
        found = listing(value) if isinstance(value, dict) and value else _shown(value)
        yield f"{where}: {found} is not allowed here; expected: {wanted.rstrip('.')}."


def _shown(value: Any) -> str:
    """Return a value as messages show it."""
    if value is None or value in ({}, []):
        return "nothing"
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return f"{_TYPES['object' if isinstance(value, dict) else 'array']} ({len(value)})"
    return str(value)


def meaning_errors(document: Document) -> list[str]:
    """Return a sentence per error that the schema can't find; the shape must be right."""
    content = document.content
    sources = {name: spec or {} for name, spec in content["sources"].items()}
    errors = [
        f for name, spec in sources.items() for f in _source_errors(name, spec, content.get("tables", {}), document)
    ]
    bare = [name for name, spec in sources.items() if not any(k in spec for k in LOCATIONS)]
    if len(bare) > 1:
        errors.append(
            f"{document.where(('sources',))}: the sources {listing(bare)} name no file; one at most can be the file of"
            f" the samplesheet's own row. Give the others one of {', '.join(LOCATIONS)}."
        )
    for name, spec in content.get("tables", {}).items():
        errors += _table_errors(name, spec, document)
    errors += _label_errors(content.get("labels", {}), document)
    return errors


def _source_errors(name: str, spec: dict, tables: dict, document: Document) -> Iterator[str]:
    """Yield errors of one source."""
    place: Place = ("sources", name)
    where = document.where(place)
    given = [k for k in ("cellxgene", "url", "file") if k in spec]
    if len(given) > 1:
        yield f"{where}: {listing(given)} are given; exactly one of them can say where the file is."
    if "collection" in spec and ("url" in spec or "file" in spec):
        yield f"{where}: 'collection' belongs with cellxgene or select, not with '{given[-1]}'."
    elif "collection" in spec and not any(k in spec for k in ("cellxgene", "select")):
        yield f"{where}: a collection can hold several data sets: add 'cellxgene' (a data set's id) or 'select'."
    if "select" in spec and ("collection" not in spec or "cellxgene" in spec):
        yield f"{where}: 'select' chooses a data set of a collection: give 'collection', and leave 'cellxgene' out."
    if "version" in spec and not any(k in spec for k in ("cellxgene", "collection")):
        yield f"{where}: 'version' is of a data set of CELLxGENE Discover: give 'cellxgene' or 'collection' too."
    for key in [k for k in ("size", "sha256") if k in spec and "url" not in spec]:
        yield f"{where}: '{key}' is checked for a file behind a url only."
    for column, others in spec.get("paste", {}).items():
        if column in others:
            yield (
                f"{document.where((*place, 'paste', column))}: the column '{column}' is pasted from itself; give the"
                " new column another name."
            )
    for key in ("rename", "set", "paste"):
        names = spec.get(key, {}).values() if key == "rename" else spec.get(key, {})
        for column in [n for n in names if not str(n).strip() or n in RESERVED or "/" in str(n)]:
            yield (
                f"{document.where((*place, key))}: '{column}' can't be the name of a column of an AnnData file: it is "
                "empty, holds '/', or is one that anndata keeps for itself."
            )
    news = list(spec.get("rename", {}).values())
    for column in sorted({c for c in news if news.count(c) > 1}):
        yield f"{document.where((*place, 'rename'))}: {news.count(column)} columns get the name '{column}'."
    genes = spec.get("genes")
    if genes and genes["table"] not in tables:
        yield (
            f"{document.where((*place, 'genes', 'table'))}: there is no table '{genes['table']}'."
            f"{did_you_mean(genes['table'], tables)} Tables: {listing(tables) or 'none'}."
        )
    elif genes:
        columns = tables[genes["table"]]["columns"]
        for key in [k for k in ("from", "to") if genes[k] not in columns]:
            yield (
                f"{document.where((*place, 'genes', key))}: the table '{genes['table']}' has no column '{genes[key]}'."
                f"{did_you_mean(genes[key], columns)} Columns: {listing(columns)}."
            )


def _table_errors(name: str, spec: dict, document: Document) -> Iterator[str]:
    """Yield errors of one table."""
    place: Place = ("tables", name)
    if ("url" in spec) == ("file" in spec):
        yield f"{document.where(place)}: a table has exactly one of 'url' and 'file'."
    named = [(("required", i), c) for i, c in enumerate(spec.get("required", []))]
    named += [(("first_per",), spec["first_per"])] if "first_per" in spec else []
    for below, column in named:
        if column not in spec["columns"]:
            yield (
                f"{document.where((*place, *below))}: '{column}' is none of the table's columns."
                f"{did_you_mean(column, spec['columns'])} Columns: {listing(spec['columns'])}."
            )


def _label_errors(spec: dict, document: Document) -> Iterator[str]:
    """Yield a sentence per value that one rule gives two labels."""
    for number, rule in enumerate(spec.get("rules", [])):
        seen: dict[str, str] = {}
        for label, values in rule.get("map", {}).items():
            for value in map(str, values):
                if value in seen:
                    yield (
                        f"{document.where(('labels', 'rules', number, 'map', label))}: the value '{value}' is under"
                        f" '{seen[value]}' already; a rule can give it one label only."
                    )
                seen.setdefault(value, label)
