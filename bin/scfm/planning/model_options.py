"""The YAML file of ``--model_options``: settings of models, checked against each model's own settings class."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from scfm.errors import ScfmError
from scfm.io.yaml_files import kind_of
from scfm.models import model_class
from scfm.models.core.settings import as_dict, make_settings
from scfm.planning.option_files import read_option_file
from scfm.text import did_you_mean

_EXPECTED = "expected model names, and below each its settings, as in `scgpt: {max_length: 2048}`"


def read_options(
    text: Any, staged: Mapping[str, str] | None, known: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Read and check the file.

    Parameters
    ----------
    text
        Value of ``--model_options``; None or empty = no file.
    staged
        Path text to local path, where files were staged.
    known
        The models table.

    Returns
    -------
    Typed settings by model, only those the user has given; all errors as sentences.
    """
    if not text:
        return {}, []
    name, content, errors = read_option_file("model_options", str(text), staged, _EXPECTED)
    if errors:
        return {}, errors
    options: dict[str, dict[str, Any]] = {}
    for model, values in (content or {}).items():
        if model not in known:
            errors.append(
                f"{name}: unknown model '{model}'.{did_you_mean(str(model), known)} Known: {', '.join(known)}."
            )
        elif not isinstance(values, dict):
            errors.append(f"{name}: '{model}' holds {kind_of(values)}; {_EXPECTED}.")
        else:
            options[model], more = check_settings(model, values)
            errors += [f"{name}: {sentence}" for sentence in more]
    return options, errors


def check_settings(model: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Check and type the settings of one model, one by one, so that every error is reported.

    Returns
    -------
    Typed settings; sentences about keys the model does not have and values of the wrong type.
    """
    cls = model_class(model).Settings
    hints = typing.get_type_hints(cls)
    typed: dict[str, Any] = {}
    errors: list[str] = []
    for key, value in values.items():
        if isinstance(value, (dict, list)):
            errors.append(f"{model}: setting {key} is {kind_of(value)}; expected a single value.")
        elif value is None and key in hints and type(None) not in typing.get_args(hints[key]):
            errors.append(f"{model}: setting {key} has no value; leave the line out for the default.")
        else:
            try:
                typed[str(key)] = as_dict(make_settings(cls, {str(key): value}, model=model))[str(key)]
            except ScfmError as error:
                errors.append(str(error))
    return typed, errors
