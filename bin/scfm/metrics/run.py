"""From the files of one embedding to the files of its scores."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from scfm.errors import NotApplicable
from scfm.inputs.keys import KeyPair
from scfm.io.tables import IDENTITY, write_table
from scfm.metrics.centroids import centroid_table
from scfm.metrics.fingerprint import chosen_cells, fingerprint
from scfm.metrics.inputs import CLUSTERING_SEEDS, LEIDEN_SEED, MetricInputs
from scfm.metrics.load import load_pairs, read_scored
from scfm.metrics.registry import load_metrics, metrics_of
from scfm.metrics.scoring import LABELS_SEEN, failed_step, failure_sentence, score, study_table
from scfm.neighbors.search import EXACT_MAX_CELLS
from scfm.task.cli import describe_error, stops_task
from scfm.task.device import CPU
from scfm.task.steps import embedding_id

log = logging.getLogger(__name__)


def score_files(
    embedding: Path,
    sidecar: dict,
    obs: Path,
    pca: Path,
    knn: Path | None,
    *,
    profile: str,
    metrics_table: Path | None = None,
    seed: int = LEIDEN_SEED,
    exact_max_cells: int = EXACT_MAX_CELLS,
    on_error: str = "continue",
    outdir: Path = Path("."),
    device: str = CPU,
) -> dict[str, Any]:
    """Score one embedding with every pair of keys: write ``<id>.scores.tsv``, ``<id>.centroids.tsv`` and, in profile
    ``paper``, the study's ``<id>.metrics_scib.csv`` of the primary pair.

    Returns
    -------
    Fields for the status file; ``fingerprint`` is how COLLECT_RESULTS finds copies of other embeddings. Where single
    metrics or the centroids failed the step counts as failed, although everything else is written: something
    unexplained is missing.

    Raises
    ------
    ScfmError
        With ``on_error="stop"``, if a metric or the centroids failed.
    """
    import pandas as pd

    metrics = metrics_of(load_metrics(metrics_table), profile)
    pairs = load_pairs(
        embedding,
        sidecar,
        obs,
        pca=pca,
        knn=knn,
        seed=seed,
        n_seeds=CLUSTERING_SEEDS[profile],
        exact_max_cells=exact_max_cells,
        device=device,
    )
    tables = [score(data, metrics, sidecar, pair) for pair, data in pairs]
    stem = embedding_id(sidecar["dataset"], sidecar["method"], sidecar["correction"], sidecar["seed"])
    whole = pd.concat(tables, ignore_index=True)
    write_table(whole, outdir / f"{stem}.scores.tsv")
    if profile == "paper":
        study_table(tables[0], metrics).to_csv(outdir / f"{stem}.metrics_scib.csv", na_rep="NA")
    first = pairs[0][1]
    facts: dict[str, Any] = {
        "n_cells": first.n_cells,
        "profile": profile,
        "n_metrics": len(metrics),
        "n_key_pairs": len(pairs),
        "centroids": _write_centroids(pairs, sidecar, outdir / f"{stem}.centroids.tsv"),
    }
    if first.coordinates is not None:
        chosen = chosen_cells(read_scored(obs).index)
        facts["fingerprint"] = fingerprint(first.cell_ids, first.coordinates, chosen)
    sentence = failure_sentence(whole, len(metrics), "; the others are in the table")
    if facts["centroids"]["status"] == "failed":
        sentence = f"{sentence} The alignment of centroids failed: {facts['centroids']['reason']}".lstrip()
    return facts | failed_step(sentence, on_error)


def _write_centroids(pairs: list[tuple[KeyPair, MetricInputs]], sidecar: dict, path: Path) -> dict[str, str]:
    """Write the centroids with every pair of keys that has cells; return status and reason for the status file."""
    import pandas as pd

    identity = {name: sidecar[name] for name in IDENTITY}
    try:
        if pairs[0][1].labels_seen:
            raise NotApplicable(LABELS_SEEN, "labels_seen")
        tables = [centroid_table(data, identity | pair.names) for pair, data in pairs if data.n_cells]
        write_table(pd.concat(tables, ignore_index=True), path)
    except NotApplicable as error:
        path.write_bytes(b"")
        return {"status": "not_applicable", "reason": str(error), "reason_code": error.code}
    except Exception as error:  # the documented failure policy, as for a metric
        if stops_task(error):
            raise
        log.debug("traceback", exc_info=True)
        return {"status": "failed", "reason": describe_error(error), "reason_code": "metric_failed"}
    return {"status": "ok", "reason": "", "reason_code": ""}
