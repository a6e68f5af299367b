"""Cells and their ids: the table of a data set's cells and joins on cell id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.io.parquet import read_frame
from scfm.io.tables import CELL_ID

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def read_cells(path: Path | str) -> "pd.DataFrame":
    """Read ``<dataset>.obs.parquet``.

    Returns
    -------
    Table indexed by ``cell_id``, in file order, with at least ``batch`` and ``label`` (null = missing).
    """
    obs = read_frame(path)
    absent = [c for c in (CELL_ID, "batch", "label") if c not in obs]
    if absent:
        raise ScfmError(
            f"{path}: missing columns {absent}; it has {list(obs.columns)}. It should come from the preparation step."
        )
    if obs[CELL_ID].duplicated().any():
        raise ScfmError(f"{path}: {int(obs[CELL_ID].duplicated().sum())} cell ids occur twice.")
    return obs.set_index(CELL_ID)


def labels_of(cells: "pd.DataFrame") -> "np.ndarray":
    """Return the column ``label`` as an array of strings, shape (n_cells,), None where a cell has none."""
    labels = cells["label"]
    return labels.astype(object).where(labels.notna(), None).to_numpy(dtype=object)


def held_out_of(cells: "pd.DataFrame", source: Path | str) -> "np.ndarray":
    """Return which cells are held out, shape (n_cells,), bool; a table that does not say is a :class:`ScfmError`."""
    if "held_out" not in cells:
        raise ScfmError(
            f"{source}: no column 'held_out'; found {list(cells.columns)}. Prepare the data set again: it says which"
            " labels a method that reads labels must not see."
        )
    return cells["held_out"].to_numpy(dtype=bool)


def align(found: "np.ndarray", wanted: "np.ndarray", source: Path | str | None) -> "np.ndarray":
    """Return the rows of ``found`` that bring it into the order of ``wanted``.

    Parameters
    ----------
    found
        Cell ids of a table, shape (n_found,), each once.
    wanted
        Cell ids in the order asked for, shape (n_wanted,).
    source
        File that ``found`` came from, for the error.

    Returns
    -------
    Positions in ``found``, shape (n_wanted,).

    Raises
    ------
    ScfmError
        Where an id is missing or occurs twice.
    """
    import pandas as pd

    index = pd.Index(found)
    if not index.is_unique:
        raise ScfmError(f"{source}: {int(index.duplicated().sum())} cell ids occur more than once.")
    rows = index.get_indexer(wanted)
    absent = rows < 0
    if absent.any():
        raise ScfmError(
            f"{source}: {int(absent.sum())} of {len(wanted)} cells are not in it, e.g. {list(wanted[absent][:3])}. "
            "The files of a data set must come from one preparation."
        )
    return rows
