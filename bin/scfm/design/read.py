"""Read what the design is described from: keys, components, mitochondrial share, and what subjects are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.design.reuse import subject_fields
from scfm.errors import ScfmError
from scfm.io.matrix import open_matrix
from scfm.io.store import Store, open_store
from scfm.io.tables import CELL_ID, read_embedding, read_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: prefix of the symbols of mitochondrial genes, in upper case
MITOCHONDRIAL = "MT-"
#: rows of counts that are read at once
ROWS = 8192


@dataclass(frozen=True, slots=True)
class DesignData:
    """A prepared data set, rows of everything in the order of ``obs``.

    Attributes
    ----------
    obs
        The obs table.
    scores
        Uncorrected principal components, shape (n_cells, n_components).
    mito_share
        Share of mitochondrial counts per cell; None where no symbol begins with ``MT-``.
    fields
        The user's columns that say what a subject is.
    """

    obs: "pd.DataFrame"
    scores: "np.ndarray"
    mito_share: "np.ndarray | None"
    fields: "pd.DataFrame"


def read_prepared(prepared: Path, obs: Path, pca: Path, *, paired: str) -> DesignData:
    """Read a prepared data set and join its files by cell id.

    Parameters
    ----------
    prepared, obs, pca
        ``<dataset>.prepared.h5ad``, ``<dataset>.obs.parquet`` and ``<dataset>.pca.parquet``.
    paired
        As declared: age is no field of a subject that is sampled repeatedly.

    Raises
    ------
    ScfmError
        A cell of the obs table is missing in one of the others.
    """
    import pandas as pd

    table = read_table(obs)
    ids, scores = read_embedding(pca)
    with open_store(prepared) as store:
        cells = store.index("obs")
        columns = subject_fields(store.columns("obs"), paired=paired)
        fields = pd.DataFrame({c: store.column("obs", c).to_numpy() for c in columns}, index=range(len(cells)))
        share = _mito_share(store)
    at_scores, at_cells = (
        _places(table[CELL_ID], pd.Index(found), name) for found, name in ((ids, pca), (cells, prepared))
    )
    return DesignData(
        table,
        scores[at_scores],
        None if share is None else share[at_cells],
        fields.iloc[at_cells].reset_index(drop=True),
    )


def _places(wanted: "pd.Series", found: "pd.Index", path: Path) -> "np.ndarray":
    """Return where the cells of the obs table are in another file."""
    at = found.astype(str).get_indexer(wanted.to_numpy(dtype=object))
    if (at < 0).any():
        raise ScfmError(
            f"{path.name}: {int((at < 0).sum()):,} of {len(at):,} cells of the obs table are missing, the first "
            f"'{wanted[at < 0].iloc[0]}'; these files are not of the same data set. Run the preparation again."
        )
    return at


def _mito_share(store: Store) -> "np.ndarray | None":
    """Return the share of mitochondrial counts of every cell, block by block; 0 for a cell without counts."""
    import numpy as np

    symbols = store.column("var", "gene_symbol") if "gene_symbol" in store.columns("var") else store.index("var")
    genes = np.array([str(s).upper().startswith(MITOCHONDRIAL) for s in symbols])
    if not genes.any():
        return None
    matrix = open_matrix(store, "layers/counts")
    n_cells = matrix.shape[0]
    found = np.zeros(n_cells)
    for start in range(0, n_cells, ROWS):
        rows = matrix.rows(start, min(start + ROWS, n_cells))
        totals = np.asarray(rows.sum(axis=1), dtype=float).ravel()
        mito = np.asarray(rows[:, genes].sum(axis=1), dtype=float).ravel()
        found[start : start + rows.shape[0]] = mito / np.maximum(totals, 1)
    return found
