"""Which rows of a table are about the primary keys of their data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from scfm.inputs.keys import PAIR_COLUMNS, primary_pair

if TYPE_CHECKING:
    import pandas as pd


def primary_pairs(datasets: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return the primary batch key and label key per data set, from the entries of ``datasets.json``."""
    return {row["dataset"]: primary_pair(row) for row in datasets}


def is_primary(frame: "pd.DataFrame", primary: Mapping[str, tuple[str, str]]) -> "pd.Series":
    """Return which rows are about the primary keys; a data set that is not in ``primary`` has no others."""
    import pandas as pd

    given = zip(frame["dataset"], *(frame[c] for c in PAIR_COLUMNS), strict=True)
    return pd.Series([primary.get(d, tuple(pair)) == tuple(pair) for d, *pair in given], index=frame.index, dtype=bool)
