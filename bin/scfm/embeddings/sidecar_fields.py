"""The fields of a sidecar and what each may hold; a sidecar may come from anybody's program."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", value) is not None


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _is_reasons(value: Any) -> bool:
    return _is_messages(value) and all(isinstance(entry.get(key), str) for entry in value for key in _REASON)


_REASON = ("cell_id", "reason")
#: what a field holds: in words, and as a test
_NAME = ("a name of letters, digits, '_' and '-'", _is_name)
_TEXT = ("a text", _is_text)
_COUNT = ("a whole number of 0 or more", _is_count)
_MAP = ("a map", _is_map)
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "dataset": _NAME,
    "embedding": _TEXT,
    "method": _NAME,
    "family": _NAME,
    "correction": _NAME,
    "seed": _COUNT,
    "is_control": ("true or false", lambda value: isinstance(value, bool)),
    "output_type": _TEXT,
    "settings": _MAP,
    "versions": _MAP,
    "device": _TEXT,
    "seconds": ("a number", _is_number),
    "cells_in": _COUNT,
    "warnings": ("a list of messages", _is_messages),
}
_OPTIONAL: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "cells_out": _COUNT,
    "n_dims": _COUNT,
    "status": _TEXT,
    "reason": _TEXT,
    "not_embedded": ("a list of maps with the texts 'cell_id' and 'reason'", _is_reasons),
}


def absent_fields(content: Any) -> list[str]:
    """Return the required fields that a sidecar lacks; all where it is no map."""
    return [name for name in _FIELDS if not isinstance(content, dict) or name not in content]


def field_errors(content: Mapping[str, Any]) -> list[str]:
    """Return a phrase per field that holds something else than it should.

    Parameters
    ----------
    content
        A sidecar that lacks no required field.
    """
    kinds = _FIELDS | {name: kind for name, kind in _OPTIONAL.items() if name in content}
    return [
        f"{name} is {str(content[name])[:80]!r}, expected {words}"
        for name, (words, is_kind) in kinds.items()
        if not is_kind(content[name])
    ]
