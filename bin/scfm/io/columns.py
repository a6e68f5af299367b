"""Columns of a frame as an h5ad file can hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def writable(column: "pd.Series") -> "pd.Series":
    """Return a column that h5ad can hold: objects become text, and categories where values are missing."""
    import pandas as pd

    if column.dtype != object:
        return column
    known = column.notna()
    text = column[known].astype(str).reindex(column.index)
    return text.astype(object) if known.all() else pd.Series(pd.Categorical(text), index=column.index)
