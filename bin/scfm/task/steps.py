"""The failure policy of a step about one embedding, in one place (``docs/architecture.md``)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scfm.errors import NotApplicable
from scfm.io.tables import write_json
from scfm.task.cli import describe_error, stops_task
from scfm.task.imports import CLOCK
from scfm.task.resources import Stopwatch, peak_gpu_mb, peak_rss_mb, reset_peaks

log = logging.getLogger(__name__)

#: step -> endings of its main outputs, which are there whatever happens: of 0 bytes where the step failed
MAIN_OUTPUTS = {
    "embed": ("unchecked.parquet", "unchecked.json"),
    "validate": ("refused.parquet", "refused.json"),  # under a name of their own: the others are published
    "correct": ("unchecked.parquet", "unchecked.json"),
    "neighbors": ("knn.npz",),
    "score": ("scores.tsv", "centroids.tsv"),
    "score_common": ("scores_common.tsv",),
    "score_held_out": ("scores_held_out.tsv",),
    "probe": ("probing.tsv",),
    "umap": ("umap.parquet",),
    "de": ("de.tsv", "de_genes.tsv"),
    "orthogonal": ("orthogonal.tsv",),
    "query": ("query.tsv",),
    "diagnose": ("residual.tsv", "clusters.tsv", "markers.tsv", "rare.tsv", "overcorrection.tsv", "balanced.tsv"),
}


def embedding_id(dataset: str, method: str, correction: str, seed: int) -> str:
    """Return the stem of every file about one embedding: ``<dataset>.<method>.<correction>.<seed>``."""
    return f"{dataset}.{method}.{correction}.{seed}"


@contextmanager
def step(
    name: str,
    *,
    dataset: str,
    embedding: str,
    outdir: Path | str,
    on_error: str = "continue",
    outputs: Sequence[str] | None = None,
) -> Iterator[dict]:
    """Run a step about one embedding and always leave its status file.

    An error that would come back with the same input becomes a status file with the reason, and the executable
    ends normally so that other embeddings go on; ``on_error="stop"`` raises it instead. A lack of memory or disk
    is always raised: Nextflow retries the task with more. So is a package that is missing or can't be loaded: nothing
    of it may be cached. :class:`~scfm.errors.NotApplicable` gives the status ``not_applicable``.

    Parameters
    ----------
    name
        Step: ``prepare``, ``design``, ``embed``, ``validate``, ``correct``, ``neighbors``, ``score``, ``score_common``,
        ``score_held_out``, ``probe``, ``umap``, ``diagnose``, ``de``, ``orthogonal``, ``reference``, ``query_scvi``,
        ``query_scanvi`` or ``query``.
    dataset, embedding
        What it is about; no embedding where the step is about the whole data set (``prepare``, ``design``).
    outdir
        Where ``<dataset>.<embedding>.<name>.status.json`` is written.
    on_error
        ``continue`` or ``stop``.
    outputs
        Endings of the main outputs ``<dataset>.<embedding>.<ending>``; those of :data:`MAIN_OUTPUTS` where not given. A
        step that raises leaves each with 0 bytes: none is optional, so that Nextflow makes again what was
        deleted. A step that sets its status itself keeps what it has written.

    Yields
    ------
    The status as a dict; the body may set ``status``, ``reason``, ``reason_code`` or add fields. Time and memory are
    measured here unless the body sets them: ``seconds`` and peaks of this step, and ``import_seconds``, the part of the
    process's time since its last step (or its start) in which packages were imported.
    """
    status: dict = {
        "dataset": dataset,
        "embedding": embedding,
        "step": name,
        "status": "ok",
        "reason": "",
        "reason_code": "",
    }
    endings = MAIN_OUTPUTS.get(name, ()) if outputs is None else outputs
    stem = f"{dataset}.{embedding}" if embedding else dataset
    files = [Path(outdir) / f"{stem}.{ending}" for ending in endings]
    reset_peaks()
    watch = Stopwatch()
    try:
        yield status
    except NotApplicable as error:
        status.update(status="not_applicable", reason=str(error), reason_code=error.code)
    except Exception as error:  # the documented failure policy: an error becomes a row of status.tsv
        if on_error == "stop" or stops_task(error):
            raise
        status.update(
            status="failed",
            reason=describe_error(error),
            reason_code=getattr(error, "reason_code", type(error).__name__),
        )
        log.error("%s of %s failed: %s", name, embedding or dataset, describe_error(error))
        log.debug("traceback", exc_info=True)
        for path in files:
            path.write_bytes(b"")
    if status["status"] != "ok":
        for path in files:
            path.touch()  # what is there stays: a table of reasons, the other metrics
    measured = {
        "seconds": watch.seconds,
        "import_seconds": CLOCK.take(),
        "peak_rss_mb": peak_rss_mb(),
        "peak_gpu_mb": peak_gpu_mb(),
    }
    write_json(Path(outdir) / f"{stem}.{name}.status.json", measured | status)
