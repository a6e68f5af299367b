"""Make labels by the first matching rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.recipes.recipe import Labels
from scfm.recipes.rows import absent_values, levels
from scfm.registries.messages import message
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MISSING = "(missing)"


@dataclass(frozen=True, slots=True)
class Labelled:
    """What rules made of the cells.

    Attributes
    ----------
    labels
        Label per cell, shape (n,), categorical, missing where no rule matched.
    unmapped
        What the cells without a label have in the columns of the rules (joined by `` | ``), and how many cells have it;
        most first.
    warnings
        Values that rules name and no cell has; cells without a label.
    """

    labels: "pd.Categorical"
    unmapped: dict[str, int]
    warnings: list[dict[str, Any]]


def apply_rules(obs: "pd.DataFrame", spec: Labels, *, name: str) -> Labelled:
    """Label cells.

    Parameters
    ----------
    obs
        The cells that passed the filters of their sources.
    spec
        Rules.
    name
        How messages call the recipe.

    Raises
    ------
    ScfmError
        A rule reads a column that does not exist, or no cell gets a label.
    """
    import numpy as np
    import pandas as pd

    columns = list(dict.fromkeys(rule.column for rule in spec.rules))
    for column in columns:
        if column not in obs:
            raise ScfmError(
                f"{name}: labels: there is no column '{column}'.{did_you_mean(column, obs.columns)} Columns: "
                f"{listing(obs.columns, limit=12)}."
            )
    coded = {column: levels(obs[column]) for column in columns}
    classes = list(dict.fromkeys(label for rule in spec.rules for label in rule.labels.values()))
    number_of = {label: i for i, label in enumerate(classes)}
    found = np.full(len(obs), -1)
    absent: dict[str, list[str]] = {}
    for rule in spec.rules:
        codes, names = coded[rule.column]
        numbers = np.array([number_of[rule.labels[n]] if n in rule.labels else -1 for n in names] + [-1])[codes]
        found = np.where(found < 0, numbers, found)
        absent.setdefault(rule.column, []).extend(v for v in rule.labels if v not in set(names))
    absent = {column: values for column, values in absent.items() if values}
    present = {column: names for column, (_, names) in coded.items()}
    warnings = [absent_values(f"{name}: labels", absent, present)] if absent else []
    left = found < 0
    unmapped = _count(left, [coded[c] for c in columns])
    if left.all():
        raise ScfmError(
            f"{name}: labels: none of the {plural(len(obs), 'cell')} gets a label. Values of {listing(columns)}: "
            f"{listing(unmapped, limit=12)}."
        )
    if left.any():
        warnings.append(_unmapped(name, spec, unmapped))
    used = [i for i in range(len(classes)) if (found == i).any()]
    values = pd.Categorical(
        [classes[i] if i >= 0 else None for i in found], categories=sorted(classes[i] for i in used)
    )
    return Labelled(values, unmapped, warnings)


def _count(left: "np.ndarray", coded: "list[tuple[np.ndarray, list[str]]]") -> dict[str, int]:
    """Return values of the columns joined, and how many of the cells that are left have them."""
    import pandas as pd

    parts = [
        pd.Series(codes[left]).map(lambda i, names=names: names[i] if i >= 0 else MISSING) for codes, names in coded
    ]
    joined = parts[0].astype(object)
    for part in parts[1:]:
        joined = joined + " | " + part
    counts = joined.value_counts()
    return {str(value): int(counts[value]) for value in sorted(counts.index, key=lambda v: (-counts[v], v))}


def _unmapped(name: str, spec: Labels, unmapped: dict[str, int]) -> dict[str, Any]:
    """Return the message about cells without a label."""
    n_cells = sum(unmapped.values())
    shown = ", ".join(f"'{v}' ({n:,})" for v, n in list(unmapped.items())[:8]) + (
        f" and {len(unmapped) - 8} more" if len(unmapped) > 8 else ""
    )
    return message(
        "W-REC-02",
        name=name,
        fate="were dropped" if spec.unmapped == "drop" else "stay without a label",
        column=spec.column,
        listed=shown,
        values={"n_cells": n_cells, "n_values": len(unmapped), "what_is_done": spec.unmapped},
    )
