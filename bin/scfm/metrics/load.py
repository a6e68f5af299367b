"""Read what metrics and neighbours need of one embedding, joined by cell id and sorted by it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.embeddings.cells import align, read_cells
from scfm.embeddings.graph import CellGraph, read_graph
from scfm.embeddings.sidecar import need_coordinates
from scfm.errors import NotApplicable, ScfmError
from scfm.inputs.keys import KeyPair, key_pairs
from scfm.io.tables import read_embedding
from scfm.metrics.inputs import LEIDEN_SEED, Groups, MetricInputs
from scfm.neighbors.search import EXACT_MAX_CELLS, find_neighbors
from scfm.neighbors.table import read_neighbors
from scfm.task.device import CPU

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoredCells:
    """The scored cells that have a row in the embedding, sorted by id.

    Attributes
    ----------
    cell_ids, batches, labels
        Shape (n_cells,), text.
    values
        Coordinates, shape (n_cells, n_dims), float32; None for a graph.
    """

    cell_ids: "np.ndarray"
    values: "np.ndarray | None"
    batches: "np.ndarray"
    labels: "np.ndarray"


def read_scored(obs: Path | str) -> "pd.DataFrame":
    """Return the scored cells of a data set, indexed by id; raise :class:`ScfmError` if one lacks batch or label."""
    cells = read_cells(obs)
    if "scored" not in cells:
        raise ScfmError(
            f"{obs}: no column 'scored'; found {list(cells.columns)}. It should come from the preparation step."
        )
    scored = cells[cells["scored"].astype(bool)]
    absent = int(scored[["batch", "label"]].isna().any(axis=1).sum())
    if absent:
        raise ScfmError(
            f"{obs}: {absent} cells are marked as scored but lack batch or label; set 'scored' to false for them."
        )
    return scored


def load_scored_cells(embedding: Path | str, sidecar: dict, obs: Path | str) -> ScoredCells:
    """Read the scored cells of an embedding.

    Parameters
    ----------
    embedding
        Embedding table that passed the validation gate.
    sidecar
        Its sidecar, parsed.
    obs
        ``<dataset>.obs.parquet``; its column ``scored`` says which cells have batch and label.

    Raises
    ------
    NotApplicable
        The output is a graph, or no cell is scored.
    ScfmError
        The table of cells is not in order.
    """
    import numpy as np

    need_coordinates(sidecar)
    scored = read_scored(obs)
    ids, values = read_embedding(embedding)
    wanted = np.array(sorted(set(ids) & set(scored.index)), dtype=object)
    if not len(wanted):
        raise NotApplicable(f"{embedding}: none of its {len(ids)} cells is scored.", "too_few_cells")
    chosen = scored.loc[wanted]
    rows = align(ids, wanted, embedding)
    return ScoredCells(
        wanted, values[rows], chosen["batch"].to_numpy(dtype=object), chosen["label"].to_numpy(dtype=object)
    )


def load_scored_graph(graph: Path | str, obs: Path | str) -> CellGraph:
    """Read a graph among its scored cells, sorted by id.

    Parameters
    ----------
    graph
        Graph that passed the validation gate, or that this function has written.
    obs
        ``<dataset>.obs.parquet``.

    Raises
    ------
    NotApplicable
        No cell is scored.
    """
    import numpy as np

    whole = read_graph(graph)
    wanted = np.array(sorted(set(whole.cell_ids) & set(read_scored(obs).index)), dtype=object)
    if not len(wanted):
        raise NotApplicable(f"{graph}: none of its {len(whole.cell_ids)} cells is scored.", "too_few_cells")
    return whole.of(wanted, graph)


def load_inputs(
    embedding: Path | str,
    sidecar: dict,
    obs: Path | str,
    *,
    pca: Path | str,
    knn: Path | str | None = None,
    seed: int = LEIDEN_SEED,
    n_seeds: int = 1,
    device: str = CPU,
) -> MetricInputs:
    """Read everything the metrics of one embedding may need.

    Parameters
    ----------
    embedding, sidecar, obs
        As in :func:`load_scored_cells`, or a graph.
    pca
        Embedding table of the uncorrected PCA.
    knn
        ``<id>.knn.npz`` of the same cells; without it metrics of neighbours are not applicable. Of a graph it is the
        graph among the scored cells.
    seed
        Seed of the Leiden clusterings.
    n_seeds
        Seeds of every clustering, see :class:`MetricInputs`.
    device
        Where metrics are computed, see :class:`MetricInputs`.
    """
    near, graph = None, None
    if sidecar["output_type"] == "graph":
        found = load_scored_graph(knn or embedding, obs)
        graph, scored = found.weights, read_scored(obs).loc[found.cell_ids]
        columns = (scored[c].to_numpy(dtype=object) for c in ("batch", "label"))
        cells = ScoredCells(found.cell_ids, None, *columns)
    else:
        near = read_neighbors(knn) if knn else None
        cells = load_scored_cells(embedding, sidecar, obs)
    if near and not near.is_of(cells.cell_ids):
        differ = len(set(near.cell_ids) ^ set(cells.cell_ids))
        raise ScfmError(
            f"{knn}: its cells are not the scored cells of {embedding} ({differ} differ). Search the neighbours again."
        )
    pca_ids, pca_values = read_embedding(pca)
    return MetricInputs(
        cells.cell_ids,
        Groups.of(cells.labels),
        Groups.of(cells.batches),
        cells.values,
        near,
        pca_values[align(pca_ids, cells.cell_ids, pca)],
        seed,
        n_seeds,
        labels_seen=bool(sidecar.get("labels_seen")),
        graph=graph,
        device=device,
    )


def load_pairs(
    embedding: Path | str,
    sidecar: dict,
    obs: Path | str,
    *,
    pca: Path | str,
    knn: Path | str | None = None,
    seed: int = LEIDEN_SEED,
    n_seeds: int = 1,
    exact_max_cells: int = EXACT_MAX_CELLS,
    device: str = CPU,
) -> list[tuple[KeyPair, MetricInputs]]:
    """Read the inputs of one embedding with every pair of keys, the primary pair first.

    All pairs use the same cells, neighbours and PCA; inputs with the same key hold the same group object, so that the
    results that depend on it alone are shared. Where a key has gaps, its pairs are scored on the cells that have both
    keys, with neighbours searched among these.

    Parameters
    ----------
    embedding, sidecar, obs, pca, knn, seed, n_seeds, device
        As in :func:`load_inputs`.
    exact_max_cells
        Largest number of cells for the exact search of a pair with gaps.
    """
    import numpy as np

    first = load_inputs(embedding, sidecar, obs, pca=pca, knn=knn, seed=seed, n_seeds=n_seeds, device=device)
    cells = read_scored(obs).loc[first.cell_ids]
    primary, *others = key_pairs(list(cells.columns))
    bases: dict[bytes, MetricInputs] = {}
    groups = {("label", primary.label_key, True): first.labels, ("batch", primary.batch_key, True): first.batches}
    found = [(primary, first)]
    for pair in others:
        view = pair.view(cells)
        known = view["scored"].to_numpy(dtype=bool)
        mark: Any = True if known.all() else known.tobytes()
        if not known.all() and mark not in bases:
            bases[mark] = _restrict(first, np.flatnonzero(known), exact_max_cells)
        names = [("label", pair.label_key, mark), ("batch", pair.batch_key, mark)]
        for name in names:
            if name not in groups:
                groups[name] = Groups.of(view.loc[known, name[0]].to_numpy(dtype=object))
        found.append((pair, bases.get(mark, first).with_groups(*(groups[name] for name in names))))
    return found


def _restrict(data: MetricInputs, rows: "np.ndarray", exact_max_cells: int) -> MetricInputs:
    """Return the inputs of some of the cells, with neighbours searched among them, or the graph among them."""
    ids = data.cell_ids[rows]
    values = None if data.coordinates is None else data.coordinates[rows]
    near = None
    if data.neighbors is not None and values is not None and len(rows) > 1:
        search = {"k": data.neighbors.k, "exact_max_cells": exact_max_cells}
        near = find_neighbors(values, ids, **search, device=data.device)
    pca = None if data.pca is None else data.pca[rows]
    labels, batches = (Groups(g.codes[rows], g.names) for g in (data.labels, data.batches))
    graph = None if data.graph is None else data.graph[rows][:, rows].tocsr()
    inputs = MetricInputs(ids, labels, batches, values, near, pca, data.seed, data.n_seeds, graph=graph)
    return replace(inputs, labels_seen=data.labels_seen, device=data.device)
