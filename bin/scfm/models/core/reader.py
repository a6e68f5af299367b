"""Counts in chunks of cells: from an .h5ad file without loading its matrix, or from an AnnData in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.errors import ScfmError
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
    """What one pass over the counts tells: found once, before any computing."""

    cells_per_gene: np.ndarray
    n_values: int = 0
    n_fractional: int = 0
    fractional_example: float = 0.0
    n_negative: int = 0
    n_not_finite: int = 0
    genes_per_cell: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def detected(self) -> np.ndarray:
        """Mask of the genes with a count in at least one cell, shape (n_genes,)."""
        return self.cells_per_gene > 0


class Counts:
    """Counts of cells x genes, read in chunks.

    Parameters
    ----------
    matrix
        Anything that gives rows as CSR by ``matrix[start:stop]`` (AnnData's backed CSR, SciPy sparse) or a dense block.
    obs, var
        Tables of the AnnData; their indices are cell ids and ``var_names``.
    name
        File and place, for the sentences.
    layers
        Names of the layers that are there, for the sentences.
    """

    def __init__(
        self, matrix: Any, obs: "pd.DataFrame", var: "pd.DataFrame", *, name: str, layers: Sequence[str] = ()
    ) -> None:
        self._matrix, self.obs, self.var, self.name, self.layers = matrix, obs, var, name, list(layers)
        self.cell_ids = np.asarray(obs.index.astype(str), dtype=object)
        self._rows = np.arange(len(obs))
        repeated = obs.index[obs.index.duplicated()]
        if len(repeated):
            raise ScfmError(
                f"{name}: {plural(len(repeated), 'cell id')} occur more than once (such as '{repeated[0]}'). Rows are"
                " kept by cell id; make the ids unique (obs_names_make_unique) and try again."
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
                f"{self.name}: {plural(len(missing), 'asked cell id')} are not in it (such as '{missing[0]}')."
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
        ordered = rows[order]
        breaks = np.flatnonzero(np.diff(ordered) != 1) + 1
        blocks = [
            sparse.csr_matrix(self._matrix[int(b[0]) : int(b[-1]) + 1]) for b in np.split(ordered, breaks) if len(b)
        ]
        counts = blocks[0] if len(blocks) == 1 else sparse.vstack(blocks, format="csr")
        if not np.array_equal(ordered, rows):
            back = np.empty(len(order), dtype=np.int64)
            back[order] = np.arange(len(order))
            counts = counts[back]
        return counts

    def scan(self) -> Scan:
        """Go over all counts of the file once: genes detected, cells per gene, odd values. The result is kept."""
        if self._scan is None:
            scan = Scan(np.zeros(self.n_genes, np.int64), genes_per_cell=np.zeros(len(self.cell_ids), np.int64))
            for start in range(0, len(self.cell_ids), SCAN_CELLS):
                stop = min(start + SCAN_CELLS, len(self.cell_ids))
                _add_to_scan(scan, self._read(np.arange(start, stop)), start)
            self._scan = scan
        return self._scan


def _add_to_scan(scan: Scan, counts: "csr_matrix", start: int) -> None:
    """Add a block of rows to a scan, in place."""
    data = counts.data
    there = data != 0
    scan.cells_per_gene += np.bincount(counts.indices[there], minlength=len(scan.cells_per_gene))
    running = np.concatenate([[0], np.cumsum(there)])
    scan.genes_per_cell[start : start + counts.shape[0]] = np.diff(running[counts.indptr])
    scan.n_values += int(there.sum())
    if data.dtype.kind != "f":
        scan.n_negative += int((data < 0).sum()) if data.dtype.kind == "i" else 0
        return
    finite = np.isfinite(data)
    scan.n_not_finite += int((~finite).sum())
    scan.n_negative += int((data < 0).sum())
    fractional = finite & (data != np.rint(data))
    n = int(fractional.sum())
    if n and not scan.n_fractional:
        scan.fractional_example = float(data[int(np.argmax(fractional))])
    scan.n_fractional += n


def open_counts(path: Path | str, layer: str = "") -> Counts:
    """Open an .h5ad file for reading in chunks.

    Parameters
    ----------
    path
        File.
    layer
        Empty = ``X``, ``raw`` = ``raw/X`` (with the genes of ``raw/var``), else the name of a layer.

    Notes
    -----
    CSR and dense matrices are read chunk by chunk. A CSC matrix cannot be read by cells; it is converted in memory
    once.
    """
    import h5py
    from anndata.io import read_elem, sparse_dataset

    path = Path(path)
    if not path.is_file():
        raise ScfmError(f"{path}: the input file does not exist.")
    try:
        handle = h5py.File(path, "r")
    except OSError as error:
        raise ScfmError(f"{path}: not readable as .h5ad (HDF5): {str(error).splitlines()[0][:120]}.") from error
    layers = list(handle["layers"]) if "layers" in handle else []
    place = {"": "X", "raw": "raw/X"}.get(layer, f"layers/{layer}")
    if place not in handle:
        raise ScfmError(
            f"{path}: there is no {place} (setting input_layer).{did_you_mean(layer, layers)} It has"
            f" X{''.join(f', layers/{n}' for n in layers)}{', raw/X' if 'raw/X' in handle else ''}."
        )
    node = handle[place]
    if isinstance(node, h5py.Group):
        matrix = sparse_dataset(node)
        if node.attrs.get("encoding-type") == "csc_matrix":
            matrix = matrix.to_memory().tocsr()
    else:
        matrix = node
    var = read_elem(handle["raw/var" if layer == "raw" else "var"])
    return Counts(matrix, read_elem(handle["obs"]), var, name=f"{path} ({place})", layers=layers)


def counts_of(adata: "anndata.AnnData", layer: str = "") -> Counts:
    """Wrap an AnnData in memory (or backed); ``layer`` as in :func:`open_counts`."""
    from scipy import sparse

    holder = adata.raw if layer == "raw" else adata
    if holder is None:
        raise ScfmError("The AnnData has no raw (setting input_layer=raw).")
    if layer not in ("", "raw") and layer not in adata.layers:
        raise ScfmError(f"The AnnData has no layer '{layer}' (setting input_layer).{did_you_mean(layer, adata.layers)}")
    matrix = holder.X if layer in ("", "raw") else adata.layers[layer]
    if matrix is None:
        raise ScfmError("The AnnData has no X; name a layer with input_layer.")
    if sparse.issparse(matrix) and matrix.format != "csr":
        matrix = matrix.tocsr()
    return Counts(matrix, adata.obs, holder.var, name="the AnnData", layers=list(adata.layers))
