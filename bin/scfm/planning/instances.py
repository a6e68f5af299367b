"""The configured instances of a run: points of its sweep and its stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scfm.inputs.params import Choice
from scfm.planning.stages import read_stages
from scfm.planning.sweep import read_sweep

if TYPE_CHECKING:
    from scfm.registries.methods import Method


def with_instances(
    choice: Choice,
    params: Mapping[str, Any],
    staged: Mapping[str, str] | None,
    *,
    schema: Mapping[str, Any],
    methods: Mapping[str, "Method"],
) -> tuple[Choice, list[str]]:
    """Return what a run was asked to do with the instances of ``--sweep`` and ``--stages``; all errors as sentences.

    Parameters
    ----------
    choice
        Methods and seeds of the run.
    params
        All parameters with defaults.
    staged
        Path text to local path, where files were staged.
    schema
        ``nextflow_schema.json``.
    methods
        The methods table.
    """
    points, errors = read_sweep(params, staged, schema, methods, len(choice.seeds))
    stages, more = read_stages(params, choice.methods)
    return replace(choice, instances=[*points, *stages]), errors + more
