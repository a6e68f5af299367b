"""A reference: the folder with all that is needed to map new cells to a data set, in this run or in a later one.

Tables are parquet, arrays npz, the rest JSON. Nothing in it is a pickle, so a folder of someone else runs no code.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.embeddings.cells import align, read_cells
from scfm.errors import ScfmError
from scfm.io.checksums import sha256_of
from scfm.io.hdf5 import reading_hdf5
from scfm.io.parquet import read_frame
from scfm.io.tables import read_embedding, read_json
from scfm.text import listing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: version of the layout of the folder
FORMAT = 2
ABOUT, CELLS, GENES, EMBEDDING = "reference.json", "cells.parquet", "genes.parquet", "embedding.parquet"
#: mappings that every reference offers, and those that a method must have left its model for
PROJECTIONS, BY_METHOD = ("pca", "center"), ("harmony", "scvi", "scanvi")
MAPPINGS = (*PROJECTIONS, *BY_METHOD)
#: mappings for which a model is trained on the new cells
TRAINED = ("scvi", "scanvi")
#: what training one leaves, as ``<dataset>.<mapping>.<ending>``: coordinates after and before it, and its facts
PLACED = ("placed.parquet", "before.parquet", "placed.json")
_PARTS = ("dataset", "batch_key", "label_key", "n_cells", "mappings", "left_out", "versions", "files")
_LOADING = "pc_"


@dataclass(frozen=True)
class GeneNames:
    """Names of genes, each of shape (n_genes,), text; empty where a gene has no symbol or no Ensembl id."""

    names: "np.ndarray"
    symbols: "np.ndarray"
    ids: "np.ndarray"


@dataclass(frozen=True)
class ReferenceGenes:
    """The variable genes of the reference and its PCA.

    Attributes
    ----------
    names, symbols, ids
        Shape (n_genes,), text; empty where a gene has no symbol or no Ensembl id.
    mean
        What was subtracted before the PCA, shape (n_genes,).
    loadings
        Shape (n_genes, n_pcs).
    others
        The reference's other genes. Counts per 10,000 are of these and the variable ones together; None: there are
        none.
    """

    names: "np.ndarray"
    symbols: "np.ndarray"
    ids: "np.ndarray"
    mean: "np.ndarray"
    loadings: "np.ndarray"
    others: GeneNames | None = None

    @classmethod
    def of_prepared(cls, prepared: Path) -> "ReferenceGenes":
        """Read them from ``<dataset>.prepared.h5ad``."""
        import numpy as np
        from anndata.io import read_elem

        with reading_hdf5(prepared) as file:
            var, loadings = read_elem(file["var"]), np.asarray(read_elem(file["varm/PCs"]))
        mask = var["highly_variable"].to_numpy(dtype=bool)
        names = var.index.astype(str).to_numpy(dtype=object)

        def column(name: str) -> "np.ndarray":
            values = var[name].astype(object) if name in var else None
            blank = np.full(len(names), "", dtype=object)
            return blank if values is None else values.where(values.notna(), "").astype(str).to_numpy(dtype=object)

        named = (names, column("gene_symbol"), column("gene_id"))
        mean = var["pca_mean"].to_numpy(dtype=float)[mask]
        others = GeneNames(*(values[~mask] for values in named))
        return cls(*(values[mask] for values in named), mean, loadings[mask], others)

    def as_table(self) -> "pd.DataFrame":
        """Return a row per gene, the variable ones first: ``name``, ``gene_symbol``, ``gene_id``, ``is_variable``, and
        of the variable ones ``mean``, ``pc_0`` …
        """
        import pandas as pd

        about = {"name": self.names, "gene_symbol": self.symbols, "gene_id": self.ids, "is_variable": True}
        loadings = {f"{_LOADING}{i}": column for i, column in enumerate(self.loadings.T)}
        table = pd.DataFrame({**about, "mean": self.mean, **loadings})
        if self.others is None or not len(self.others.names):
            return table
        named = (self.others.names, self.others.symbols, self.others.ids)
        rest = pd.DataFrame(dict(zip(about, (*named, False), strict=True)))
        return pd.concat([table, rest], ignore_index=True)

    @classmethod
    def of_table(cls, table: "pd.DataFrame") -> "ReferenceGenes":
        """Read what :meth:`as_table` returns."""
        mask = table["is_variable"].to_numpy(dtype=bool)
        named = [table[name].to_numpy(dtype=object) for name in ("name", "gene_symbol", "gene_id")]
        n_pcs = sum(name.startswith(_LOADING) for name in table.columns)
        loadings = table[[f"{_LOADING}{i}" for i in range(n_pcs)]].to_numpy(dtype=float)[mask]
        mean, others = table["mean"].to_numpy(dtype=float)[mask], GeneNames(*(values[~mask] for values in named))
        return cls(*(values[mask] for values in named), mean, loadings, others)


@dataclass(frozen=True)
class Reference:
    """A reference that was opened with :meth:`open`.

    Attributes
    ----------
    folder
        Where it lies.
    about
        Content of ``reference.json``.
    """

    folder: Path
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "Reference":
        """Open a reference and check its layout and the checksum of every file.

        Raises
        ------
        ScfmError
            It is no reference, of another layout, or a file is missing or changed.
        """
        path = folder / ABOUT
        if not path.is_file():
            raise ScfmError(
                f"{folder.name} is no reference: it has no {ABOUT}. Give the folder <outdir>/<dataset>/reference of a"
                " run with --save_reference."
            )
        about = read_json(path)
        if about.get("format") != FORMAT:
            raise ScfmError(
                f"{path.name} has the format {about.get('format')}, this version of the pipeline reads {FORMAT}. Make"
                " the reference again, or map with the version that made it."
            )
        absent = [name for name in _PARTS if name not in about]
        if absent:
            raise ScfmError(f"{path.name}: {', '.join(absent)} missing; the file is damaged. Make the reference again.")
        missing = sorted(name for name in about["files"] if not (folder / name).is_file())
        if missing:
            raise ScfmError(f"The reference lacks {listing(missing)}. Copy the whole folder, or make it again.")
        changed = sorted(name for name, digest in about["files"].items() if sha256_of(folder / name) != digest)
        if changed:
            raise ScfmError(
                f"The reference was changed or damaged: the checksum of {listing(changed)} differs from {ABOUT}. Copy"
                " the folder again, or make it again."
            )
        return cls(folder, about)

    @cached_property
    def genes(self) -> ReferenceGenes:
        """Its variable genes."""
        return ReferenceGenes.of_table(read_frame(self.folder / GENES))

    @cached_property
    def cells(self) -> "pd.DataFrame":
        """Its cells, as :func:`scfm.embeddings.cells.read_cells` gives them."""
        return read_cells(self.folder / CELLS)

    def has(self, mapping: str) -> bool:
        """Return whether a mapping is offered."""
        return mapping in self.about["mappings"]

    def reason(self, mapping: str) -> str:
        """Return the reason code of a mapping that is not offered."""
        return str(self.about["left_out"].get(mapping, {}).get("reason_code", "not_run"))

    def coordinates(self, mapping: str) -> "np.ndarray":
        """Return an embedding of its cells, shape (n_cells, n_dims), in the order of :attr:`cells`."""
        path = self.folder / mapping / EMBEDDING
        found, values = read_embedding(path)
        aligned: np.ndarray = values[align(found, self.cells.index.to_numpy(dtype=object), path)]
        return aligned
