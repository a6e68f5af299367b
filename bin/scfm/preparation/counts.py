"""The counts of a data set while it is prepared: held in memory, or set aside on disk where there are very many.

Both read the same way: chunk of cells by chunk, in the order of the selected cells, with the selected genes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.io.counts import iter_rows, load_counts
from scfm.io.csr import Spool
from scfm.io.matrix import open_matrix
from scfm.io.space import SPACE_ADVICE, require_space
from scfm.io.store import open_store

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse

#: up to so many stored values counts are held in memory (0.8 GB; the preparation needs a few times that)
HELD_VALUES = 100_000_000
#: values of a chunk that is read from disk, about
CHUNK_VALUES = 8_000_000


@dataclass(frozen=True)
class HeldCounts:
    """Counts in memory.

    Attributes
    ----------
    matrix
        Shape (n_cells, n_genes), CSR float32.
    """

    matrix: "sparse.csr_matrix"
    is_held = True

    @property
    def shape(self) -> tuple[int, int]:
        """Cells, genes."""
        return self.matrix.shape

    def genes_per_cell(self) -> "np.ndarray":
        """Return the genes with a count of every cell, shape (n_cells,)."""
        import numpy as np

        return np.diff(self.matrix.indptr)

    def select_cells(self, rows: "np.ndarray") -> "HeldCounts":
        """Return some cells, by position and in that order."""
        return HeldCounts(self.matrix[rows])

    def select_genes(self, mask: "np.ndarray") -> "HeldCounts":
        """Return some genes, by a mask of shape (n_genes,)."""
        return self if mask.all() else HeldCounts(self.matrix[:, mask])

    def chunks(self) -> "Iterator[tuple[slice, sparse.csr_matrix]]":
        """Yield places of cells and their counts: all at once."""
        yield slice(0, self.matrix.shape[0]), self.matrix

    def whole(self) -> "sparse.csr_matrix":
        """Return all counts."""
        return self.matrix


@dataclass(frozen=True)
class SpooledCounts:
    """Counts on disk.

    Attributes
    ----------
    spool
        All cells and genes.
    rows
        Positions of the selected cells, shape (n_cells,).
    genes
        Mask of the selected genes, shape (all genes,).
    """

    spool: Spool
    rows: "np.ndarray"
    genes: "np.ndarray"
    is_held = False

    @property
    def shape(self) -> tuple[int, int]:
        """Cells, genes."""
        return len(self.rows), int(self.genes.sum())

    def genes_per_cell(self) -> "np.ndarray":
        """Return the genes with a count of every cell, shape (n_cells,)."""
        import numpy as np

        if self.genes.all():
            return self.spool.lengths[self.rows]
        return np.concatenate([np.diff(chunk.indptr) for _, chunk in self.chunks()])

    def select_cells(self, rows: "np.ndarray") -> "SpooledCounts":
        """Return some cells, by position and in that order; nothing is read."""
        return replace(self, rows=self.rows[rows])

    def select_genes(self, mask: "np.ndarray") -> "SpooledCounts":
        """Return some genes, by a mask of shape (n_genes,); nothing is read."""
        genes = self.genes.copy()
        genes[genes] = mask
        return replace(self, genes=genes)

    def chunks(self) -> "Iterator[tuple[slice, sparse.csr_matrix]]":
        """Yield places of cells and their counts, about :data:`CHUNK_VALUES` values at a time."""
        import numpy as np

        ends = np.cumsum(self.spool.lengths[self.rows])
        start = 0
        while start < len(self.rows):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + CHUNK_VALUES, side="right")))
            chunk = self.spool.take(self.rows[start:stop])
            yield slice(start, stop), chunk if self.genes.all() else chunk[:, self.genes]
            start = stop

    def whole(self) -> "sparse.csr_matrix":
        """Return all counts, in memory."""
        from scipy import sparse

        return sparse.vstack([chunk for _, chunk in self.chunks()], format="csr")


Counts = HeldCounts | SpooledCounts


def open_counts(path: Path, source: str, *, round_counts: bool, folder: Path) -> Counts:
    """Read the counts of a file into memory, or set them aside in a folder where there are more than ``HELD_VALUES``.

    A matrix stored by columns (CSC) can't be read by cells and is held in memory whatever its size.

    Parameters
    ----------
    path, source, round_counts
        As in :func:`scfm.io.counts.load_counts`.
    folder
        Where the temporary files are written; they are removed with the object.

    Raises
    ------
    ResourceError
        The folder has too little space.
    """
    import numpy as np

    with open_store(path) as store:
        matrix = open_matrix(store, source)
        n_stored = matrix.shape[0] * matrix.shape[1] if matrix.indptr is None else int(matrix.indptr[-1])
        n_cells, n_genes = matrix.shape
        by_columns = matrix.storage == "csc"
    if by_columns or n_stored <= HELD_VALUES:
        return HeldCounts(load_counts(path, source, round_counts=round_counts))
    require_space(folder / f"{path.name}.counts", 8.0 * n_stored, SPACE_ADVICE)
    spool = Spool(folder, n_genes)
    for _, rows in iter_rows(path, source, chunk=max(1, CHUNK_VALUES * n_cells // n_stored), round_counts=round_counts):
        spool.append(rows)
    spool.finish()
    return SpooledCounts(spool, np.arange(n_cells), np.ones(n_genes, dtype=bool))
