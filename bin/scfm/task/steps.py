"""The failure policy of a step about one embedding, in one place (``docs/architecture.md``)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scfm.errors import EXIT_RESOURCE, NotApplicable
from scfm.io.tables import write_json
from scfm.task.cli import describe_error, exit_code_of
from scfm.task.resources import Stopwatch, peak_gpu_mb, peak_rss_mb

log = logging.getLogger(__name__)


def embedding_id(dataset: str, method: str, correction: str, seed: int) -> str:
    """Return the stem of every file about one embedding: ``<dataset>.<method>.<correction>.<seed>``."""
    return f"{dataset}.{method}.{correction}.{seed}"


@contextmanager
def step(name: str, *, dataset: str, embedding: str, outdir: Path | str, on_error: str = "continue") -> Iterator[dict]:
    """Run a step about one embedding and always leave its status file.

    A fault that would come back with the same input becomes a status file with the reason, and the executable
    ends normally so that other embeddings go on; ``on_error="stop"`` raises it instead. A lack of memory or disk
    is always raised: Nextflow retries the task with more. :class:`~scfm.errors.NotApplicable` gives the status
    ``not_applicable``.

    Parameters
    ----------
    name
        Step: ``prepare``, ``embed``, ``validate``, ``correct``, ``neighbors``, ``score``, ``probe`` or ``umap``.
    dataset, embedding
        What it is about; no embedding where the step is about the whole data set (``prepare``).
    outdir
        Where ``<dataset>.<embedding>.<name>.status.json`` is written.
    on_error
        ``continue`` or ``stop``.

    Yields
    ------
    The status as a dict; the body may set ``status``, ``reason``, ``reason_code`` or add fields. Time and memory are
    measured here unless the body sets them.
    """
    status: dict = {
        "dataset": dataset,
        "embedding": embedding,
        "step": name,
        "status": "ok",
        "reason": "",
        "reason_code": "",
    }
    watch = Stopwatch()
    try:
        yield status
    except NotApplicable as error:
        status.update(status="not_applicable", reason=str(error), reason_code=error.code)
    except Exception as error:  # the documented failure policy: a fault becomes a row of status.tsv
        if on_error == "stop" or exit_code_of(error) == EXIT_RESOURCE:
            raise
        status.update(
            status="failed",
            reason=describe_error(error),
            reason_code=getattr(error, "reason_code", type(error).__name__),
        )
        log.error("%s of %s failed: %s", name, embedding or dataset, describe_error(error))
        log.debug("traceback", exc_info=True)
    stem = f"{dataset}.{embedding}" if embedding else dataset
    measured = {"seconds": watch.seconds, "peak_rss_mb": peak_rss_mb(), "peak_gpu_mb": peak_gpu_mb()}
    write_json(Path(outdir) / f"{stem}.{name}.status.json", measured | status)
