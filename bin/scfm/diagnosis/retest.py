"""Corrections made again where the right answer is known: batches that are none, and batches of different types.

Only what takes seconds is made again: the corrections of embeddings, and Harmony. Nothing that trains is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from scfm.corrections.run import find_correction, settings_of
from scfm.diagnosis.data import Cells, Embedded
from scfm.diagnosis.settings import DiagnosisSettings
from scfm.errors import NotApplicable
from scfm.integration import harmony
from scfm.integration.base import MethodInputs
from scfm.metrics.preservation import jaccard
from scfm.neighbors.search import find_neighbors
from scfm.task.settings import pick_settings

if TYPE_CHECKING:
    import numpy as np

NULL_BATCHES = "null_batches"
DISJOINT = "disjoint_types"
#: in the column ``label``: all labels together
ALL = "all"
#: a correction as a function of coordinates, batches, and a seed
Corrector = Callable[["np.ndarray", "np.ndarray", int], "np.ndarray"]
#: neighbours, self not counted
K = 15
#: cells of each type in the test of disjoint types
MIN_TYPE_CELLS = 30


def corrector_of(sidecar: Mapping[str, Any], params: Mapping[str, Any]) -> Corrector | None:
    """Return how to make an embedding again from the uncorrected PCA; None where it takes more than that.

    Parameters
    ----------
    sidecar
        Of the embedding: Harmony, or a correction of the PCA that reads no labels.
    params
        Parameters of the run.
    """
    if sidecar["method"] == "harmony" and sidecar["correction"] == "raw":
        settings = pick_settings("harmony", harmony.DEFAULTS, dict(params)) | {"keys": None}  # the batch alone
        return lambda values, batches, seed: _harmony(values, batches, settings, seed)
    if sidecar["method"] == "pca" and sidecar["correction"] not in {"raw", "center_label_balanced"}:
        correct = find_correction(sidecar["correction"])
        options = settings_of(correct, params)
        return lambda values, batches, _seed: correct(values, batches, None, **options)
    return None


def _harmony(values: "np.ndarray", batches: "np.ndarray", settings: dict[str, Any], seed: int) -> "np.ndarray":
    """Run Harmony on coordinates and batches; cells of one batch stay where they are."""
    import tempfile
    from pathlib import Path

    import numpy as np
    import pandas as pd

    from scfm.io.tables import write_embedding, write_table

    if len(np.unique(batches)) < 2:
        return values
    ids = [f"cell_{i:09d}" for i in range(len(values))]
    with tempfile.TemporaryDirectory() as folder:
        obs, pca = Path(folder) / "obs.parquet", Path(folder) / "pca.parquet"
        write_table(pd.DataFrame({"cell_id": ids, "batch": batches.astype(str), "label": "all"}), obs)
        write_embedding(pca, ids, values)
        return np.asarray(
            harmony.integrate(MethodInputs("null", obs, Path(folder), pca_path=pca), settings, seed).values
        )


def null_row(before: Embedded, cells: Cells, corrector: Corrector, settings: DiagnosisSettings) -> dict[str, Any]:
    """Correct batches that are dealt at random inside every label: neighbourhoods should stay.

    The value is the mean Jaccard index of the 15 nearest neighbours with all cells in one batch and with the random
    batches, divided by that between two seeds of the correction, for a stochastic correction can't keep more. What a
    correction does whatever the batches are (unit length, scaling) is in both, so it counts as no removal.
    """
    import numpy as np

    labels, batches = cells.labels.codes[before.rows], cells.obs["batch"].to_numpy()[before.rows].astype(str)
    if len(np.unique(batches)) < 2:
        raise NotApplicable("All cells are of one batch.", "one_batch")
    rng = np.random.default_rng([settings.seed, 1])
    dealt = batches.copy()
    for code in np.unique(labels):
        inside = np.flatnonzero(labels == code)
        dealt[inside] = rng.permutation(batches[inside])
    ids = before.near.cell_ids
    near = [
        find_neighbors(corrector(before.coordinates, dealt, seed), ids, k=K + 1).indices[:, 1:]
        for seed in (settings.seed, settings.seed + 1)
    ]
    alone = corrector(before.coordinates, np.full(len(batches), "all", dtype=object), settings.seed)
    known = before.near.first(K + 1) if alone is before.coordinates else find_neighbors(alone, ids, k=K + 1)
    kept = float(jaccard(known.indices[:, 1:], near[0]).mean())
    between_seeds = float(jaccard(*near).mean())
    value = min(1.0, kept / between_seeds) if between_seeds else 0.0
    return {
        "test": NULL_BATCHES,
        "label": ALL,
        "column": "",
        "folds": "",
        "n_cells": len(batches),
        "before": between_seeds,
        "after": kept,
        "value": value,
        "limit": settings.null_jaccard,
        "failed": value < settings.null_jaccard,
        "status": "ok",
        "reason": "",
    }


def disjoint_row(before: Embedded, cells: Cells, corrector: Corrector, settings: DiagnosisSettings) -> dict[str, Any]:
    """Correct two batches, each of another label only: the labels should stay apart.

    The two largest labels are taken from the batch in which both have most cells, so that no real batch effect helps;
    the value is the smaller share of cells whose 15 nearest neighbours are mostly of their own label.
    """
    import numpy as np

    labels, batches = cells.labels.codes[before.rows], cells.batches.codes[before.rows]
    table = np.zeros((len(cells.labels.names), len(cells.batches.names)), dtype=int)
    np.add.at(table, (labels, batches), 1)
    batch = int(np.sort(table, axis=0)[-2:].min(axis=0).argmax()) if len(table) > 1 else 0
    pair = np.sort(np.argsort(-table[:, batch], kind="stable")[:2])
    if len(pair) < 2 or table[pair, batch].min() < MIN_TYPE_CELLS:
        raise NotApplicable("No batch has two labels with enough cells.", "too_few_cells")
    rows = np.flatnonzero((batches == batch) & np.isin(labels, pair))
    own = labels[rows]
    values = before.coordinates[rows]

    def apart(coordinates: "np.ndarray") -> float:
        near = find_neighbors(coordinates, before.near.cell_ids[rows], k=K + 1).indices[:, 1:]
        same = (own[near] == own[:, None]).sum(axis=1) * 2 > near.shape[1]
        return float(min(np.mean(same[own == label]) for label in pair))

    value = apart(corrector(values, np.where(own == pair[0], "a", "b").astype(object), settings.seed))
    return {
        "test": DISJOINT,
        "label": "|".join(cells.labels.names[p] for p in pair),
        "column": "",
        "folds": "",
        "n_cells": len(rows),
        "before": apart(values),
        "after": value,
        "value": value,
        "limit": settings.disjoint,
        "failed": value < settings.disjoint,
        "status": "ok",
        "reason": "",
    }
