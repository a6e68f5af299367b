"""The catalogue of messages: every text that ``warnings.json`` can hold, with its severity and its advice.

A row of ``messages.tsv`` is named by its code, ``W-HVG-02``, or by code and case, ``W-MET-02/one_label``, where one
code has several texts. Texts are templates. Beside the usual format specifications (``{share:.1%}``) they know:

* ``{n:cell|cells}``: the number and the noun, ``1 cell`` or ``1,204 cells``
* ``{n:?has|have}``: the word that fits the number, without the number
* ``{names:list}``, ``{names:list 12}``: the first values (5, or as many as said) in quotes; of a mapping ``key: value``
"""

from __future__ import annotations

import csv
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from scfm.text import listing, plural

#: the file lies in ``bin``, which is mounted in a task's container; ``assets/messages.tsv`` is a link to it
CATALOGUE = Path(__file__).with_name("messages.tsv")
SEVERITIES = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One row of ``assets/messages.tsv``; the fields are explained in ``assets/schema_messages.json``."""

    name: str
    severity: str
    topic: str
    when: str
    text: str
    advice: str

    @property
    def code(self) -> str:
        """The code, without the case."""
        return self.name.split("/", 1)[0]

    @property
    def fields(self) -> list[str]:
        """The values that the text needs, in the order of the text."""
        return list(dict.fromkeys(field for _, field, _, _ in _Template().parse(self.text) if field is not None))


class _Template(string.Formatter):
    """Templates with plurals and lists; fields are plain names, so that a template reaches into no object."""

    def get_field(self, field_name: str, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        if not field_name.isidentifier():
            raise ValueError(f"a field of a message is a plain name, not '{field_name}'")
        return self.get_value(field_name, args, kwargs), field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        if "|" in format_spec:
            one, many = format_spec.removeprefix("?").split("|")
            if format_spec.startswith("?"):
                return one if value == 1 else many
            return plural(value, one, many)
        if format_spec.startswith("list"):
            items = [f"{k}: {v}" for k, v in value.items()] if isinstance(value, Mapping) else value
            return listing(items, limit=int(format_spec[4:] or 5))
        return super().format_field(value, format_spec)


@lru_cache(maxsize=1)
def load_messages() -> dict[str, MessageRow]:
    """Return the rows of the catalogue by name, in the order of the table."""
    with CATALOGUE.open(newline="", encoding="utf-8") as handle:
        rows = [MessageRow(**row) for row in csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)]
    return {row.name: row for row in rows}


def sentence(name: str, /, **values: Any) -> str:
    """Return text and advice of a message in one line.

    Raises
    ------
    ValueError
        The catalogue has no such row, or a value that the text needs is missing.
    """
    row = _row(name)
    return f"{_text(row, values)} {row.advice}".rstrip()


def message(
    name: str,
    /,
    *,
    dataset: str = "",
    method: str = "",
    embedding: str = "",
    seed: int | None = None,
    values: Mapping[str, Any] | None = None,
    threshold: Any = None,
    **parts: Any,
) -> dict[str, Any]:
    """Return one entry of ``warnings.json``.

    Parameters
    ----------
    name
        Row of ``assets/messages.tsv``: a code such as ``W-BAL-01``, or code and case such as ``W-MET-02/one_label``.
    dataset, method, embedding, seed
        What it is about; empty (None) for all.
    values
        The numbers behind it, kept in the entry; the text can use them.
    threshold
        The limit that they were compared with, kept in the entry; the text can use it.
    parts
        What else the text uses.

    Raises
    ------
    ValueError
        The catalogue has no such row, a value that the text needs is missing, or a part is not used.
    """
    row = _row(name)
    if unused := parts.keys() - set(row.fields):
        raise ValueError(f"message {name}: its text does not use {', '.join(sorted(unused))}; pass it in values.")
    about = {"dataset": dataset, "method": method, "embedding": embedding, "seed": seed}
    text = _text(row, {**about, **(values or {}), "threshold": threshold, **parts})
    entry = {"code": row.code, "severity": row.severity, **about, "text": text, "advice": row.advice}
    return entry | {"values": dict(values or {}), "threshold": threshold}


def about_keys(entry: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return an entry whose text begins with the batch key or label key that it is about, for other than primary keys.

    Examples
    --------
    >>> about_keys({"text": "Batch sizes differ 20-fold."}, "assay", "cell_type")
    {'text': "'assay' with 'cell_type': Batch sizes differ 20-fold."}
    """
    named = " with ".join(f"'{key}'" for key in keys)
    return {**entry, "text": f"{named}: {entry['text']}"}


def _row(name: str) -> MessageRow:
    """Return a row of the catalogue."""
    if name not in load_messages():
        raise ValueError(f"there is no message '{name}' in assets/messages.tsv.")
    return load_messages()[name]


def _text(row: MessageRow, values: Mapping[str, Any]) -> str:
    """Return the text with its values."""
    missing = [field for field in row.fields if field not in values]
    if missing:
        raise ValueError(f"message {row.name}: its text needs {', '.join(missing)}.")
    return _Template().vformat(row.text, (), values)
