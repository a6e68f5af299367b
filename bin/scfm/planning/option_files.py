"""YAML files that a parameter names: ``--model_options``, ``--sweep``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.io.yaml_files import duplicate_keys, kind_of, read_yaml
from scfm.text import listing


def read_option_file(
    option: str, text: str, staged: Mapping[str, str] | None, expected: str
) -> tuple[str, dict[Any, Any] | None, list[str]]:
    """Read a file that holds one map.

    Parameters
    ----------
    option
        Name of the parameter.
    text
        Its value, the path of the file.
    staged
        Path text to local path, where files were staged.
    expected
        What the file should hold, for the sentence about one that holds something else.

    Returns
    -------
    How messages call the file; the map, None for an empty file; sentences if there is no file, or it is no YAML, no
    map, or has a duplicate key.
    """
    path = Path((staged or {}).get(text) or text)
    name = f"--{option} ({Path(text).name})"
    if not path.is_file():
        return name, None, [f"Parameter --{option}: the file '{text}' does not exist."]
    try:
        read = read_yaml(path, name)
    except ScfmError as error:
        return name, None, [str(error)]
    if read.content is not None and not isinstance(read.content, dict):
        return name, None, [f"{name} holds {kind_of(read.content)}; {expected}."]
    repeated = list(duplicate_keys(read.node)) if read.node is not None else []
    if repeated:
        return name, None, [f"{name}: {listing(repeated)} occurs more than once on one level; keep one of them."]
    return name, read.content, []
