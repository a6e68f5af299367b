"""Scanorama (Hie et al. 2019, doi 10.1038/s41587-019-0113-3): its low-dimensional output."""

from __future__ import annotations

import io
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.integration.base import MethodInputs, MethodOutput
from scfm.registries.messages import message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

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
    # it prints whatever ``verbose`` says
    with one_annoy_thread(library) as scanorama, _scores_of(library) as scores, redirect_stdout(io.StringIO()):
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
    names = sorted(set(batches))
    aligned = [
        {"batches": [str(names[i]), str(names[j])], "score": float(score)} for (i, j), score in sorted(scores.items())
    ]
    return MethodOutput(
        values,
        warnings=alignment_messages(aligned, names, settings["alpha"], dataset=inputs.dataset, seed=seed),
        details={"n_genes": len(genes), "n_batches": len(rows), "alignments": aligned},
    )


@contextmanager
def _scores_of(library: "ModuleType") -> "Iterator[dict[tuple[int, int], float]]":
    """Keep the alignment scores that Scanorama computes and does not return: (batch, batch) -> share of the cells with
    a mutual neighbour in the other batch, the larger share of the two, 0 to 1; no entry where there is none.
    """
    original, found = library.find_alignments_table, {}

    def keep(*args: object, **more: object) -> tuple:
        result = original(*args, **more)
        found.update(result[0])
        return result

    library.find_alignments_table = keep
    try:
        yield found
    finally:
        library.find_alignments_table = original


def alignment_messages(
    aligned: list[dict], names: "Sequence[str]", alpha: float, *, dataset: str, seed: int
) -> list[dict]:
    """Return W-SCA-01 for each batch that no alignment above ``alpha`` joins to another: it was not corrected.

    Parameters
    ----------
    aligned
        ``batches`` (two names) and ``score`` of the pairs.
    names
        Names of all batches.
    alpha
        Least score of an alignment that is used.
    dataset, seed
        What was run.
    """
    best = {str(name): max((a["score"] for a in aligned if name in a["batches"]), default=0.0) for name in names}
    return [
        message(
            "W-SCA-01",
            dataset=dataset,
            method="scanorama",
            seed=seed,
            values={"best_score": score},
            threshold=alpha,
            batch=name,
        )
        for name, score in best.items()
        if score <= alpha
    ]
