"""``--stages``: keys that Harmony corrects one after the other, each inside the levels of the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scfm.registries.instances import STAGE, Instance, keys_of_stages
from scfm.text import listing

#: the method that integrates in stages
STAGED = "harmony"


def read_stages(params: Mapping[str, Any], methods: Sequence[str]) -> tuple[list[Instance], list[str]]:
    """Return an instance of Harmony per stage; sentences about what is wrong with ``--stages``.

    Parameters
    ----------
    params
        All parameters with defaults; ``stages`` is read.
    methods
        Methods of the run: Harmony in one stage is what the stages are compared with.
    """
    text = params.get("stages")
    if not text:
        return [], []
    keys = keys_of_stages(str(text))
    example = "expected two or more columns of obs, the innermost first, as in 'donor > tissue'"
    errors = []
    if len(keys) < 2 or not all(keys):
        errors.append(f"Parameter --stages is '{text}'; {example}.")
    repeated = sorted({key for key in keys if keys.count(key) > 1 and key})
    if repeated:
        errors.append(f"Parameter --stages names {listing(repeated)} more than once; {example}.")
    if STAGED not in methods:
        errors.append(f"Parameter --stages compares stages with {STAGED} in one stage: name {STAGED} in --methods.")
    settings = {f"{STAGED}_stages": " > ".join(keys)}
    numbers = range(1, len(keys) + 1)
    return [Instance(STAGED, f"stage{n}", STAGE, settings | {f"{STAGED}_stage": n}) for n in numbers], errors


def columns_of(instances: Sequence[Instance]) -> list[str]:
    """Return the columns of obs that the stages correct."""
    return next((keys_of_stages(i.settings[f"{i.base}_stages"]) for i in instances if i.kind == STAGE), [])
