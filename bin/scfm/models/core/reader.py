"""Counts in chunks of cells: from an .h5ad file without loading its matrix, or from an AnnData in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scfm.errors import ScfmError
from scfm.io.counts import var_of
from scfm.io.facts import MatrixFacts, tally
from scfm.io.matrix import Matrix, key_of, matrix_in_memory, open_matrix
from scfm.io.store import open_file
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import anndata
    import pandas as pd
    from scipy.sparse import csr_matrix

#: cells read at once by the scan of the whole matrix
SCAN_CELLS = 4096


@dataclass
class Chunk:
    """Some cells of a source.

    Attributes
    ----------
    counts
        CSR, shape (n_cells, n_genes), all genes of the file.
    cell_ids
        Shape (n_cells,), object.
    rows
        Their rows in the source, shape (n_cells,), int64.
    obs
        Their rows of ``obs``.
    """

    counts: "csr_matrix"
    cell_ids: np.ndarray
    rows: np.ndarray
    obs: "pd.DataFrame"

    def blocks(self, size: int) -> "Iterator[Chunk]":
        """Go over the chunk in smaller ones; their counts are views."""
        from scipy.sparse import csr_matrix

        counts = self.counts
        for start in range(0, len(self.rows), size):
            part = slice(start, start + size)
            indptr = counts.indptr[start : start + size + 1]
            values = slice(indptr[0], indptr[-1])
            block = csr_matrix(
                (counts.data[values], counts.indices[values], indptr - indptr[0]),
                shape=(len(indptr) - 1, counts.shape[1]),
            )
            block.has_sorted_indices = counts.has_sorted_indices
            yield Chunk(block, self.cell_ids[part], self.rows[part], self.obs.iloc[part])


@dataclass
class Scan:
    """What one pass over the counts tells: found once, before any computing.

    Attributes
    ----------
    facts
        Tally of the values that are not zero.
    cells_per_gene, genes_per_cell
        Shape (n_genes,) and (n_cells,).
    """

    facts: MatrixFacts
    cells_per_gene: np.ndarray
    genes_per_cell: np.ndarray

    @property
    def detected(self) -> np.ndarray:
        """Mask of the genes with a count in at least one cell, shape (n_genes,)."""
        return self.cells_per_gene > 0


class Counts:
    """Counts of cells x genes, read in chunks.

    Parameters
    ----------
    matrix
        From :mod:`scfm.io.matrix`; its structure is checked there, its values by :meth:`scan`.
    obs, var
        Tables of the AnnData; their indices are cell ids and ``var_names``.
    layers
        Names of the layers that are there, for the sentences.
    """

    def __init__(self, matrix: Matrix, obs: "pd.DataFrame", var: "pd.DataFrame", *, layers: Sequence[str] = ()) -> None:
        self._matrix, self.obs, self.var, self.name, self.layers = matrix, obs, var, matrix.name, list(layers)
        if matrix.shape != (len(obs), len(var)):
            raise ScfmError(
                f"{self.name}: has {matrix.shape[0]:,} rows and {matrix.shape[1]:,} columns, obs has {len(obs):,} rows"
                f" and var {len(var):,}; the file is damaged."
            )
        self.cell_ids = np.asarray(obs.index.astype(str), dtype=object)
        self._rows = np.arange(len(obs))
        repeated = obs.index[obs.index.duplicated()]
        if len(repeated):
            raise ScfmError(
                f"{self.name}: cell ids occur more than once: {plural(len(repeated), 'repeated row')} (such as"
                f" '{repeated[0]}'). Rows are kept by cell id; make the ids unique (obs_names_make_unique) and try"
                " again."
            )
        self._scan: Scan | None = None

    @property
    def n_cells(self) -> int:
        """Number of cells that :meth:`chunks` goes over."""
        return len(self._rows)

    @property
    def n_genes(self) -> int:
        """Number of columns."""
        return len(self.var)

    def only(self, cell_ids: Sequence[str]) -> "Counts":
        """Return the same source restricted to some cells (a shard), in the order of the file; the scan stays that of
        all cells.
        """
        wanted = set(map(str, cell_ids))
        keep = np.fromiter((c in wanted for c in self.cell_ids), dtype=bool, count=len(self.cell_ids))
        if keep.sum() != len(wanted):
            missing = sorted(wanted.difference(self.cell_ids[keep]))
            raise ScfmError(
                f"{self.name}: lacks {plural(len(missing), 'cell')} of the ids asked for (such as '{missing[0]}')."
            )
        part = object.__new__(Counts)
        part.__dict__.update(self.__dict__)
        part._rows = np.flatnonzero(keep)
        return part

    @property
    def rows(self) -> np.ndarray:
        """Rows of the file that :meth:`chunks` goes over, ascending, shape (n_cells,)."""
        return self._rows

    def gene_names(self, column: str) -> np.ndarray:
        """Return gene names of ``var_names`` (``index``) or of a column of ``var``; missing values become empty
        texts.
        """
        if column == "index":
            return np.asarray(self.var.index.astype(str), dtype=object)
        if column not in self.var.columns:
            raise ScfmError(
                f"{self.name}: var has no column '{column}' (setting"
                f" gene_column).{did_you_mean(column, self.var.columns)} It has"
                f" {listing(self.var.columns, limit=12) or 'no columns'}; 'index' stands for var_names."
            )
        values = self.var[column]
        return np.asarray(values.astype(object).where(values.notna(), "").astype(str), dtype=object)

    def obs_column(self, column: str) -> "pd.Series":
        """Return a column of ``obs`` for all cells of the file; a missing one is a sentence."""
        if column not in self.obs.columns:
            raise ScfmError(
                f"{self.name}: obs has no column '{column}'.{did_you_mean(column, self.obs.columns)} It has"
                f" {listing(self.obs.columns, limit=12) or 'no columns'}."
            )
        return self.obs[column]

    def chunks(self, size: int, rows: np.ndarray | None = None) -> Iterator[Chunk]:
        """Go over the cells, or over given rows of the file (in the given order), ``size`` at a time."""
        rows = self._rows if rows is None else np.asarray(rows)
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield Chunk(self._read(part), self.cell_ids[part], part, self.obs.iloc[part])

    def _read(self, rows: np.ndarray) -> "csr_matrix":
        """Read rows as CSR; neighbouring rows in one go."""
        from scipy import sparse

        order = np.argsort(rows, kind="stable")
        blocks = list(self._matrix.take(rows[order]))
        if not blocks:
            return sparse.csr_matrix((0, self._matrix.shape[1]), dtype=np.float32)
        counts = blocks[0] if len(blocks) == 1 else sparse.vstack(blocks, format="csr")
        if not np.array_equal(rows[order], rows):
            back = np.empty(len(order), dtype=np.int64)
            back[order] = np.arange(len(order))
            counts = counts[back]
        return counts

    def scan(self) -> Scan:
        """Go over all counts of the file once: genes detected, cells per gene, odd values. The result is kept."""
        if self._scan is None:
            facts = MatrixFacts.of(self._matrix)
            per_gene, per_cell = (np.zeros(n, np.int64) for n in (self.n_genes, len(self.cell_ids)))
            for start in range(0, len(self.cell_ids), SCAN_CELLS):
                counts = self._matrix.rows(start, min(start + SCAN_CELLS, len(self.cell_ids)))
                there = counts.data != 0
                facts = tally(facts, counts.data[there])
                per_gene += np.bincount(counts.indices[there], minlength=len(per_gene))
                running = np.concatenate([[0], np.cumsum(there)])
                per_cell[start : start + counts.shape[0]] = np.diff(running[counts.indptr])
            self._scan = Scan(facts, per_gene, per_cell)
        return self._scan


def open_counts(path: Path | str, layer: str = "") -> Counts:
    """Open an .h5ad file (or zarr folder) for reading in chunks.

    Parameters
    ----------
    path
        File.
    layer
        Empty = ``X``, ``raw`` = ``raw/X`` (with the genes of ``raw/var``), else the name of a layer.

    Notes
    -----
    CSR and dense matrices are read chunk by chunk. A CSC matrix cannot be read by cells; it is converted in memory
    once. Columns of obs and var that can't be read are left out: a model that needs one says so.
    """
    store = open_file(path)
    layers = store.keys("layers")
    source = {"": "X", "raw": "raw"}.get(layer, f"layers/{layer}")
    if key_of(source) not in store.root:
        raise ScfmError(
            f"{path}: there is no {key_of(source)} (setting input_layer).{did_you_mean(layer, layers)} It has"
            f" X{''.join(f', layers/{n}' for n in layers)}{', raw/X' if 'raw/X' in store.root else ''}."
        )
    (obs, _), (var, _) = store.frame("obs"), store.frame(var_of(source))
    return Counts(open_matrix(store, source), obs, var, layers=layers)


def counts_of(adata: "anndata.AnnData", layer: str = "") -> Counts:
    """Wrap an AnnData in memory (or backed); ``layer`` as in :func:`open_counts`."""
    holder = adata.raw if layer == "raw" else adata
    if holder is None:
        raise ScfmError("The AnnData has no raw (setting input_layer=raw).")
    if layer not in ("", "raw") and layer not in adata.layers:
        raise ScfmError(f"The AnnData has no layer '{layer}' (setting input_layer).{did_you_mean(layer, adata.layers)}")
    matrix = holder.X if layer in ("", "raw") else adata.layers[layer]
    if matrix is None:
        raise ScfmError("The AnnData has no X; name a layer with input_layer.")
    return Counts(
        matrix_in_memory(matrix, "the AnnData", layer or "X"), adata.obs, holder.var, layers=list(adata.layers)
    )
