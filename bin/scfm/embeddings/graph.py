"""Graphs of cells: what a method hands over that returns neighbours instead of coordinates, and its file.

``<id>.graph.npz`` holds ``cell_ids`` (n,) and the weights in CSR form, ``data``, ``indices`` and ``indptr``: row i has
the edges of cell i.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.embeddings.cells import align
from scfm.embeddings.gate import CheckedCells, EmbeddingValidationError, match_cells
from scfm.errors import ScfmError
from scfm.io.arrays import read_arrays

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp

_ARRAYS = ("cell_ids", "data", "indices", "indptr")
#: largest relative difference of the two directions of an edge, by rounding in single precision
_ASYMMETRY = 1e-5


@dataclass(frozen=True)
class CellGraph:
    """A weighted, undirected graph.

    Attributes
    ----------
    cell_ids
        Cell ids, shape (n,).
    weights
        Shape (n, n), CSR, float32: above 0 for an edge, symmetric, nothing on the diagonal.
    """

    cell_ids: "np.ndarray"
    weights: "sp.csr_array"

    def of(self, wanted: "np.ndarray", source: Path | str) -> "CellGraph":
        """Return the graph among some of its cells, in their order.

        Raises
        ------
        ScfmError
            A cell is not in the graph.
        """
        rows = align(self.cell_ids, wanted, source)
        return CellGraph(wanted, self.weights[rows][:, rows].tocsr())

    def write(self, path: Path | str) -> None:
        """Write ``<id>.graph.npz``."""
        import numpy as np

        ids = np.asarray(self.cell_ids, dtype=str)  # no object arrays: they would need pickle to be read
        np.savez_compressed(
            path,
            cell_ids=ids,
            data=self.weights.data.astype(np.float32),
            indices=self.weights.indices.astype(np.int32),
            indptr=self.weights.indptr.astype(np.int64),
        )


def read_graph(path: Path | str) -> CellGraph:
    """Read a graph file.

    Raises
    ------
    EmbeddingValidationError
        The file can't be read, arrays are missing, or they are no square matrix of the cells.
    """
    import numpy as np
    import scipy.sparse as sp

    damaged = "{path} is no NumPy archive that can be read: {error}"
    try:
        content = read_arrays(path, _ARRAYS, expected=f"A graph has {', '.join(_ARRAYS)}.", damaged=damaged)
    except ScfmError as error:
        raise EmbeddingValidationError("wrong_columns", str(error)) from None
    ids, data, indices, indptr = (content[name] for name in _ARRAYS)
    n = len(ids)
    fits = (
        all(a.ndim == 1 for a in (ids, data, indices, indptr))
        and len(indptr) == n + 1
        and len(data) == len(indices)
        and indptr[0] == 0
        and indptr[-1] == len(indices)
        and (np.diff(indptr) >= 0).all()
        and (not len(indices) or (indices.min() >= 0 and indices.max() < n))
    )
    if not fits:
        raise EmbeddingValidationError(
            "wrong_shape",
            f"{path}: {n:,} cell ids, {len(data):,} weights, {len(indices):,} indices and {len(indptr):,} pointers are"
            " no square CSR matrix of the cells. Write the edges of each cell as one row.",
        )
    if data.dtype.kind not in "fiu":
        raise EmbeddingValidationError("not_numeric", f"{path}: the weights are of type {data.dtype}, not numbers.")
    return CellGraph(ids.astype(object), sp.csr_array((data.astype(np.float64), indices, indptr), shape=(n, n)))


@dataclass
class CheckedGraph(CheckedCells):
    """A graph that passed: its cells in the order of the data set, and the graph among them, without a diagonal."""

    graph: CellGraph = field(kw_only=True)


def check_graph(graph: CellGraph, expected: "np.ndarray", **about: str) -> CheckedGraph:
    """Join a graph with the cells of its data set and refuse what no metric can use.

    Parameters
    ----------
    graph
        As read.
    expected
        Ids of the data set's cells in their order, shape (n_cells,).
    about
        ``dataset``, ``method`` and ``embedding`` for the messages.

    Raises
    ------
    EmbeddingValidationError
        Ids twice, no common cell, weights that are not finite or negative, two directions of an edge that differ, or
        no edge at all.
    """
    import numpy as np

    rows, cells = match_cells(graph.cell_ids, expected, **about)
    weights = graph.weights[rows][:, rows].tocsr()
    weights.sum_duplicates()
    bad = int((~np.isfinite(weights.data)).sum() + (weights.data < 0).sum())
    if bad:
        raise EmbeddingValidationError(
            "non_finite",
            f"Weights that are NaN, infinite or negative: {bad:,} of {weights.nnz:,}. An edge has a weight above 0.",
        )
    weights.setdiag(0)
    weights.eliminate_zeros()
    if not weights.nnz:
        raise EmbeddingValidationError("constant", f"None of the {len(rows):,} cells has an edge to another cell.")
    difference = abs(weights - weights.T)
    odd = int((difference.data > _ASYMMETRY * weights.data.max()).sum())
    if odd:
        raise EmbeddingValidationError(
            "not_symmetric",
            f"Edges whose two directions differ in weight: {odd // 2:,}. Write a symmetric graph, such as the"
            " connectivities of the neighbours and not their distances.",
        )
    weights.sort_indices()
    found = CellGraph(cells.cell_ids, weights.astype(np.float32))
    return CheckedGraph(cells.cell_ids, cells.missing, cells.extra, cells.warnings, graph=found)
