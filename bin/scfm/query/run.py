"""Files in, files out: what ``bin/map_query.py`` does."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.embeddings.cells import align, labels_of
from scfm.integration.harmony_reference import HarmonyReference
from scfm.io.tables import read_embedding, read_json, write_embedding, write_json, write_table
from scfm.query.mappings import centred, map_to_harmony, moved_as_batches, project
from scfm.query.reading import Query, read_query, require_genes
from scfm.query.reference import MAPPINGS, PLACED, TRAINED, Reference
from scfm.query.rows import Outcome, Undefined, cell_table, rows_of
from scfm.query.transfer import transfer
from scfm.registries.messages import message
from scfm.task.resources import Stopwatch
from scfm.task.settings import given

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)


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
    """Files of one mapping of new cells.

    Attributes
    ----------
    reference
        Folder of the reference.
    query
        h5ad file or zarr folder with the new cells.
    placed
        Files :data:`scfm.query.reference.PLACED` of the models that were trained on the new cells; of 0 bytes where
        that failed.
    """

    reference: Path
    query: Path
    placed: Sequence[Path] = ()


def map_files(files: QueryFiles, row: Mapping[str, Any], params: Mapping[str, Any], *, outdir: Path) -> dict[str, Any]:
    """Map a query in every way that its reference offers: write ``<dataset>.query.tsv`` and ``<dataset>.query``.

    The folder has ``cells.parquet``, the label and place of every new cell by mapping, ``<mapping>.parquet``, its
    coordinates as an embedding table, and ``<mapping>.json``, the facts of a training.

    Returns
    -------
    Fields for the status file.

    Raises
    ------
    ScfmError
        The reference or the query can't be read, or the query has too few of the reference's variable genes.
    """
    import pandas as pd

    dataset, name = str(row["dataset"]), Path(row["query"]).name
    reference = Reference.open(files.reference)
    query = read_query(files.query, row, reference.genes, params)
    job = _Job(reference, query, project(query, reference.genes), files.placed, params)
    warnings = _gene_messages(query, job.settings, name)
    keys = {key: reference.about[key] for key in ("batch_key", "label_key")}
    folder = outdir / f"{dataset}.query"
    folder.mkdir(exist_ok=True)
    importlib.import_module("sklearn.neighbors")  # its import is no part of a mapping's time
    rows, tables = [], []
    for mapping in MAPPINGS:
        outcome = job.run(mapping)
        rows += rows_of({"dataset": dataset, **keys, "query": name, "mapping": mapping}, query, outcome)
        if isinstance(outcome, Undefined):
            continue
        tables.append(cell_table(mapping, query, outcome.found))
        write_embedding(folder / f"{mapping}.parquet", query.cell_ids, outcome.placed)
        if outcome.facts:
            write_json(folder / f"{mapping}.json", outcome.facts)
        warnings += _outside_messages(mapping, outcome, job.settings)
    write_table(pd.concat(tables, ignore_index=True), folder / "cells.parquet")
    write_table(pd.DataFrame(rows), outdir / f"{dataset}.query.tsv")
    for entry in warnings:
        entry["dataset"] = dataset
        log.warning(entry["text"])
    return {"warnings": warnings, "n_cells": len(query.cell_ids), "gene_overlap": query.overlap}


@dataclass(frozen=True)
class Placed:
    """New cells in the space of an embedding.

    Attributes
    ----------
    values
        Where they lie, shape (n_cells, n_dims).
    judged
        Where it is judged whether they are outside (:func:`scfm.query.transfer.transfer`); by default where they lie.
    facts
        Facts of a training on the new cells.
    """

    values: "np.ndarray"
    judged: "tuple[np.ndarray, ...]" = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    """A query and its reference.

    Attributes
    ----------
    reference, query
        Both, read.
    projected
        The query on the reference's components, shape (n_cells, n_pcs).
    trained
        See :attr:`QueryFiles.placed`.
    params
        Parameters of the run.
    """

    reference: Reference
    query: Query
    projected: "np.ndarray"
    trained: Sequence[Path]
    params: Mapping[str, Any]

    @property
    def settings(self) -> QuerySettings:
        """Those of the query."""
        return QuerySettings.from_params(self.params)

    def run(self, mapping: str) -> Outcome | Undefined:
        """Place the new cells and transfer labels to them."""
        watch = Stopwatch()
        if not self.reference.has(mapping):
            return Undefined("not_applicable", self.reference.reason(mapping))
        placed = self._place(mapping)
        if isinstance(placed, Undefined):
            return placed
        own, labels = self._reference(mapping), labels_of(self.reference.cells)
        k, quantile = self.settings.k, self.settings.outside_quantile
        found = transfer(own, labels, placed.values, judged=placed.judged, k=k, quantile=quantile)
        seconds = watch.seconds + placed.facts.get("seconds", 0.0)
        anew = self.reference.about["mappings"][mapping].get("seconds")
        return Outcome(own, placed.values, labels, found, seconds, anew, placed.facts)

    def _reference(self, mapping: str) -> "np.ndarray":
        """Return the coordinates of the reference, as they are, shape (n_reference, n_dims)."""
        if mapping != "center":
            return self.reference.coordinates(mapping)
        batches = self.reference.cells["batch"].astype(str).to_numpy(dtype=object)
        return centred(self.reference.coordinates("pca"), batches, **self._centring())

    def _centring(self) -> dict[str, int]:
        """Return the settings of centring, those of the correction."""
        return {"max_cells": self.params.get("center_max_cells", 10_000), "seed": self.params.get("center_seed", 42)}

    def _place(self, mapping: str) -> "Placed | Undefined":
        """Return where the new cells lie."""
        if mapping in TRAINED:
            return self._trained(mapping)
        if mapping == "center":
            return Placed(centred(self.projected, self.query.batches, **self._centring()))
        if mapping == "harmony":
            compressed = HarmonyReference.read(self.reference.folder / "harmony" / "harmony.npz")
            values = map_to_harmony(self.projected, self.query.batches, compressed)
            return Placed(values, (values, moved_as_batches(self.projected, values, self.query.batches)))
        return Placed(self.projected)

    def _trained(self, mapping: str) -> "Placed | Undefined":
        """Return what a training on the new cells has left, undefined where it failed or has left nothing."""
        files = {p.name.split(".", 1)[-1].removeprefix(f"{mapping}."): p for p in self.trained}
        placed, before, facts = (files.get(name) for name in PLACED)
        if placed is None or before is None or facts is None or not placed.stat().st_size:
            return Undefined("failed", "no_result")
        return Placed(self._table(placed), (self._table(before),), read_json(facts))

    def _table(self, path: Path) -> "np.ndarray":
        """Return coordinates of the new cells from an embedding table, shape (n_cells, n_dims)."""
        ids, values = read_embedding(path)
        aligned: np.ndarray = values[align(ids, self.query.cell_ids, path)]
        return aligned


def _gene_messages(query: Query, settings: QuerySettings, name: str) -> list[dict]:
    """Return W-QRY-02 where the query lacks many of the variable genes; raise where it lacks too many."""
    require_genes(query.found, settings.min_genes, name)
    if query.overlap >= settings.warn_genes:
        return []
    numbers = {"n_found": int(query.found.sum()), "n_genes": len(query.found), "share": query.overlap}
    return [message("W-QRY-02", values=numbers, threshold=settings.warn_genes)]


def _outside_messages(mapping: str, outcome: Outcome, settings: QuerySettings) -> list[dict]:
    """Return W-QRY-01 where many of the new cells lie outside."""
    is_outside = outcome.found.is_outside
    share = float(is_outside.mean())
    if share <= settings.max_outside:
        return []
    numbers = {"share": share, "n_outside": int(is_outside.sum()), "n_cells": len(is_outside)}
    return [message("W-QRY-01", mapping=mapping, values=numbers, threshold=settings.max_outside)]
