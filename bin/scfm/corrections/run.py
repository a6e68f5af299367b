"""Correct one validated embedding and hand the result to the door as an embedding of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scfm.corrections.core import CAPPED, correct
from scfm.embeddings.cells import align, labels_of, read_cells
from scfm.embeddings.sidecar import EmbeddingFiles, make_sidecar, write_unchecked
from scfm.errors import ScfmError
from scfm.io.tables import read_embedding
from scfm.task.resources import Stopwatch

DEFAULTS = {"max_cells": 10_000, "seed": 42}


def correct_embedding(
    table: Path, parent: dict, obs_path: Path, *, correction: str, params: dict[str, Any], outdir: Path
) -> dict:
    """Write ``<dataset>.<method>.<correction>.<seed>.unchecked.parquet`` and ``.json``.

    Parameters
    ----------
    table, parent
        A validated, raw embedding and its sidecar.
    obs_path
        ``<dataset>.obs.parquet``: batches, labels, and the row order that the sample of
        :func:`~scfm.corrections.core.center` refers to.
    correction
        Name of the correction.
    params
        Parameters of the run; ``center_max_cells`` and ``center_seed`` are read.

    Returns
    -------
    The sidecar of the corrected embedding. ``seconds`` is the correction alone.
    """
    from scfm.task.settings import pick_settings

    if parent["correction"] != "raw":
        raise ScfmError(f"{parent['embedding']} is corrected already; corrections start from a raw embedding.")
    cells = read_cells(obs_path)
    ids, values = read_embedding(table)
    cells = cells[cells.index.isin(ids)]
    values = values[align(ids, cells.index.to_numpy(dtype=object), table)]
    if cells["batch"].isna().any():
        raise ScfmError(
            f"{obs_path}: {int(cells['batch'].isna().sum())} cells have no batch and can't be centred. Preparation"
            " drops such cells; prepare the data set again."
        )
    settings = pick_settings("center", DEFAULTS, params)
    if settings["max_cells"] is None or settings["max_cells"] < 1:
        raise ScfmError(f"center_max_cells is {settings['max_cells']}; a batch mean needs one cell at least.")
    watch = Stopwatch()
    corrected = correct(
        correction, values, cells["batch"].astype(str).to_numpy(dtype=object), labels_of(cells), **settings
    )
    used = {f"center_{key}": value for key, value in settings.items()} if correction in CAPPED else {}
    sidecar = make_sidecar(
        dataset=parent["dataset"],
        method=parent["method"],
        family=parent["family"],
        correction=correction,
        seed=parent["seed"],
        is_control=parent["is_control"],
        output_type=parent["output_type"],
        settings=used,
        packages=["numpy", "scipy"],
        device="cpu",
        seconds=watch.seconds,
        cells_in=parent["cells_in"],
        n_cells=len(corrected),
        n_dims=corrected.shape[1],
        details={"corrected_from": parent["embedding"], "not_embedded": parent.get("not_embedded", [])},
    )
    write_unchecked(EmbeddingFiles.of(outdir, sidecar), cells.index.to_numpy(dtype=object), corrected, sidecar)
    return sidecar
