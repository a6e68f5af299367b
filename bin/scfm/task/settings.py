"""Picking a method's settings out of the parameters of the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scfm.errors import ScfmError

#: settings that are parameters of the run under their own name, shared by several steps
SHARED = frozenset({"n_pcs"})


def pick_settings(method: str, defaults: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a method: its defaults, overridden by the parameters ``<method>_<setting>``.

    Parameters
    ----------
    method
        Name of the method.
    defaults
        The method's ``DEFAULTS``; their types decide how a value given as text is read.
    params
        All parameters of the run; those of other steps are passed over.

    Raises
    ------
    ScfmError
        Where a value is not of the kind its default is.

    Examples
    --------
    >>> pick_settings("harmony", {"theta": 2.0}, {"harmony_theta": 4, "outdir": "results"})
    {'theta': 4.0}
    """
    chosen = {}
    for name, default in defaults.items():
        key = name if name in SHARED else f"{method}_{name}"
        chosen[name] = _coerce(params[key], default, key) if key in params else default
    return chosen


def given(params: Mapping[str, Any], prefix: str, names: Iterable[str]) -> dict[str, Any]:
    """Return the parameters ``<prefix><name>`` that have a value, by name: what is absent or null keeps its default.

    Examples
    --------
    >>> given({"de_fdr": 0.1, "de_top": None, "seeds": 0}, "de_", ["fdr", "top", "delta"])
    {'fdr': 0.1}
    """
    return {name: params[prefix + name] for name in names if params.get(prefix + name) is not None}


def _coerce(value: Any, default: Any, key: str) -> Any:
    """Read ``value`` as the kind of thing ``default`` is; None stays None, and a None default takes numbers as they
    are.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in {"", "null"}):
        return [] if isinstance(default, list) else None
    if isinstance(default, list):
        items = value.split(",") if isinstance(value, str) else value
        return [str(item).strip() for item in items if str(item).strip()]
    if isinstance(default, str):
        return str(value)
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ScfmError(f"Parameter {key} = {value!r} should be true or false.")
        return value
    if isinstance(value, bool):
        raise ScfmError(f"Parameter {key} = {value} should be a number.")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ScfmError(f"Parameter {key} = {value!r} should be a number.") from None
    if isinstance(default, int) and not number.is_integer():
        raise ScfmError(f"Parameter {key} = {value!r} should be a whole number.")
    if isinstance(default, float):
        return number
    return int(number) if number.is_integer() else number
