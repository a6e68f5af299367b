"""From the files of one embedding to the files of its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.io.tables import write_table
from scfm.metrics.inputs import LEIDEN_SEED
from scfm.metrics.load import load_inputs
from scfm.metrics.registry import load_metrics, metrics_of
from scfm.metrics.scoring import failures, score, study_table
from scfm.task.steps import embedding_id


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
    """Score one embedding; write ``<id>.scores.tsv`` and, in profile ``paper``, the study's ``<id>.metrics_scib.csv``.

    Returns
    -------
    Fields for the status file. Where single metrics failed the step counts as failed, although all others are in the
    table: something unexplained is missing.

    Raises
    ------
    ScfmError
        With ``on_error="stop"``, if a metric failed.
    """
    metrics = metrics_of(load_metrics(metrics_table), profile)
    data = load_inputs(embedding, sidecar, obs, pca=pca, knn=knn, seed=seed)
    scores = score(data, metrics, sidecar)
    stem = embedding_id(sidecar["dataset"], sidecar["method"], sidecar["correction"], sidecar["seed"])
    write_table(scores, outdir / f"{stem}.scores.tsv")
    if profile == "paper":
        study_table(scores, metrics).to_csv(outdir / f"{stem}.metrics_scib.csv", na_rep="NA")
    facts: dict[str, Any] = {"n_cells": data.n_cells, "profile": profile, "n_metrics": len(metrics)}
    broken = failures(scores)
    if broken:
        sentence = f"{len(broken)} of {len(metrics)} metrics failed; the others are in the table. {' '.join(broken)}"
        if on_error == "stop":
            raise ScfmError(sentence)
        facts.update(status="failed", reason=sentence, reason_code="metric_failed")
    return facts
