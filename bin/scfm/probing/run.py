"""Files in, files out: what ``bin/probe_embedding.py`` does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scfm.errors import NotApplicable
from scfm.inputs.keys import key_pairs
from scfm.io.tables import put_identity, read_embedding, read_table, write_table
from scfm.task.device import CPU
from scfm.task.resources import versions_of

_log = logging.getLogger(__name__)


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
    knn: Path | None = None,
    device: str = CPU,
) -> dict[str, Any]:
    """Probe an embedding file and write ``<id>.probing.tsv`` (and the study's CSVs in the paper profile).

    ``knn`` is ``<id>.knn.npz`` of the embedding; without it, or where it has no bytes (the search failed), neighbours
    are searched here. ``device`` is where distances and losses are computed.

    Returns
    -------
    What the status file should also say: ``warnings`` and ``versions``.

    Raises
    ------
    NotApplicable
        If no target can be probed; the table with the reasons is written first.
    """
    from threadpoolctl import threadpool_limits

    from scfm.neighbors.table import read_neighbors
    from scfm.probing.pairs import probe_pairs
    from scfm.probing.paper import paper_table
    from scfm.probing.probe import ProbeSettings

    stem = f"{sidecar['dataset']}.{sidecar['embedding']}"
    cells = read_table(obs)
    primary, *_ = key_pairs(list(cells.columns))
    with threadpool_limits(limits=n_threads):
        table, warnings = probe_pairs(
            *read_embedding(embedding),
            cells,
            read_table(splits),
            ProbeSettings.from_params(params),
            name=str(embedding),
            known=read_neighbors(knn) if knn is not None and knn.stat().st_size else None,
            n_threads=n_threads,
            labels_seen=bool(sidecar.get("labels_seen")),
            device=device,
        )
    for entry in warnings:
        entry.update(dataset=sidecar["dataset"], method=sidecar["method"])
        _log.warning(entry["text"])
    put_identity(table, sidecar)
    write_table(table, outdir / f"{stem}.probing.tsv")
    first = table[(table["batch_key"] == primary.batch_key) & (table["label_key"] == primary.label_key)]
    if is_paper:
        for target, ending in (("label", "probing_results.csv"), ("batch", "probing_results_batch.csv")):
            paper = paper_table(first, model_name=sidecar["embedding"], target=target)
            paper.to_csv(outdir / f"{stem}.{ending}", index=False, float_format="%.6f")
    if not (table["status"] == "ok").any():
        reasons = list(dict.fromkeys(first["reason"]))  # the first is that of the label under k-fold
        raise NotApplicable(f"Neither label nor batch can be probed: {', '.join(reasons)}.", reasons[0])
    packages = ["numpy", "scipy", "scikit-learn", *([] if device == CPU else ["torch"])]
    return {"warnings": warnings, "versions": versions_of(packages)}
