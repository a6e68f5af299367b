"""What the diagnosis reads: the scored cells of a data set with their expression, and its embeddings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.embeddings.cells import align
from scfm.errors import ScfmError
from scfm.inputs.genes import symbols_or_names
from scfm.integration.base import MethodInputs
from scfm.io.hdf5 import reading_hdf5
from scfm.io.tables import read_embedding
from scfm.metrics.inputs import Groups, MetricInputs
from scfm.metrics.load import read_scored
from scfm.neighbors.search import find_neighbors
from scfm.neighbors.table import Neighbors, read_neighbors

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp


@dataclass(frozen=True)
class Cells:
    """The scored cells of a data set, sorted by id.

    Attributes
    ----------
    dataset
        Its name.
    obs
        Indexed by cell id; ``batch, label, condition, donor, tissue, n_counts``.
    logged
        log1p of counts per 10,000, shape (n_cells, n_genes), CSR.
    genes
        Gene symbols where the data have them, else the names of the genes, shape (n_genes,).
    facts
        What the preparation found.
    read_counts
        Reads the counts of the variable genes, shape (n_cells, n_genes), CSR; None where there are none.
    """

    dataset: str
    obs: "pd.DataFrame"
    logged: "sp.csr_matrix"
    genes: "np.ndarray"
    facts: dict[str, Any]
    read_counts: "Callable[[], sp.csr_matrix] | None" = None

    @property
    def ids(self) -> "np.ndarray":
        """Cell ids, shape (n_cells,)."""
        return self.obs.index.to_numpy(dtype=object)

    @cached_property
    def labels(self) -> Groups:
        """Label of every cell."""
        return Groups.of(self.obs["label"].to_numpy())

    @cached_property
    def batches(self) -> Groups:
        """Batch of every cell."""
        return Groups.of(self.obs["batch"].to_numpy())

    def column(self, name: str) -> "np.ndarray | None":
        """Return an optional key as text, shape (n_cells,); None where it is not declared or a cell has no value."""
        if name not in self.obs or self.obs[name].isna().any():
            return None
        return self.obs[name].to_numpy(dtype=object).astype(str)

    @cached_property
    def depth(self) -> "np.ndarray":
        """Natural logarithm of the total counts plus one, shape (n_cells,)."""
        import numpy as np

        return np.log1p(self.obs["n_counts"].to_numpy(dtype=float))


@dataclass(frozen=True)
class Embedded:
    """An embedding of scored cells.

    Attributes
    ----------
    rows
        Their positions in :class:`Cells`, ascending, shape (n,).
    coordinates
        Shape (n, n_dims).
    near
        Their nearest neighbours among each other, self first.
    """

    rows: "np.ndarray"
    coordinates: "np.ndarray"
    near: Neighbors

    def metric_inputs(self, cells: Cells) -> MetricInputs:
        """Return what the metrics read of it."""
        labels, batches = (Groups.of(cells.obs[c].to_numpy()[self.rows]) for c in ("label", "batch"))
        return MetricInputs(cells.ids[self.rows], labels, batches, self.coordinates, self.near)


def read_cell_data(dataset: str, obs: Path, prepared: Path) -> Cells:
    """Read the scored cells of a data set and their expression, joined by cell id.

    Parameters
    ----------
    dataset
        Its name.
    obs, prepared
        ``<dataset>.obs.parquet`` and ``<dataset>.prepared.h5ad``.
    """
    from anndata.io import read_elem

    inputs = MethodInputs(dataset, obs, prepared.parent, prepared_path=prepared)
    logged, _ = inputs.expression("X", "all")
    scored = read_scored(obs).sort_index()
    kept = align(inputs.cell_ids, scored.index.to_numpy(dtype=object), obs)
    with reading_hdf5(prepared) as file:
        var = read_elem(file["var"])
        facts = json.loads(read_elem(file["uns/scfmbench"])) if "uns/scfmbench" in file else {}

    def read_counts() -> "sp.csr_matrix":
        return inputs.expression("counts")[0][kept]

    return Cells(dataset, scored, logged[kept], symbols_or_names(var), facts, read_counts)


def read_embedded(embedding: Path, knn: Path, cells: Cells) -> Embedded:
    """Read one embedding and its neighbours.

    Raises
    ------
    ScfmError
        Its neighbours are of cells that are not scored, or have no row.
    """
    import numpy as np

    ids, values = read_embedding(embedding)
    near = read_neighbors(knn)
    rows = align(cells.ids, near.cell_ids, knn)
    if (np.diff(rows) <= 0).any():
        raise ScfmError(f"{knn}: its cells are not in the order of their ids. Search the neighbours again.")
    return Embedded(rows, values[align(ids, near.cell_ids, embedding)], near)


def uncorrected(pca: Path, rows: "np.ndarray", cells: Cells, *, knn: Path | None = None, k: int = 90) -> Embedded:
    """Return the uncorrected PCA of the same cells as an embedding, with its neighbours among them.

    Parameters
    ----------
    pca
        ``<dataset>.pca.parquet``.
    rows
        Positions in ``cells``.
    cells
        The cells of the data set.
    knn
        Neighbours of the method ``pca``, whose coordinates are these; those of other cells are not used.
    k
        Neighbours per cell, self counted.
    """
    ids, values = read_embedding(pca)
    chosen = cells.ids[rows]
    values = values[align(ids, chosen, pca)]
    known = read_neighbors(knn) if knn else None
    if not (known and known.is_of(chosen) and known.k == min(k, len(chosen))):
        known = find_neighbors(values, chosen, k=k)
    return Embedded(rows, values, known)
