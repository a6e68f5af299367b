"""From the files of one embedding to the files of its scores."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from scfm.errors import EXIT_RESOURCE, NotApplicable, ScfmError
from scfm.io.tables import write_table
from scfm.metrics.centroids import centroid_table
from scfm.metrics.fingerprint import chosen_cells, fingerprint
from scfm.metrics.inputs import LEIDEN_SEED, MetricInputs
from scfm.metrics.load import load_inputs, read_scored
from scfm.metrics.registry import load_metrics, metrics_of
from scfm.metrics.scoring import IDENTITY, failures, score, study_table
from scfm.task.cli import describe_error, exit_code_of
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
    on_error: str = "continue",
    outdir: Path = Path("."),
) -> dict[str, Any]:
    """Score one embedding: write ``<id>.scores.tsv``, ``<id>.centroids.tsv`` and, in profile ``paper``, the study's
    ``<id>.metrics_scib.csv``.

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
    metrics = metrics_of(load_metrics(metrics_table), profile)
    data = load_inputs(embedding, sidecar, obs, pca=pca, knn=knn, seed=seed)
    scores = score(data, metrics, sidecar)
    stem = embedding_id(sidecar["dataset"], sidecar["method"], sidecar["correction"], sidecar["seed"])
    write_table(scores, outdir / f"{stem}.scores.tsv")
    if profile == "paper":
        study_table(scores, metrics).to_csv(outdir / f"{stem}.metrics_scib.csv", na_rep="NA")
    facts: dict[str, Any] = {"n_cells": data.n_cells, "profile": profile, "n_metrics": len(metrics)}
    if data.coordinates is not None:
        chosen = chosen_cells(read_scored(obs).index)
        facts["fingerprint"] = fingerprint(data.cell_ids, data.coordinates, chosen)
    facts["centroids"], broken = _write_centroids(data, sidecar, outdir / f"{stem}.centroids.tsv"), failures(scores)
    sentence = ""
    if broken:
        sentence = f"{len(broken)} of {len(metrics)} metrics failed; the others are in the table. {' '.join(broken)}"
    if facts["centroids"]["status"] == "failed":
        sentence = f"{sentence} The alignment of centroids failed: {facts['centroids']['reason']}".lstrip()
    if sentence:
        if on_error == "stop":
            raise ScfmError(sentence)
        facts.update(status="failed", reason=sentence, reason_code="metric_failed")
    return facts


def _write_centroids(data: MetricInputs, sidecar: dict, path: Path) -> dict[str, str]:
    """Write the centroids of an embedding; return status and reason for the status file."""
    try:
        write_table(centroid_table(data, {name: sidecar[name] for name in IDENTITY}), path)
    except NotApplicable as error:
        return {"status": "not_applicable", "reason": str(error), "reason_code": error.code}
    except Exception as error:  # the documented failure policy, as for a metric
        if exit_code_of(error) == EXIT_RESOURCE:
            raise
        log.debug("traceback", exc_info=True)
        return {"status": "failed", "reason": describe_error(error), "reason_code": "metric_failed"}
    return {"status": "ok", "reason": "", "reason_code": ""}
