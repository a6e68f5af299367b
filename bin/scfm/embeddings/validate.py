"""Pass one embedding through the validation gate: read, check, write in the order of the data set."""

from __future__ import annotations

from pathlib import Path

from scfm.embeddings.cells import read_cells
from scfm.embeddings.gate import check_embedding, missing_cells_warning
from scfm.embeddings.reading import read_unchecked
from scfm.embeddings.sidecar import EmbeddingFiles
from scfm.io.tables import write_embedding, write_json


def validate_embedding(table: Path, sidecar: dict, obs_path: Path, outdir: Path) -> dict:
    """Check an embedding and write ``<id>.parquet`` and ``<id>.json``.

    Parameters
    ----------
    table
        ``<id>.unchecked.parquet``.
    sidecar
        What its maker says of it.
    obs_path
        ``<dataset>.obs.parquet``; the rows are written in its order.
    outdir
        Where the files are written.

    Returns
    -------
    The sidecar with ``cells_in``, ``cells_out``, ``n_dims``, ``not_embedded``, ``extra_cells`` and the warnings of the
    validation gate.

    Raises
    ------
    EmbeddingValidationError
        With the reason and a code for the status file.
    """
    expected = read_cells(obs_path).index.to_numpy(dtype=object)
    ids, values = read_unchecked(table)
    about = {"dataset": sidecar["dataset"], "method": sidecar["method"], "embedding": sidecar["embedding"]}
    checked = check_embedding(ids, values, expected, **about)
    explained = {str(entry["cell_id"]): str(entry["reason"]) for entry in sidecar.get("not_embedded", [])}
    not_embedded, warnings = missing_cells_warning(checked.missing, explained, len(expected), **about)
    if "corrected_from" in sidecar and all(cell in explained for cell in checked.missing):
        warnings = []  # the embedding it was made from has said so
    seconds = sidecar["seconds"]
    passed = sidecar | {
        "cells_in": len(expected),
        "cells_out": len(checked.cell_ids),
        "n_dims": checked.values.shape[1],
        "cells_per_second": len(checked.cell_ids) / seconds if seconds else None,
        "not_embedded": not_embedded,
        "extra_cells": len(checked.extra),
        "warnings": [*sidecar["warnings"], *warnings, *checked.warnings],
        "status": "ok",
        "reason": "",
    }
    files = EmbeddingFiles.of(outdir, passed)
    write_json(files.sidecar, passed)
    write_embedding(files.table, checked.cell_ids, checked.values)
    return passed
