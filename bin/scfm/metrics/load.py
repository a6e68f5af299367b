"""Read what metrics and neighbours need of one embedding, joined by cell id and sorted by it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.embeddings.cells import align, read_cells
from scfm.errors import NotApplicable, ScfmError
from scfm.io.tables import read_embedding
from scfm.metrics.inputs import LEIDEN_SEED, Groups, MetricInputs
from scfm.neighbors.table import read_neighbors

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
        Embedding table that passed the door.
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

    if sidecar["output_type"] == "graph":
        raise NotApplicable(f"{sidecar['embedding']} is a graph and has no coordinates to search.", "graph_output")
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


def load_inputs(
    embedding: Path | str,
    sidecar: dict,
    obs: Path | str,
    *,
    pca: Path | str,
    knn: Path | str | None = None,
    seed: int = LEIDEN_SEED,
) -> MetricInputs:
    """Read everything the metrics of one embedding may need.

    Parameters
    ----------
    embedding, sidecar, obs
        As in :func:`load_scored_cells`; the table of a graph is not read, its cells are those of its neighbours.
    pca
        Embedding table of the uncorrected PCA.
    knn
        ``<id>.knn.npz`` of the same cells; without it metrics of neighbours are not applicable.
    seed
        Seed of the Leiden clusterings.
    """
    import numpy as np

    near = read_neighbors(knn) if knn else None
    if sidecar["output_type"] == "graph":
        scored = read_scored(obs)
        wanted = np.array(sorted(set(scored.index) & set(near.cell_ids) if near else set(scored.index)), dtype=object)
        cells = ScoredCells(wanted, None, *(scored.loc[wanted, c].to_numpy(dtype=object) for c in ("batch", "label")))
    else:
        cells = load_scored_cells(embedding, sidecar, obs)
    if near and not np.array_equal(near.cell_ids, cells.cell_ids):
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
    )
