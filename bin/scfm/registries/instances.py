"""Configured instances of a method: ``<method>-<label>``, a point of a sweep or a stage of staged integration.

An instance has a name of its own in every table, and the row of its method in ``assets/methods.tsv`` for everything
else: family, output, packages, process, title. No name of the registry holds a ``-``, so the method is what lies
before the first one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SWEEP, STAGE = "sweep", "stage"
#: between the name of a method and the label of an instance
SEPARATOR = "-"


@dataclass(frozen=True, slots=True)
class Instance:
    """A method with settings of its own.

    Attributes
    ----------
    base
        Name of the method in the registry.
    label
        What tells it apart from other instances of the method: letters, digits, ``_`` and ``-``.
    kind
        ``sweep`` or ``stage``.
    settings
        Parameters of the run that differ, by their full names (``harmony_theta``).
    """

    base: str
    label: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its method in plan and tables, ``harmony-theta8``."""
        return f"{self.base}{SEPARATOR}{self.label}"

    @property
    def settings_text(self) -> str:
        """The settings as JSON, for the plan."""
        return json.dumps(dict(self.settings))


def base_of(name: str) -> str:
    """Return the method of an instance; the name itself where it is none.

    Examples
    --------
    >>> base_of("harmony-theta8"), base_of("harmony")
    ('harmony', 'harmony')
    """
    return name.partition(SEPARATOR)[0]


def settings_in_words(settings: Mapping[str, Any], base: str) -> str:
    """Return settings for people, without the name of the method in front.

    Examples
    --------
    >>> settings_in_words({"harmony_theta": 8, "harmony_sigma": 0.1}, "harmony")
    'theta 8, sigma 0.1'
    """
    return ", ".join(f"{name.removeprefix(f'{base}_')} {value}" for name, value in settings.items())


def title_of(base_title: str, base: str, kind: str, settings: Mapping[str, Any]) -> str:
    """Return the title of an instance: what it was made with, behind the title of its method.

    Examples
    --------
    >>> title_of("Harmony", "harmony", "sweep", {"harmony_theta": 8})
    'Harmony (theta 8)'
    >>> title_of("Harmony", "harmony", "stage", {"harmony_stages": "donor > tissue", "harmony_stage": 1})
    'Harmony, stage 1 (donor inside tissue)'
    """
    if kind != STAGE:
        return f"{base_title} ({settings_in_words(settings, base)})"
    number = settings[f"{base}_stage"]
    keys = keys_of_stages(settings[f"{base}_stages"])
    inside = f" inside {keys[number]}" if number < len(keys) else ""
    return f"{base_title}, stage {number} ({keys[number - 1]}{inside})"


def keys_of_stages(text: str) -> list[str]:
    """Return the keys of ``--stages``, the first one corrected first.

    Examples
    --------
    >>> keys_of_stages("donor > tissue")
    ['donor', 'tissue']
    """
    return [part.strip() for part in text.split(">")]
