"""Pass one embedding through the validation gate: read, check, write in the order of the data set."""

from __future__ import annotations

from pathlib import Path

from scfm.embeddings.cells import read_cells
from scfm.embeddings.gate import CheckedEmbedding, check_embedding, missing_cells_warning
from scfm.embeddings.graph import CheckedGraph, check_graph, read_graph
from scfm.embeddings.reading import read_unchecked
from scfm.embeddings.sidecar import EmbeddingFiles
from scfm.io.tables import write_embedding, write_json


def validate_embedding(table: Path, sidecar: dict, obs_path: Path, outdir: Path) -> dict:
    """Check an embedding and write ``<id>.parquet`` (of a graph ``<id>.graph.npz``) and ``<id>.json``.

    Parameters
    ----------
    table
        ``<id>.unchecked.parquet``, or ``<id>.unchecked.graph.npz`` where the sidecar says that it is a graph.
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
    about = {"dataset": sidecar["dataset"], "method": sidecar["method"], "embedding": sidecar["embedding"]}
    checked: CheckedGraph | CheckedEmbedding
    if sidecar["output_type"] == "graph":
        checked = check_graph(read_graph(table), expected, **about)
        facts = {"n_dims": 0, "n_edges": checked.graph.weights.nnz // 2}
    else:
        checked = check_embedding(*read_unchecked(table), expected, **about)
        facts = {"n_dims": checked.values.shape[1]}
    explained = {str(entry["cell_id"]): str(entry["reason"]) for entry in sidecar.get("not_embedded", [])}
    not_embedded, warnings = missing_cells_warning(checked.missing, explained, len(expected), **about)
    if "corrected_from" in sidecar and all(cell in explained for cell in checked.missing):
        warnings = []  # the embedding it was made from has said so
    seconds = sidecar["seconds"]
    passed = (
        sidecar
        | facts
        | {
            "cells_in": len(expected),
            "cells_out": len(checked.cell_ids),
            "cells_per_second": len(checked.cell_ids) / seconds if seconds else None,
            "not_embedded": not_embedded,
            "extra_cells": len(checked.extra),
            "warnings": [*sidecar["warnings"], *warnings, *checked.warnings],
            "status": "ok",
            "reason": "",
        }
    )
    files = EmbeddingFiles.of(outdir, passed)
    write_json(files.sidecar, passed)
    if isinstance(checked, CheckedGraph):
        checked.graph.write(files.graph)
    else:
        write_embedding(files.table, checked.cell_ids, checked.values)
    return passed
