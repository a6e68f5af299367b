"""Read a recipe's YAML safely, with the line of every key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.io.yaml_files import read_yaml
from scfm.text import listing

#: a place inside the document: keys and positions from the top
Place = tuple[str | int, ...]


@dataclass(slots=True)
class Document:
    """A YAML file that was read.

    Attributes
    ----------
    name
        How messages call the file.
    content
        Plain lists, dicts and values.
    lines
        Line (from 1) of every place.
    errors
        Sentences about duplicate keys.
    """

    name: str
    content: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def where(self, place: Place) -> str:
        """Return how messages call a place: ``recipe.yml: line 4, sources.hlca.keep[0]``."""
        known = next((place[:n] for n in range(len(place), -1, -1) if place[:n] in self.lines), ())
        line = f" line {self.lines[known]}" if known in self.lines else ""
        return f"{self.name}:{line}{',' if line and place else ''} {written(place)}".rstrip()


def written(place: Place) -> str:
    """Return a place as text: ``sources.hlca.keep[0]``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def read_document(path: Path | str) -> Document:
    """Read a YAML file of plain values: no tags that make objects, no anchors, no key twice.

    Raises
    ------
    ScfmError
        The file does not exist, is not text, or is not YAML.
    """
    path = Path(path)
    if not path.is_file():
        raise ScfmError(f"{path}: the recipe does not exist.")
    document, read = Document(path.name), read_yaml(path, path.name)
    if read.node is not None:
        _visit(read.node, (), document)
    document.content = read.content
    return document


def _visit(node: Any, place: Place, document: Document) -> None:
    """Note the line of a node and of all below it, and every duplicate key."""
    import yaml

    document.lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _visit(item, (*place, number), document)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line, text = key.start_mark.line + 1, str(key.value)
            if text in seen:
                document.errors.append(
                    f"{document.name}: line {line}, {written((*place, text))}: the key {listing([text])} is a"
                    f" duplicate (first in line {seen[text]}); only one of them could count."
                )
            seen.setdefault(text, line)
            document.lines[(*place, text)] = line
            _visit(value, (*place, text), document)
