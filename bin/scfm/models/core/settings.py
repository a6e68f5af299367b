"""Settings of a model: typed dataclass fields, filled from the ``key=value`` texts of ``--set``."""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from scfm.errors import ScfmError
from scfm.io.tables import read_json
from scfm.task.cli import on_off
from scfm.text import did_you_mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Settings that every model has; a model's own ``Settings`` derives from it.

    Attributes
    ----------
    gene_column
        Column of ``var`` that holds the gene ids of the model's vocabulary; ``index`` = ``var_names``.
    input_layer
        Where the counts are: empty = ``X``, ``raw`` = ``raw/X``, else the name of a layer.
    strip_version
        ``auto``: an Ensembl id with a version suffix that is unknown as written is looked up without it; ``false``:
        never.
    fractional
        What fractional values in the counts mean: ``error``, ``warn``, or ``auto`` (the model's own rule).
    """

    gene_column: str = "index"
    input_layer: str = ""
    strip_version: Literal["auto", "false"] = "auto"
    fractional: Literal["auto", "error", "warn"] = "auto"


S = TypeVar("S", bound=ModelSettings)


def split_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Turn ``["key=value", ...]`` into a dict; a text without ``=`` or a key given twice is an error."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ScfmError(f"--set {pair}: expected key=value, for example --set max_length=1200.")
        if key in found:
            raise ScfmError(f"--set {key}: given twice ('{found[key]}' and '{value}').")
        found[key] = value.strip()
    return found


def read_settings(path: Path | None) -> dict[str, Any]:
    """Read settings from a JSON file that holds one object; None = no settings."""
    if path is None:
        return {}
    if not path.is_file():
        raise ScfmError(f"--options {path}: the file does not exist.")
    content = read_json(path)
    if not isinstance(content, dict):
        raise ScfmError(f'--options {path}: expected a JSON object, such as {{"max_length": 1200}}.')
    return content


def make_settings(cls: type[S], values: Mapping[str, Any], *, model: str) -> S:
    """Build a model's settings from texts or Python values.

    Parameters
    ----------
    cls
        The model's settings class. Field types may be ``str``, ``int``, ``float``, ``bool``, ``Literal[...]``, and each
        of them ``| None`` (written as empty text, ``none`` or ``null``).
    values
        Value by key, as text (command line, YAML) or already typed (notebook).
    model
        Name for the error sentences.

    Raises
    ------
    ScfmError
        Unknown key (with the nearest known one) or a value of the wrong type (with what was expected).
    """
    hints = typing.get_type_hints(cls)
    unknown = [key for key in values if key not in hints]
    if unknown:
        raise ScfmError(
            f"{model} has no setting '{unknown[0]}'.{did_you_mean(unknown[0], hints)} Its settings:"
            f" {', '.join(sorted(hints))}."
        )
    return cls(**{key: _parse(value, hints[key], key=key, model=model) for key, value in values.items()})


def _parse(value: Any, hint: Any, *, key: str, model: str) -> Any:
    """Turn one value into the type its field declares."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if value is None or str(value).strip().lower() in {"", "none", "null"}:
            return None
        hint = next(option for option in options if option is not type(None))
        options = typing.get_args(hint)
    text = str(value).strip()
    if typing.get_origin(hint) is Literal:
        by_text = {str(option).lower(): option for option in options}
        if text.lower() in by_text:
            return by_text[text.lower()]
        raise ScfmError(
            f"{model}: setting {key}={text} is not one of"
            f" {', '.join(map(str, options))}.{did_you_mean(text, map(str, options))}"
        )
    try:
        if hint is bool:
            return on_off(text)
        return hint(text)
    except (ValueError, argparse.ArgumentTypeError) as error:
        expected = {int: "a whole number", float: "a number", bool: "true or false"}.get(hint, str(hint))
        raise ScfmError(f"{model}: setting {key}={text} is not {expected}.") from error


def as_dict(settings: ModelSettings) -> dict[str, Any]:
    """Return the settings as a plain dict, for the sidecar."""
    return dataclasses.asdict(settings)
