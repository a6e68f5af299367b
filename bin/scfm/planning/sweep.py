"""``--sweep``: the YAML file with settings of methods to try, checked against the schema of the parameters."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scfm.inputs.params import properties_of, schema_errors
from scfm.io.yaml_files import kind_of
from scfm.planning.option_files import read_option_file
from scfm.registries.instances import SWEEP, Instance
from scfm.text import did_you_mean, listing

if TYPE_CHECKING:
    from scfm.registries.methods import Method

#: longest label that is made of the settings; longer ones are numbered
MAX_LABEL = 40
_EXPECTED = (
    "expected method names, and below each parameters with lists of values, as in `harmony: {harmony_theta: [0, 2, 8]}`"
)


def read_sweep(
    params: Mapping[str, Any],
    staged: Mapping[str, str] | None,
    schema: Mapping[str, Any],
    methods: Mapping[str, "Method"],
    n_seeds: int,
) -> tuple[list[Instance], list[str]]:
    """Read and check the file of ``--sweep``.

    Parameters
    ----------
    params
        All parameters with defaults; ``sweep`` and ``max_sweep_points`` are read.
    staged
        Path text to local path, where files were staged.
    schema
        ``nextflow_schema.json``.
    methods
        The methods table.
    n_seeds
        Seeds of the run.

    Returns
    -------
    An instance per combination of the values of a method, in the order of the file, the last parameter first in
    changing; all errors as sentences.
    """
    text = params.get("sweep")
    if not text:
        return [], []
    name, content, errors = read_option_file("sweep", str(text), staged, _EXPECTED)
    if errors:
        return [], errors
    if not content:
        return [], [f"{name} holds {kind_of(content)}; {_EXPECTED}."]
    points: list[Instance] = []
    for method, settings in content.items():
        grid, more = _grid(str(method), settings, schema, methods, name)
        errors += more
        points += _points(str(method), grid) if not more else []
    n_planned = sum(n_seeds if methods[point.base].stochastic else 1 for point in points)
    limit = int(params["max_sweep_points"])
    if n_planned > limit:
        errors.append(
            f"{name}: {len(points)} settings with {n_seeds} seeds are {n_planned} embeddings of every data set;"
            f" --max_sweep_points allows {limit}. Give fewer values or seeds, or raise --max_sweep_points."
        )
    return ([] if errors else points), errors


def _grid(
    method: str, settings: Any, schema: Mapping[str, Any], methods: Mapping[str, "Method"], name: str
) -> tuple[dict[str, list[Any]], list[str]]:
    """Return the values of each parameter of one method; sentences about everything that is wrong."""
    plain = [n for n, m in methods.items() if not m.is_control]
    if method not in plain:
        hint = did_you_mean(method, plain)
        return {}, [f"{name}: unknown method '{method}'.{hint} Methods that can be swept: {', '.join(plain)}."]
    if not isinstance(settings, dict) or not settings:
        return {}, [f"{name}: '{method}' holds {kind_of(settings)}; {_EXPECTED}."]
    known = {n: spec for n, spec in properties_of(schema).items() if n.startswith(f"{method}_")}
    grid: dict[str, list[Any]] = {}
    errors: list[str] = []
    for parameter, values in settings.items():
        if parameter not in known:
            allowed = f"Parameters of {method}: {', '.join(known)}." if known else f"{method} has no parameters."
            errors.append(
                f"{name}: {method}: unknown parameter '{parameter}'.{did_you_mean(str(parameter), known)} {allowed}"
            )
            continue
        grid[parameter], more = _values(parameter, values, known[parameter])
        errors += [f"{name}: {method}: {sentence}" for sentence in more]
    return grid, errors


def _values(parameter: str, values: Any, spec: Mapping[str, Any]) -> tuple[list[Any], list[str]]:
    """Return the values of one parameter; sentences about those that the schema does not allow."""
    tried = values if isinstance(values, list) else [values]
    if not tried:
        return [], [f"{parameter} has no values; give a list, as in `{parameter}: [{spec.get('default', 1)}]`."]
    errors = []
    for value in tried:
        if value is None or isinstance(value, (dict, list)):
            errors.append(f"{parameter} has {kind_of(value)} among its values; expected single values.")
        else:
            errors += schema_errors({parameter: value}, {"properties": {parameter: spec}})
    repeated = [value for i, value in enumerate(tried) if value in tried[:i]]
    if repeated:
        errors.append(f"{parameter} has the values {listing(repeated)} more than once; give each once.")
    return tried, errors


def _points(method: str, grid: Mapping[str, Sequence[Any]]) -> list[Instance]:
    """Return the instances of all combinations; a label that is too long or that two would share is a number."""
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    labels = [_label(method, settings) for settings in combinations]
    if any(len(label) > MAX_LABEL for label in labels) or len(set(labels)) < len(labels):
        labels = [f"point{number}" for number in range(1, len(combinations) + 1)]
    return [Instance(method, label, SWEEP, c) for label, c in zip(labels, combinations, strict=True)]


def _label(method: str, settings: Mapping[str, Any]) -> str:
    """Return a label of letters, digits, ``_`` and ``-``.

    Examples
    --------
    >>> _label("harmony", {"harmony_theta": 0.5, "harmony_max_iter": 10})
    'theta0_5-max_iter10'
    """
    parts = [f"{name.removeprefix(f'{method}_')}{value}" for name, value in settings.items()]
    return "-".join(re.sub(r"[^A-Za-z0-9_]+", "_", part) for part in parts)
