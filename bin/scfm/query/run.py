"""Files in, files out: what ``bin/map_query.py`` does."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.embeddings.cells import align, labels_of, read_cells
from scfm.errors import ScfmError
from scfm.inputs.keys import key_pairs
from scfm.integration.harmony_reference import HarmonyReference
from scfm.io.tables import read_embedding, write_embedding, write_table
from scfm.query.mappings import centred, map_to_harmony, project
from scfm.query.reading import Query, read_query, read_reference_genes
from scfm.query.rows import Outcome, cell_table, rows_of
from scfm.query.transfer import transfer
from scfm.registries.messages import message
from scfm.task.resources import Stopwatch
from scfm.task.settings import given

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

log = logging.getLogger(__name__)

MAPPINGS = ("pca", "center", "harmony")


@dataclass(frozen=True)
class QuerySettings:
    """Parameters ``query_<name>`` of the run.

    Attributes
    ----------
    k
        Nearest reference cells that vote on a label.
    outside_quantile
        A cell is outside of the reference where its k-th nearest reference cell is farther than this quantile of the
        reference cells' own distances.
    max_outside
        Share of cells outside above which W-QRY-01 is said.
    min_genes, warn_genes
        Share of the reference's variable genes below which a query is refused, and below which W-QRY-02 is said.
    """

    k: int = 15
    outside_quantile: float = 0.99
    max_outside: float = 0.1
    min_genes: float = 0.5
    warn_genes: float = 0.8

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "QuerySettings":
        """Take them from the parameters of the run."""
        return cls(**given(params, "query_", cls.__dataclass_fields__))


@dataclass(frozen=True)
class QueryFiles:
    """Files of one data set and its query.

    Attributes
    ----------
    prepared, obs, pca
        Those of PREPARE_DATASET.
    query
        h5ad file or zarr folder with the new cells.
    harmony, model
        Table of the reference's Harmony embedding, and the folder with what it left; None where it was not run.
    """

    prepared: Path
    obs: Path
    pca: Path
    query: Path
    harmony: Path | None = None
    model: Path | None = None


def map_files(files: QueryFiles, row: Mapping[str, Any], params: Mapping[str, Any], *, outdir: Path) -> dict[str, Any]:
    """Map a query in every way: write ``<dataset>.query.tsv`` and the folder ``<dataset>.query``.

    The folder has ``cells.parquet``, the label and place of every new cell by mapping, and ``<mapping>.parquet``, its
    coordinates as an embedding table.

    Returns
    -------
    Fields for the status file.

    Raises
    ------
    ScfmError
        The query can't be read, or has too few of the reference's variable genes.
    """
    import pandas as pd

    settings, dataset = QuerySettings.from_params(params), str(row["dataset"])
    cells, genes = read_cells(files.obs), read_reference_genes(files.prepared)
    query = read_query(files.query, row, genes, params)
    warnings = _gene_messages(query, settings, Path(row["query"]).name)
    about = {"dataset": dataset, **key_pairs(list(cells.columns))[0].names, "query": Path(row["query"]).name}
    folder = outdir / f"{dataset}.query"
    folder.mkdir(exist_ok=True)
    labels = labels_of(cells)
    rows, tables = [], []
    importlib.import_module("sklearn.neighbors")  # its import is no part of a mapping's time
    for name, place in _mappings(files, cells, query, project(query, genes), params).items():
        if place is None:
            rows += rows_of(about | {"mapping": name}, query, None)
            continue
        watch = Stopwatch()
        reference, placed = place()
        found = transfer(reference, labels, placed, k=settings.k, quantile=settings.outside_quantile)
        outcome = Outcome(reference, placed, labels, found, watch.seconds)
        rows += rows_of(about | {"mapping": name}, query, outcome)
        tables.append(cell_table(name, query, found))
        write_embedding(folder / f"{name}.parquet", query.cell_ids, placed)
        share = float(found.is_outside.mean())
        if share > settings.max_outside:
            numbers = {"share": share, "n_outside": int(found.is_outside.sum()), "n_cells": len(query.cell_ids)}
            warnings.append(message("W-QRY-01", mapping=name, values=numbers, threshold=settings.max_outside))
    write_table(pd.concat(tables, ignore_index=True), folder / "cells.parquet")
    write_table(pd.DataFrame(rows), outdir / f"{dataset}.query.tsv")
    for entry in warnings:
        entry["dataset"] = dataset
        log.warning(entry["text"])
    return {"warnings": warnings, "n_cells": len(query.cell_ids), "gene_overlap": query.overlap}


def _gene_messages(query: Query, settings: QuerySettings, name: str) -> list[dict]:
    """Return W-QRY-02 where the query lacks many of the variable genes; raise where it lacks too many."""
    n_found, n_genes = int(query.found.sum()), len(query.found)
    if query.overlap < settings.min_genes:
        raise ScfmError(
            f"{name} has {n_found:,} of the {n_genes:,} variable genes of the reference ({query.overlap:.0%}); at least"
            f" {settings.min_genes:.0%} are required (--query_min_genes). Are the gene names of the same kind (symbols,"
            " Ensembl ids) and organism? gene_symbol_column and gene_id_column of the samplesheet name their columns."
        )
    if query.overlap >= settings.warn_genes:
        return []
    numbers = {"n_found": n_found, "n_genes": n_genes, "share": query.overlap}
    return [message("W-QRY-02", values=numbers, threshold=settings.warn_genes)]


def _mappings(
    files: QueryFiles, cells: "pd.DataFrame", query: Query, projected: "np.ndarray", params: Mapping[str, Any]
) -> "dict[str, Callable[[], tuple[np.ndarray, np.ndarray]] | None]":
    """Return by name what gives the coordinates of the reference, as they are, and of the query; None if not run."""
    ids = cells.index.to_numpy(dtype=object)

    def table(path: Path) -> "np.ndarray":
        found, values = read_embedding(path)
        aligned: np.ndarray = values[align(found, ids, path)]
        return aligned

    def by_center() -> "tuple[np.ndarray, np.ndarray]":
        options = {"max_cells": params.get("center_max_cells", 10_000), "seed": params.get("center_seed", 42)}
        batches = cells["batch"].astype(str).to_numpy(dtype=object)
        return centred(table(files.pca), batches, **options), centred(projected, query.batches, **options)

    def by_harmony() -> "tuple[np.ndarray, np.ndarray]":
        assert files.harmony is not None
        assert files.model is not None
        compressed = HarmonyReference.read(files.model / "harmony.npz")
        return table(files.harmony), map_to_harmony(projected, query.batches, compressed)

    return {
        "pca": lambda: (table(files.pca), projected),
        "center": by_center,
        "harmony": by_harmony if files.harmony and files.model else None,
    }
