"""The part of the input contract about carried columns, and about donors that were sampled repeatedly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.inputs.keys import CARRIED, keys_of
from scfm.io.store import Store
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import pandas as pd


def carried_errors(store: Store, row: Mapping[str, str]) -> list[str]:
    """Return a sentence per column of ``clinical_keys`` and ``modality_keys`` that is missing, unreadable or no number.

    Parameters
    ----------
    store
        Open file.
    row
        Row of the samplesheet.
    """
    known, errors = store.columns("obs"), []
    for column in CARRIED.values():
        keys = keys_of(row, column)
        errors += [
            f"{store.name}: {column} lists '{key}' {keys.count(key)} times; list every column once."
            for key in dict.fromkeys(keys)
            if keys.count(key) > 1
        ]
        for key in dict.fromkeys(keys):
            if key not in known:
                errors.append(
                    f"{store.name}: obs has no column '{key}' ({column} of the samplesheet).{did_you_mean(key, known)} "
                    f"Columns: {listing(known, limit=12) or 'none'}."
                )
                continue
            try:
                values = store.column("obs", key)
            except ScfmError as error:
                errors.append(str(error))
                continue
            if column == "modality_keys":
                errors += _number_errors(store.name, key, values)
    return errors


def _number_errors(name: str, key: str, values: "pd.Series") -> list[str]:
    """Return the sentence about a column of a second modality that holds no numbers, or infinite ones."""
    import numpy as np
    import pandas as pd

    if pd.api.types.is_bool_dtype(values.dtype) or not pd.api.types.is_numeric_dtype(values.dtype):
        return [
            f"{name}: obs column '{key}' (modality_keys) is of the type {values.dtype}; expected numbers, such as "
            "protein levels."
        ]
    infinite = int(np.isinf(values.to_numpy(dtype=float, na_value=np.nan)).sum())
    if infinite:
        return [f"{name}: obs column '{key}' (modality_keys) holds {plural(infinite, 'infinite value')}; correct them."]
    return []


def pairing_errors(
    name: str, row: Mapping[str, str], donor: "pd.Series | None", condition: "pd.Series | None"
) -> list[str]:
    """Return the sentence about ``paired: true`` where no donor can have been sampled in several conditions.

    Parameters
    ----------
    name
        How messages call the file.
    row
        Row of the samplesheet.
    donor, condition
        Values per cell; None where the key is not named or could not be read.
    """
    if row.get("paired") != "true":
        return []
    absent = [column for column in ("donor_key", "condition_key") if not row.get(column)]
    if absent:
        return [
            f"{name}: paired is true, but there is no {' and no '.join(absent)}; name the obs columns of donors and "
            "conditions, or leave paired empty."
        ]
    if donor is None or condition is None or len(donor) != len(condition):
        return []
    conditions = condition.groupby(donor.to_numpy(dtype=object)).nunique()
    if (conditions > 1).any():
        return []
    return [
        f"{name}: paired is true, but none of {plural(len(conditions), 'donor')} of '{row['donor_key']}' occurs in more"
        f" than one level of '{row['condition_key']}'; correct the keys, or leave paired empty."
    ]
