"""The obs table: keys as text, the sample of every cell, and the columns that are carried along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.keys import (
    CARRIED,
    KEYS,
    LISTED,
    SAMPLE_PARTS,
    as_text,
    build_key,
    default_sample,
    key_column,
    keys_of,
    split_key,
)
from scfm.text import did_you_mean, listing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def build_obs(
    obs: "pd.DataFrame", row: Mapping[str, Any], placeholders: frozenset[str] = frozenset()
) -> "pd.DataFrame":
    """Return ``cell_id`` and the keys as text: None for missing values, absent keys all None.

    ``batch:<key>`` and ``label:<key>`` hold every key of ``batch_key`` and ``label_key``; ``batch`` and ``label`` are
    the first of them. ``sample`` is every combination of batch, donor, condition and tissue where no key names it.
    ``clinical:<key>`` (numbers or text) and ``modality:<key>`` (numbers) are the columns that are carried along.

    Parameters
    ----------
    obs
        The user's obs, indexed by cell id.
    row
        Row of the samplesheet.
    placeholders
        Texts that stand for a missing batch or label, from :func:`scfm.inputs.keys.placeholders_of`.

    Raises
    ------
    ScfmError
        A key names a column that does not exist.
    """
    import pandas as pd

    table = pd.DataFrame({"cell_id": obs.index.astype(str)}, dtype=object)
    listed: dict[str, np.ndarray] = {}
    for name, column in KEYS.items():
        keys = keys_of(row, column) if name in LISTED else [row[column]] if row.get(column) else []
        gone = placeholders if name in LISTED else frozenset()
        values = [_key_values(obs, key, column, gone) for key in keys]
        table[name] = values[0] if values else None
        if name in LISTED:
            listed |= {key_column(name, key): found for key, found in zip(keys, values, strict=True)}
    if not row.get(KEYS["sample"]):
        table["sample"] = default_sample(table[[name for name in SAMPLE_PARTS if row.get(KEYS[name])]])
    return table.assign(**listed, **_carried(obs, row))


def _carried(obs: "pd.DataFrame", row: Mapping[str, Any]) -> "dict[str, np.ndarray]":
    """Return the columns that are carried along, by their names in the obs table."""
    import numpy as np
    import pandas as pd

    found = {}
    for name, column in CARRIED.items():
        for key in keys_of(row, column):
            if key not in obs.columns:
                raise _no_column([key], column, obs)
            values = obs[key]
            is_number = pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)
            found[key_column(name, key)] = (
                values.to_numpy(dtype=np.float64, na_value=np.nan)
                if is_number
                else as_text(values).to_numpy(dtype=object)
            )
    return found


def _no_column(absent: list[str], column: str, obs: "pd.DataFrame") -> ScfmError:
    """Return the error about obs columns that a column of the samplesheet names and that do not exist."""
    return ScfmError(
        f"obs has no column {listing(absent)} ({column} of the "
        f"samplesheet).{did_you_mean(absent[0], map(str, obs.columns))}"
    )


def _key_values(obs: "pd.DataFrame", key: str, column: str, placeholders: frozenset[str]) -> "np.ndarray":
    """Return a key of the samplesheet as text per cell, None where it is missing."""
    parts = split_key(key, list(obs.columns))
    absent = [p for p in parts if p not in obs.columns]
    if absent:
        raise _no_column(absent, column, obs)
    return build_key([obs[p] for p in parts], placeholders).to_numpy(dtype=object)
