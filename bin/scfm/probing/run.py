"""Files in, files out: what ``bin/probe_embedding.py`` does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import NotApplicable, ScfmError
from scfm.io.tables import CELL_ID, read_embedding, read_table, write_table
from scfm.task.resources import versions_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

IDENTITY = ["dataset", "embedding", "method", "family", "correction", "seed"]

_log = logging.getLogger(__name__)


def scored_rows(
    ids: "np.ndarray", values: "np.ndarray", obs: "pd.DataFrame", *, name: str
) -> "tuple[pd.DataFrame, np.ndarray]":
    """Join an embedding with the obs table by cell id and keep the scored cells.

    Returns
    -------
    ``cell_id, batch, label``; the coordinates of these cells in the same order.

    Raises
    ------
    ScfmError
        If ids repeat, coordinates are not finite, or no cell is in both tables.
    """
    import numpy as np
    import pandas as pd

    from scfm.probing.splits import scored_cells

    position = pd.Series(np.arange(len(ids)), index=ids.astype(str))
    if position.index.has_duplicates:
        raise ScfmError(f"{name}: {int(position.index.duplicated().sum())} cell ids occur more than once.")
    broken = int((~np.isfinite(values).all(axis=1)).sum())
    if broken:
        raise ScfmError(f"{name}: {broken} cells have coordinates that are not finite; validate the embedding first.")
    scored = scored_cells(obs).astype({"batch": "category", "label": "category"})  # the classes of the study
    cells = scored[scored[CELL_ID].isin(position.index)].reset_index(drop=True)
    if cells.empty and len(scored):
        raise ScfmError(
            f"{name}: none of its {len(ids)} cells is among the {len(scored)} scored cells. Are the ids the same?"
        )
    return cells, values[position.loc[cells[CELL_ID]].to_numpy()]


def probe_files(
    embedding: Path,
    sidecar: Mapping[str, Any],
    obs: Path,
    splits: Path,
    params: Mapping[str, Any],
    *,
    n_threads: int,
    outdir: Path,
    is_paper: bool,
) -> dict[str, Any]:
    """Probe an embedding file and write ``<id>.probing.tsv`` (and the study's CSVs in the paper profile).

    Returns
    -------
    What the status file should also say: ``warnings`` and ``versions``.

    Raises
    ------
    NotApplicable
        If no target can be probed; the table with the reasons is written first.
    """
    from threadpoolctl import threadpool_limits

    from scfm.probing.paper import paper_table
    from scfm.probing.probe import ProbeSettings, probe

    stem = f"{sidecar['dataset']}.{sidecar['embedding']}"
    cells, values = scored_rows(*read_embedding(embedding), read_table(obs), name=str(embedding))
    with threadpool_limits(limits=n_threads):
        table, warnings = probe(cells, values, read_table(splits), ProbeSettings.from_params(params))
    for entry in warnings:
        entry.update(dataset=sidecar["dataset"], method=sidecar["method"])
        _log.warning(entry["text"])
    for position, column in enumerate(IDENTITY):
        table.insert(position, column, sidecar[column])
    write_table(table, outdir / f"{stem}.probing.tsv")
    if is_paper:
        for target, ending in (("label", "probing_results.csv"), ("batch", "probing_results_batch.csv")):
            paper = paper_table(table, model_name=sidecar["embedding"], target=target)
            paper.to_csv(outdir / f"{stem}.{ending}", index=False, float_format="%.6f")
    if not (table["status"] == "ok").any():
        reasons = list(dict.fromkeys(table["reason"]))  # the first is that of the label under k-fold
        raise NotApplicable(f"Neither label nor batch can be probed: {', '.join(reasons)}.", reasons[0])
    return {"warnings": warnings, "versions": versions_of(["scikit-learn", "numpy"])}
