"""Check Nextflow's parameters against ``nextflow_schema.json``, as sentences."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scfm.registries.corrections import load_corrections
from scfm.registries.instances import Instance
from scfm.registries.methods import Method
from scfm.text import did_you_mean, listing, split_list

#: seeds are numbers of 32 bits in NumPy's and PyTorch's older generators
MAX_SEED, MAX_DIGITS = 2**32, 20
_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "object": "a map (config file only)",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What a run was asked to do, after the check.

    Attributes
    ----------
    methods, controls, corrections
        Names in the order of the methods table (corrections: as given).
    seeds
        Seeds in the order given, without repeats.
    instances
        Configured instances of methods: points of a sweep, stages.
    """

    methods: list[str] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)
    corrections: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0])
    instances: list[Instance] = field(default_factory=list)


def properties_of(schema: Mapping[str, Any]) -> dict[str, dict]:
    """Return every parameter of the schema with its description, whatever group it is in."""
    groups = [*schema.get("$defs", {}).values(), {"properties": schema.get("properties", {})}]
    return {name: spec for group in groups for name, spec in group.get("properties", {}).items()}


def with_defaults(params: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return every parameter of the schema, as given or with its default (None where it has none)."""
    return {
        name: params.get(name) if params.get(name) is not None else spec.get("default")
        for name, spec in properties_of(schema).items()
    }


def _snake(name: str) -> str:
    """Return a kebab-case or camelCase name in snake case."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: f"_{m.group(1).lower()}", name).replace("-", "_").lower()


def unknown_params(params: Mapping[str, Any], known: Mapping[str, dict]) -> list[str]:
    """Return a sentence per parameter that the schema does not have.

    Nextflow adds camelCase twins to kebab-case parameters; a twin with the value of the real parameter is no error.
    """
    errors = []
    for name, value in params.items():
        twin = _snake(name)
        if name in known or (twin in known and params.get(twin) == value):
            continue
        hint = f" Did you mean '--{twin}'?" if twin in known else did_you_mean(name, known).replace("'", "'--", 1)
        errors.append(f"Unknown parameter '--{name}'.{hint} 'nextflow run . --help' lists all parameters.")
    return errors


def _limits(spec: Mapping[str, Any]) -> str:
    """Return the range of a number in words."""
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
    }
    return " and ".join(text.format(spec[key]) for key, text in words.items() if key in spec)


def _sentence(name: str, value: Any, rule: str, spec: Mapping[str, Any]) -> str:
    """Return the sentence for one broken rule of JSON schema."""
    if rule == "enum":
        options = [str(o) for o in spec["enum"]]
        return (
            f"Parameter --{name} is '{value}'; expected one of {', '.join(options)}.{did_you_mean(str(value), options)}"
        )
    if rule == "type":
        types = spec["type"] if isinstance(spec["type"], list) else [spec["type"]]
        expected = " or ".join(_TYPES[t] for t in types)
        return f"Parameter --{name} is '{value}'; expected {expected}{', ' + _limits(spec) if _limits(spec) else ''}."
    if rule in {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}:
        return f"Parameter --{name} is {value}; expected a value {_limits(spec)}."
    description = spec.get("description", "").rstrip(".")
    examples = spec.get("examples", []) if spec.get("default") is None else [spec["default"]]
    instance = f" (for instance '{examples[0]}')" if examples else ""
    return f"Parameter --{name} is '{value}', which is not in the right form; it is: {description}{instance}."


