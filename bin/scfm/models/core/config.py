"""Numbers in a model's configuration file, checked before anything is built from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.text import plural

if TYPE_CHECKING:
    from scfm.models.core.checkpoint import Checkpoint


def whole_numbers(
    content: Any, keys: Mapping[str, int], path: Path | str, *, usual: Mapping[str, int] | None = None
) -> list[int]:
    """Return whole numbers of a configuration, in the order of ``keys``.

    Parameters
    ----------
    content
        What the file holds; anything but an object is an error.
    keys
        Key -> smallest value that is accepted.
    path
        File, for the error sentence.
    usual
        Values of keys that may be absent (or null).

    Examples
    --------
    >>> whole_numbers({"heads": 8}, {"heads": 1, "clusters": 0}, "config.json", usual={"clusters": 0})
    [8, 0]
    """
    if not isinstance(content, dict):
        raise ScfmError(f"{path}: expected an object with the architecture, found a {type(content).__name__}.")
    found = content | {key: value for key, value in (usual or {}).items() if content.get(key) is None}
    bad = [key for key, least in keys.items() if type(found.get(key)) is not int or found[key] < least]
    if bad:
        raise ScfmError(
            f"{path}: needs whole numbers for {', '.join(f'{key} (at least {keys[key]})' for key in bad)}; found"
            f" {', '.join(repr(found[key]) if key in found else 'none' for key in bad)}."
        )
    return [found[key] for key in keys]


def finite_number(content: Mapping[str, Any], key: str, path: Path | str, *, usual: float) -> float:
    """Return a number of a configuration that single precision can hold; ``usual`` where the key is absent."""
    value = content.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) > 1e38:
        raise ScfmError(f"{path}: {key} is {value!r}; expected a number.")
    return float(value)


def check_depth(checkpoint: "Checkpoint", prefix: str, n_layers: int, path: Path | str) -> None:
    """Refuse a checkpoint with more layers than its configuration says.

    Without the last ones its rows look like any others: a configuration of the small release beside the weights of the
    large one of the same width is not seen in any shape.

    Parameters
    ----------
    checkpoint
        Open checkpoint.
    prefix
        Text in front of a layer's number.
    n_layers
        What the configuration says.
    path
        The configuration, for the error sentence.
    """
    numbers = (name.removeprefix(prefix).split(".", 1)[0] for name in checkpoint.names if name.startswith(prefix))
    found = max((int(number) + 1 for number in numbers if number.isdigit()), default=0)
    if found > n_layers:
        raise ScfmError(
            f"{checkpoint.path}: holds {plural(found, 'layer')} ('{prefix}0' to '{prefix}{found - 1}'), but {path} says"
            f" {n_layers}: the last {found - n_layers} would be left out. Are weights and configuration of two releases"
            " mixed?"
        )
