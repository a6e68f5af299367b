"""Counts and log data of a prepared data set, read a block of cells at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.inputs.genes import symbols_or_names
from scfm.io.hdf5 import reading_hdf5

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

#: cells read at once
_ROWS = 20_000


class PreparedCounts:
    """``<dataset>.prepared.h5ad``, read by rows in the order of a table of cells.

    Parameters
    ----------
    path
        The file.
    cells
        Table of the data set's cells, indexed by cell id.

    Raises
    ------
    ScfmError
        A cell of the table is not in the file.
    """

    def __init__(self, path: Path, cells: "pd.DataFrame") -> None:
        import pandas as pd
        from anndata.io import read_elem

        self.path = path
        with reading_hdf5(path) as file:
            var, stored = read_elem(file["var"]), read_elem(file["obs"]).index
        self.genes: "np.ndarray" = var.index.to_numpy(dtype=object)
        self.symbols: "np.ndarray" = symbols_or_names(var)
        #: position in the table of every row of the file, -1 for rows that are not in it
        self.positions: "np.ndarray" = pd.Index(cells.index).get_indexer(stored)
        missing = len(cells) - int((self.positions >= 0).sum())
        if missing:
            raise ScfmError(
                f"{path}: {missing} of {len(cells)} cells of the obs table are not in it. The files of a data set must"
                " come from one preparation."
            )

    def blocks(self, layer: str, wanted: "np.ndarray | None" = None) -> "Iterator[tuple[np.ndarray, sp.csr_matrix]]":
        """Read cells block by block.

        Parameters
        ----------
        layer
            ``X`` (log data) or the name of a layer (``counts``).
        wanted
            Whether a cell of the table is read, shape (n_cells,); all by default.

        Yields
        ------
        Positions in the table of cells, and their expression, CSR, shape (n, n_genes).
        """
        import h5py
        from anndata.io import sparse_dataset
        from scipy.sparse import csr_matrix

        with reading_hdf5(self.path) as file:
            stored = file["X" if layer == "X" else f"layers/{layer}"]
            stored = sparse_dataset(stored) if isinstance(stored, h5py.Group) else stored
            for start in range(0, len(self.positions), _ROWS):
                positions = self.positions[start : start + _ROWS]
                keep = positions >= 0
                if wanted is not None:
                    keep[keep] = wanted[positions[keep]]
                if keep.any():
                    yield positions[keep], csr_matrix(stored[start : start + _ROWS])[keep]

    def rows(self, layer: str, wanted: "np.ndarray") -> "tuple[np.ndarray, sp.csc_matrix]":
        """Return some cells at once: their positions in the table, and their expression, CSC, shape (n, n_genes)."""
        import numpy as np
        from scipy.sparse import csc_matrix, vstack

        found = list(self.blocks(layer, wanted))
        if not found:
            return np.empty(0, dtype=int), csc_matrix((0, len(self.genes)))
        return np.concatenate([p for p, _ in found]), vstack([block for _, block in found], format="csc")
