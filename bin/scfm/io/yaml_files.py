"""Reading YAML that a user wrote: plain values only, no aliases, every error a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError

if TYPE_CHECKING:
    import yaml

#: levels of lists and maps inside each other
MAX_DEPTH = 20
#: bytes of a file that a person wrote
MAX_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A YAML file that was read.

    Attributes
    ----------
    content
        Plain lists, maps and values.
    node
        The root node, with the place of everything in the file; None for an empty file.
    """

    content: Any
    node: "yaml.Node | None"


def read_yaml(path: Path, name: str) -> YamlFile:
    """Read a file of plain values.

    Parameters
    ----------
    path
        The file.
    name
        How messages call it.

    Raises
    ------
    ScfmError
        No ordinary file, not text, not YAML, with an alias (``*name``, which can multiply a few lines to gigabytes or
        contain itself), nested deeper than 20 levels, or with a value that can't be read (a date that does not exist).
    """
    import yaml

    text = _read_text(path, name)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            line = event.start_mark.line + 1
            if isinstance(event, yaml.AliasEvent):
                raise ScfmError(f"{name}: line {line}: YAML aliases ('*name') are not allowed; write the values out.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ScfmError(f"{name}: line {line}: nested deeper than {MAX_DEPTH} levels; no setting needs that.")
        return YamlFile(yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ScfmError(f"{name}: line {line}: not valid YAML: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise ScfmError(f"{name}: not valid YAML: {' '.join(str(error).split())}.") from error
    except (
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        AttributeError,
    ) as error:  # of values, keys and scalars
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ScfmError(
            f"{name}: a value can't be read as YAML ({reason}). Put texts that look like dates or numbers in quotes."
        ) from error


def _read_text(path: Path, name: str) -> str:
    """Return the text of an ordinary file of at most 2 MB."""
    if not path.is_file():
        raise ScfmError(f"{name}: the file does not exist, or is no ordinary file.")
    if path.stat().st_size > MAX_BYTES:
        raise ScfmError(f"{name}: has {path.stat().st_size:,} bytes; a file of settings has at most {MAX_BYTES:,}.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScfmError(f"{name}: not text in UTF-8 ({error.reason} at byte {error.start}).") from error


def duplicate_keys(node: "yaml.Node") -> Iterator[str]:
    """Yield duplicate keys of one map: YAML would keep the last one silently."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        return
    keys = [str(key.value) for key, _ in node.value]
    yield from sorted({key for key in keys if keys.count(key) > 1})
    for _, value in node.value:
        yield from duplicate_keys(value)


def kind_of(value: Any) -> str:
    """Return in words what a YAML value is."""
    return (
        "a map"
        if isinstance(value, dict)
        else "a list"
        if isinstance(value, list)
        else "nothing"
        if value is None
        else f"'{value}'"
    )
