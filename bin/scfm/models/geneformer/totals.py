"""Total counts of cells: summed, or from a column of obs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scfm.errors import ScfmError
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

    from scfm.models.core.reader import Counts


def row_sums(counts: "csr_matrix") -> np.ndarray:
    """Return the total count of each cell, shape (n_cells,), float64."""
    return np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()


def total_counts(column: "pd.Series") -> np.ndarray:
    """Return a column of totals in its own type, which rounding depends on; nullable and boolean ones as float64."""
    import pandas as pd

    is_plain = isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiu"
    return column.to_numpy() if is_plain else pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)


def check_totals(counts: "Counts", column: str) -> int:
    """Refuse totals that are no positive numbers in cells that have counts; return the cells that have none at all."""
    import pandas as pd

    totals = counts.obs_column(column)
    if not pd.api.types.is_numeric_dtype(totals):
        raise ScfmError(
            f"{counts.name}: obs column '{column}' (setting n_counts_column) holds {totals.dtype} values, expected the"
            " total count of each cell."
        )
    values = total_counts(totals).astype(np.float64)
    missing, filled = np.isnan(values), counts.scan().genes_per_cell > 0
    bad = np.flatnonzero(~((values > 0) & np.isfinite(values)) & ~missing & filled)
    if len(bad):
        raise ScfmError(
            f"{counts.name}: obs column '{column}' (setting n_counts_column) is {values[bad[0]]:g} in cell"
            f" '{counts.cell_ids[bad[0]]}' and not a positive number in {plural(len(bad), 'cell')} of {len(values):,}"
            " that have counts; expected the total count of each cell."
        )
    return int((missing & filled).sum())
