"""Scanorama (Hie et al. 2019, doi 10.1038/s41587-019-0113-3): its low-dimensional output."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

from scfm.errors import ScfmError
from scfm.integration.base import MethodInputs, MethodOutput

#: ``genes``: ``hvg``, or ``all`` as in the study this benchmark follows.
DEFAULTS: dict = {"genes": "hvg", "dims": 100, "knn": 20, "sigma": 15.0, "alpha": 0.1}
_MATCHING_BATCH_SIZE = 5000


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Align the batches by mutual nearest neighbours in a common reduction of log-normalised expression.

    Scanorama takes one matrix per batch and hands cells back grouped by batch; here batches go in by name and cells
    inside a batch by id, and every row is put back at its cell.

    Parameters
    ----------
    inputs
        Log-normalised expression and batches are read.
    settings
        ``genes`` (``hvg`` or ``all``), ``dims`` of the output, ``knn`` neighbours matched, ``sigma`` smoothing of the
        correction, ``alpha`` least alignment score at which two batches are joined.
    seed
        Start of the randomised reduction.
    """
    import numpy as np
    from scanorama import scanorama as library

    from scfm.integration.annoy_threads import one_annoy_thread

    inputs.require_batches("Scanorama")
    if settings["genes"] not in ("hvg", "all"):
        raise ScfmError(f"scanorama_genes is '{settings['genes']}'; it can be 'hvg' or 'all'.")
    matrix, genes = inputs.expression("X", settings["genes"])
    batches = inputs.batches
    rows = [np.flatnonzero(batches == name) for name in sorted(set(batches))]
    with one_annoy_thread(library) as scanorama, redirect_stdout(io.StringIO()):  # it prints whatever ``verbose`` says
        parts, _ = scanorama.integrate(
            [matrix[r] for r in rows],
            [list(genes)] * len(rows),
            dimred=settings["dims"],
            knn=settings["knn"],
            sigma=settings["sigma"],
            alpha=settings["alpha"],
            approx=True,
            batch_size=_MATCHING_BATCH_SIZE,
            seed=seed,
            verbose=False,
        )
    values = np.empty((len(batches), parts[0].shape[1]), dtype=np.float32)
    for r, part in zip(rows, parts, strict=True):
        values[r] = part
    return MethodOutput(values, details={"n_genes": len(genes), "n_batches": len(rows)})
