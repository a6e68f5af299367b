"""Levels of a key that are not what they seem: placeholders for missing values, and spellings of one name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from scfm.inputs.keys import as_text, split_key
from scfm.io.store import Store
from scfm.registries.messages import message

if TYPE_CHECKING:
    import pandas as pd


def placeholder_counts(parts: "Sequence[pd.Series]", placeholders: frozenset[str]) -> dict[str, int]:
    """Return the cells of every level, of any column of a key, that stands for a missing value."""
    found: dict[str, int] = {}
    for part in parts:
        counts = as_text(part).dropna().value_counts()
        for level in sorted(counts.index):
            if level.casefold() in placeholders:
                found[level] = found.get(level, 0) + int(counts[level])
    return found


def placeholder_warnings(store: Store, column: str, key: str, placeholders: frozenset[str]) -> list[dict]:
    """Return the message about levels of a key that count as missing.

    Parameters
    ----------
    store
        Open file.
    column
        Column of the samplesheet, such as ``label_key``.
    key
        Its value.
    placeholders
        Case-folded, from :func:`scfm.inputs.keys.placeholders_of`.
    """
    parts = [store.column("obs", p) for p in split_key(key, store.columns("obs"))]
    found = placeholder_counts(parts, placeholders)
    if not found:
        return []
    n_cells = sum(found.values())
    return [message("W-IN-08", n_cells=n_cells, column=column, values={"key": key, "placeholders": found})]


def alike(levels: Mapping[str, int]) -> list[list[str]]:
    """Return groups of levels that differ only in case, blanks or the signs between words.

    Examples
    --------
    >>> alike({"T cell": 3, "t-cell": 1, "T  Cell": 1, "B cell": 2})
    [['T  Cell', 'T cell', 't-cell']]
    """
    groups: dict[str, list[str]] = {}
    for level in sorted(levels):
        groups.setdefault(re.sub(r"[\s_.\-]+", " ", level).strip().casefold(), []).append(level)
    return [names for key, names in groups.items() if len(names) > 1 and key]


def spelling_warnings(column: str, key: str, levels: Mapping[str, int]) -> list[dict]:
    """Return the message about levels that differ only in spelling."""
    groups = alike(levels)
    if not groups:
        return []
    shown = "; ".join(" = ".join(f"'{n}' ({levels[n]:,})" for n in names) for names in groups[:10])
    more = f" and {len(groups) - 10:,} more" if len(groups) > 10 else ""
    return [
        message(
            "W-IN-09", n_names=len(groups), column=column, shown=f"{shown}{more}", values={"key": key, "groups": groups}
        )
    ]