def schema_errors(params: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Return a sentence per parameter whose type, range, form or choice is wrong, or that is missing.

    Parameters that are null count as not given, as in Nextflow.
    """
    from jsonschema import Draft202012Validator

    known = properties_of(schema)
    required = [r for group in schema.get("$defs", {}).values() for r in group.get("required", [])]
    errors = [
        f"Parameter --{r} is missing; it is: {known[r].get('description', '').rstrip('.')}."
        for r in required
        if params.get(r) is None
    ]
    for name, spec in known.items():
        value = params.get(name)
        if value is None:
            continue
        value = _trimmed(value)
        violations = sorted(Draft202012Validator(spec).iter_errors(value), key=lambda e: str(e.validator))
        if violations:
            rules = [str(e.validator) for e in violations]
            errors.append(_sentence(name, value, "type" if "type" in rules else rules[0], spec))
    return errors


def _trimmed(value: Any) -> Any:
    """Return a text without the blanks around it."""
    return value.strip() if isinstance(value, str) else value


def choose_names(
    param: str,
    value: Any,
    names: Iterable[str],
    *,
    noun: str,
    elsewhere: Mapping[str, str] | None = None,
    apart: Collection[str] = (),
) -> tuple[list[str], list[str]]:
    """Resolve a comma list of names, ``all`` or ``none``.

    Parameters
    ----------
    param
        Name of the parameter, for messages.
    value
        As Nextflow hands it over.
    names
        Known names, in the order of the result for ``all``.
    noun
        What a name is (``method`` …).
    elsewhere
        Names that belong to another parameter, with that parameter.
    apart
        Names that ``all`` leaves out; they may be given beside it.

    Returns
    -------
    Chosen names without repeats; sentences about unknown ones.
    """
    names, elsewhere = list(names), elsewhere or {}
    given = split_list(value)
    if given and set(given) <= {"all", *apart} and "all" in given:
        return [name for name in names if name not in apart or name in given], []
    if given in ([], ["none"]):
        return [], []
    errors = []
    for name in dict.fromkeys(given):
        if name in {"all", "none"}:
            errors.append(f"Parameter --{param}: '{name}' can't be combined with other names.")
        elif name in elsewhere:
            errors.append(f"Parameter --{param}: '{name}' belongs to --{elsewhere[name]}; name it there.")
        elif name not in names:
            errors.append(
                f"Parameter --{param}: unknown {noun} '{name}'.{did_you_mean(name, [*names, *elsewhere])} Known: "
                f"{', '.join(names)}, or all, or none."
            )
    return [n for n in dict.fromkeys(given) if n in names], errors


def choose(
    params: Mapping[str, Any], methods: Mapping[str, Method], known_corrections: Iterable[str]
) -> tuple[Choice, list[str]]:
    """Resolve methods, controls, corrections and seeds.

    Returns
    -------
    The choice; sentences about unknown names and numbers that are none.
    """
    controls = [n for n, m in methods.items() if m.is_control]
    plain = [n for n in methods if n not in controls]
    picked, errors = choose_names(
        "methods",
        params.get("methods"),
        plain,
        noun="method",
        elsewhere=dict.fromkeys(controls, "controls"),
        apart=[n for n in plain if methods[n].r_packages],
    )
    anchors, more = choose_names(
        "controls", params.get("controls"), controls, noun="control", elsewhere=dict.fromkeys(plain, "methods")
    )
    corrections, other = choose_names("corrections", params.get("corrections"), known_corrections, noun="correction")
    is_study = params.get("metrics_profile") == "paper"
    if "center_l2" in corrections and "l2" not in corrections and not is_study:
        # what unit length does alone is shown beside it; the paper profile keeps the study's embeddings
        corrections.insert(corrections.index("center_l2"), "l2")
    seeds, odd = read_seeds(params.get("seeds"))
    return Choice(picked, anchors, corrections, seeds or [0]), errors + more + other + odd


def read_seeds(value: Any) -> tuple[list[int], list[str]]:
    """Return seeds as whole numbers, each once; a sentence about those that no random generator takes.

    Text that is no number is left to the schema.

    Examples
    --------
    >>> read_seeds("00, 0,7"), read_seeds(3)
    (([0, 7], []), ([3], []))
    """
    texts = [s for s in split_list(value) if s.isascii() and s.isdigit()]
    large = [s for s in texts if len(s) > MAX_DIGITS or int(s) >= MAX_SEED]
    errors = [f"Parameter --seeds: {listing(large)}; expected numbers from 0 to {MAX_SEED - 1:,}."] if large else []
    return list(dict.fromkeys(int(s) for s in texts if s not in large)), errors


def file_errors(params: Mapping[str, Any], schema: Mapping[str, Any], staged: Mapping[str, str] | None) -> list[str]:
    """Return a sentence per file named by a parameter that does not exist.

    The samplesheet is opened anyway. A file that is not in the map of staged ones is left to the step that stages it.
    """
    errors = []
    for name, spec in properties_of(schema).items():
        value = params.get(name)
        if name == "input" or value is None or spec.get("format") != "file-path":
            continue
        if staged is not None and str(value) not in staged:
            continue
        place = str(value) if staged is None else staged[str(value)]
        if not (place and Path(place).is_file()):
            errors.append(f"Parameter --{name}: the file '{value}' does not exist.")
    return errors


def check_params(
    params: Mapping[str, Any],
    schema: Mapping[str, Any],
    methods: Mapping[str, Method],
    staged: Mapping[str, str] | None = None,
    *,
    corrections: Iterable[str] | None = None,
) -> tuple[Choice, list[str]]:
    """Check all parameters at once; ``corrections`` are the names of the corrections table, by default that of this
    checkout.

    Returns
    -------
    What was asked for; all errors as sentences.
    """
    errors = (
        unknown_params(params, properties_of(schema))
        + schema_errors(params, schema)
        + file_errors(params, schema, staged)
    )
    known_corrections = load_corrections() if corrections is None else corrections
    choice, more = choose(with_defaults(params, schema), methods, known_corrections)
    return choice, errors + more
