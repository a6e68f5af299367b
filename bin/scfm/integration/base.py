"""What a method is given and what it hands back.

Cells come in one fixed order, that of their sorted ids, whatever the order of the rows in the files. So a method
gives the same result for any row order without code of its own: its input is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import NotApplicable, ScfmError
from scfm.io.hdf5 import reading_hdf5

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from scipy.sparse import csr_array, csr_matrix

#: cells read at once from the prepared file; bounds the memory above the genes that are kept
_ROWS_PER_READ = 20_000


@dataclass
class MethodOutput:
    """Result of a method.

    Parameters
    ----------
    values
        Coordinates, shape (n_cells, n_dims), rows in the order of :attr:`MethodInputs.cell_ids`; None for a graph.
    extras
        Further files or folders the method left in its work folder, by the ending they are published with
        (``{"history.csv": path, "model": path}``).
    warnings
        Entries made by :func:`scfm.registries.messages.message`.
    details
        Facts for the sidecar beside the settings (rounds until convergence, epochs run ...).
    graph
        Weights of the edges, shape (n_cells, n_cells), symmetric, of a method whose ``output_type`` is ``graph``.
    versions
        Software outside of Python that took part, with its versions.
    """

    values: "np.ndarray | None" = None
    extras: dict[str, Path] = field(default_factory=dict)
    warnings: list[dict] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    graph: "csr_array | None" = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodInputs:
    """Data of one data set, opened only when asked for.

    Parameters
    ----------
    dataset
        Name of the data set.
    obs_path, pca_path, prepared_path
        Files of PREPARE_DATASET; the last two may be None for a method that does not read them.
    workdir
        Empty folder for the extras of the method.
    cpus
        Threads the method may use.
    device
        ``auto``, ``cpu`` or ``cuda``.
    hides_labels
        Whether the method is given no label of the held-out cells: they are missing in everything given to it.
    start
        Folder with the trained model of the method that this one continues; None where there is none.
    """

    dataset: str
    obs_path: Path
    workdir: Path
    pca_path: Path | None = None
    prepared_path: Path | None = None
    cpus: int = 1
    device: str = "auto"
    hides_labels: bool = False
    start: Path | None = None

    @cached_property
    def obs(self) -> "pd.DataFrame":
        """Table of cells, indexed and sorted by cell id, with at least ``batch`` and ``label``."""
        from scfm.embeddings.cells import held_out_of, read_cells

        cells = read_cells(self.obs_path).sort_index()
        if self.hides_labels:
            columns = [c for c in cells.columns if c == "label" or c.startswith("label:")]
            cells.loc[held_out_of(cells, self.obs_path), columns] = None
        return cells

    @property
    def cell_ids(self) -> "np.ndarray":
        """Sorted cell ids, shape (n_cells,); the row order of everything given here and handed back."""
        return self.obs.index.to_numpy(dtype=object)

    @cached_property
    def batches(self) -> "np.ndarray":
        """Batch of every cell, shape (n_cells,), strings."""
        missing = self.obs["batch"].isna()
        if missing.any():
            raise ScfmError(
                f"{self.obs_path}: {int(missing.sum())} cells have no batch, e.g. {list(self.obs.index[missing][:3])}. "
                "Preparation drops such cells; prepare the data set again."
            )
        return self.obs["batch"].astype(str).to_numpy(dtype=object)

    @cached_property
    def labels(self) -> "np.ndarray":
        """Label of every cell, shape (n_cells,), strings; None where the cell has none or it is hidden."""
        from scfm.embeddings.cells import labels_of

        return labels_of(self.obs)

    def require_batches(self, method: str) -> None:
        """Raise :class:`NotApplicable` where there is a single batch, so nothing to integrate."""
        names = sorted(set(self.batches))
        if len(names) < 2:
            raise NotApplicable(
                f"{method} integrates batches, and {self.dataset} has one only ({names[0] if names else 'none'}).",
                "one_batch",
            )

    @cached_property
    def pca(self) -> "np.ndarray":
        """Uncorrected PCA, shape (n_cells, n_pcs), float32."""
        from scfm.embeddings.cells import align
        from scfm.io.tables import read_embedding

        if self.pca_path is None:
            raise ScfmError("This method reads the PCA: give --pca.")
        ids, values = read_embedding(self.pca_path)
        return values[align(ids, self.cell_ids, self.pca_path)]

    def expression(self, layer: str, genes: str = "hvg", *, most: int | None = None) -> "tuple[csr_matrix, np.ndarray]":
        """Read expression from the prepared file.

        Parameters
        ----------
        layer
            ``X`` (log1p of counts per 10,000) or the name of a layer (``counts``).
        genes
            ``hvg`` for the highly variable genes, ``all`` for all.
        most
            Genes at most; of more highly variable ones those that were forced in and those of the best rank are read.

        Returns
        -------
        Matrix, shape (n_cells, n_genes), CSR float32, cells in the order of :attr:`cell_ids`; gene names, shape
        (n_genes,).
        """
        import h5py
        import numpy as np
        from anndata.io import read_elem, sparse_dataset

        from scfm.embeddings.cells import align

        with reading_hdf5(self._prepared()) as file:
            var = read_elem(file["var"])
            keep = np.ones(len(var), dtype=bool) if genes == "all" else var["highly_variable"].to_numpy(dtype=bool)
            if not keep.any():
                raise ScfmError(f"{self.prepared_path}: no gene is marked highly_variable. Prepare the data set again.")
            if most is not None and most < keep.sum():
                rank = var["highly_variable_rank"].fillna(-1)  # a forced gene may have none
                keep &= (rank.where(keep).rank(method="first") <= most).to_numpy()
            stored = file["X" if layer == "X" else f"layers/{layer}"]
            if isinstance(stored, h5py.Group):
                stored = sparse_dataset(stored)
            matrix = _kept_columns(stored, keep)
            stored_ids = np.asarray(read_elem(file["obs"]).index, dtype=object)
        order = align(stored_ids, self.cell_ids, self.prepared_path)
        if not np.array_equal(order, np.arange(matrix.shape[0])):  # else spare a copy of the matrix
            matrix = matrix[order]
        matrix.sort_indices()
        return matrix, var.index.to_numpy(dtype=object)[keep]

    def obs_columns(self, names: list[str]) -> "pd.DataFrame":
        """Return columns of the user's obs from the prepared file, sorted by cell id.

        A column that bears a name of ours, such as ``batch`` where the batch key is another column, is the user's.
        """
        import difflib

        from anndata.io import read_elem

        from scfm.preparation.write import stored_name

        with reading_hdf5(self._prepared()) as file:
            obs = read_elem(file["obs"])
        stored = {name: stored_name(name, obs.columns) for name in names}
        for name in names:
            if name not in obs:
                close = difflib.get_close_matches(name, list(obs.columns), n=1)
                hint = f" Did you mean '{close[0]}'?" if close else f" There are: {', '.join(map(str, obs.columns))}."
                raise ScfmError(f"{self.prepared_path}: obs has no column '{name}'.{hint}")
            missing = int(obs[stored[name]].isna().sum())
            if missing:
                raise ScfmError(
                    f"{self.prepared_path}: column '{name}' of obs is empty in {missing} cells; a covariate needs a"
                    " value in every cell."
                )
        return obs.loc[self.cell_ids, list(stored.values())].set_axis(list(stored), axis=1)

    @cached_property
    def preparation(self) -> str | None:
        """The preparation that all files given belong to (:func:`scfm.embeddings.preparation.one_preparation`)."""
        from scfm.embeddings.preparation import one_preparation

        return one_preparation([self.obs_path, self.pca_path, self.prepared_path])

    def _prepared(self) -> Path:
        if self.prepared_path is None:
            raise ScfmError("This method reads expression: give --prepared.")
        return self.prepared_path


def _kept_columns(stored: Any, keep: "np.ndarray") -> "csr_matrix":
    """Return columns of a stored matrix as CSR float32, shape (n_rows, n_kept), in little more memory than it takes.

    Blocks are joined in arrays of the final size, and each is given up when it was copied.
    """
    import numpy as np
    from scipy import sparse

    n_rows = stored.shape[0]
    starts = range(0, n_rows, _ROWS_PER_READ)
    blocks = [sparse.csr_matrix(stored[start : start + _ROWS_PER_READ], dtype=np.float32)[:, keep] for start in starts]
    indptr = np.zeros(n_rows + 1, dtype=np.int64)
    indptr[1:] = np.cumsum(np.concatenate([np.diff(block.indptr) for block in blocks]))
    data, indices = np.empty(indptr[-1], dtype=np.float32), np.empty(indptr[-1], dtype=np.int32)
    blocks.reverse()
    at = 0
    while blocks:
        block = blocks.pop()
        data[at : at + block.nnz], indices[at : at + block.nnz] = block.data, block.indices
        at += block.nnz
    return sparse.csr_matrix((data, indices, indptr), shape=(n_rows, int(keep.sum())))
