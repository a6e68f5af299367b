"""Settings of the probes, read from the parameters of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from scfm.errors import ScfmError


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of the probes; the names with ``probe_`` before them are the pipeline's parameters.

    Attributes
    ----------
    c, max_iter
        Of the logistic regression: inverse strength of the penalty, limit of iterations.
    k
        Neighbours that vote.
    permutations, logistic_permutations
        Permutations of the training classes for the neighbours' vote and for the logistic regression.
    max_training
        Training cells of a logistic fit at most, a stratified sample of the fold's; 0: all.
    seed
        Seed of the permutations and of the sample.
    balanced
        Whether every class has the same weight; otherwise every cell has (the study).
    """

    c: float = 1.0
    max_iter: int = 1000
    k: int = 15
    permutations: int = 500
    logistic_permutations: int = 1
    max_training: int = 50_000
    seed: int = 123
    balanced: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work, by the parameter's name."""
        limits = {
            "c": 0.0,
            "max_iter": 0,
            "k": 0,
            "permutations": -1,
            "logistic_permutations": -1,
            "max_training": -1,
            "seed": -1,
        }
        for name, least in limits.items():
            if not getattr(self, name) > least:
                raise ScfmError(f"Parameter probe_{name} is {getattr(self, name)}; it must be above {least}.")

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "ProbeSettings":
        """Take the ``probe_*`` entries of the pipeline's parameters; others are not for this step."""
        given = {}
        for setting in fields(cls):
            name, value = setting.name, params.get(f"probe_{setting.name}")
            if value is None:
                continue
            if isinstance(setting.default, bool) != isinstance(value, bool):
                expected = "true or false" if isinstance(setting.default, bool) else "a number"
                raise ScfmError(f"Parameter probe_{name} is '{value}'; expected {expected}.")
            try:
                given[name] = type(setting.default)(value)
            except (TypeError, ValueError):
                raise ScfmError(f"Parameter probe_{name} is '{value}'; expected a number.") from None
        return cls(**given)
