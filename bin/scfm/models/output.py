"""Embedding a file into a table and its sidecar, part by part, so that memory does not grow with the number of
cells.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.embeddings.preparation import PREPARATION, preparation_of
from scfm.embeddings.sidecar import make_sidecar
from scfm.errors import ScfmError
from scfm.io.checksums import sha256_of
from scfm.io.tables import EmbeddingWriter, write_json
from scfm.models import model_class
from scfm.models.core.reader import Counts, open_counts
from scfm.models.core.runner import Part, Report, RunOptions, embed_frame, embed_stream
from scfm.models.core.settings import as_dict, make_settings
from scfm.weights.check import RANDOM_MARK

if TYPE_CHECKING:
    from scfm.models.core.base import EmbeddingModel

log = logging.getLogger(__name__)

#: cells on which bf16 is compared with fp32
DRIFT_CELLS = 64


def embed_file(
    name: str,
    weights: Path | str,
    source: Path | str,
    output: Path | str,
    *,
    settings: Mapping[str, Any],
    options: RunOptions,
    device: str = "auto",
    precision: str = "fp32",
    seed: int = 0,
    random_init: bool = False,
    cells: list[str] | None = None,
    dataset: str = "",
    method: str = "",
) -> dict[str, Any]:
    """Embed an .h5ad file; write ``<output>.parquet`` and the sidecar ``<output>.json``.

    Parameters
    ----------
    name, weights, settings, device, precision, seed, random_init
        See :func:`scfm.models.load_model`.
    source
        The .h5ad file.
    output
        The parquet file; its stem names the sidecar.
    options
        How the run is cut up.
    cells
        Only these cell ids (a shard); None = all. Facts about genes are those of the whole file either way.
    dataset, method
        For the sidecar; the method is the model's name (``<name>_random`` with random weights) where not given.

    Returns
    -------
    The sidecar.
    """
    output = Path(output)
    if output.suffix != ".parquet":
        raise ScfmError(f"{output}: the output must end in .parquet (the sidecar has the same stem and ends in .json).")
    cls = model_class(name)
    typed = make_settings(cls.Settings, settings, model=name)  # before anything large is opened
    counts = open_counts(source, typed.input_layer)
    counts = counts if cells is None else counts.only(cells)
    how = {"device": device, "seed": seed, "random_init": random_init}
    model = cls(weights, typed, precision=precision, **how)
    report = Report()
    drift: dict[str, Any] = {}
    sample: list[Part] = []
    with EmbeddingWriter(output, model.n_dims) as writer:
        for part in embed_stream(model, counts, options, report):
            writer.add(part.cell_ids, part.embedding)
            if sum(len(p.cell_ids) for p in sample) < DRIFT_CELLS:
                sample.append(part)
    if precision == "bf16" and report.cells_out:
        drift = _drift(cls(weights, typed, precision="fp32", **how), counts, sample, options)
    details = drift | {PREPARATION: preparation_of(Path(source))}
    sidecar = _sidecar(model, report, dataset=dataset, method=method, details=details)
    write_json(output.with_suffix(".json"), sidecar)
    log.info(
        "%s: %d of %d cells, %d dims, %.1f cells/s",
        name,
        report.cells_out,
        report.cells_in,
        model.n_dims,
        report.cells_out / max(report.seconds, 1e-9),
    )
    return sidecar


def _sidecar(
    model: "EmbeddingModel", report: Report, *, dataset: str, method: str, details: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the sidecar of a model's run: what made the embedding, from which weights, and how it went."""
    checkpoints = {c.path for c in model.checkpoints}
    digests = _digests(model, set() if model.random_init else checkpoints)
    others = _digests(model, model.read_files - checkpoints)
    _compare_with_record(model, digests | others)
    return make_sidecar(
        dataset=dataset,
        method=method or (f"{model.name}_random" if model.random_init else model.name),
        family="foundation_model",
        correction="raw",
        seed=model.seed,
        is_control=model.random_init,
        output_type="embedding",
        settings=as_dict(model.settings),
        packages=["torch", "numpy", "anndata", "h5py", "safetensors"],
        device=str(model.device.type),
        seconds=report.seconds,
        cells_in=report.cells_in,
        n_cells=report.cells_out,
        n_dims=model.n_dims,
        warnings=model.messages,
        details={
            "model": model.name,
            "precision": model.precision,
            "weights_sha256": digests,
            "dictionaries_sha256": others,
            "weights_random": model.random_init or (model.weights / RANDOM_MARK).is_file(),
            "unused_tensors": model.extras(),
            **report.facts(),
            **model.facts(),
            **details,
        },
    )


def _digests(model: "EmbeddingModel", paths: set[Path]) -> dict[str, str]:
    """Return the checksums of files by their paths below the weights folder, or by name where they lie elsewhere."""
    return {
        str(path.relative_to(model.weights)) if path.is_relative_to(model.weights) else path.name: sha256_of(path)
        for path in sorted(paths)
    }


def _compare_with_record(model: "EmbeddingModel", found: Mapping[str, str]) -> None:
    """Warn where weights are not the ones whose checksums were recorded when they were fetched."""
    from scfm.weights.check import RECORD, read_record

    record = read_record(model.weights)
    changed = [name for name, digest in found.items() if record.get(name, digest) != digest]
    if changed:
        model.warn("W-MOD-14", folder=model.weights, record=RECORD, values={"files": changed})


def _drift(reference: "EmbeddingModel", counts: Counts, sample: list[Part], options: RunOptions) -> dict[str, Any]:
    """Compare bf16 rows with fp32 ones of the same cells: cosine per cell (1 = no drift)."""
    if not reference.cells_apart:
        return {"bf16_drift": {"reason": "not measured on a sample: the row of a cell depends on the other cells"}}
    ids = np.concatenate([p.cell_ids for p in sample])[:DRIFT_CELLS]
    rows = np.concatenate([p.embedding for p in sample])[:DRIFT_CELLS]
    exact = (
        embed_frame(reference, counts.only(list(ids)), batch_tokens=options.batch_tokens, min_gene_overlap=0.0)
        .loc[list(ids)]
        .to_numpy()
    )
    scale = np.linalg.norm(rows, axis=1) * np.linalg.norm(exact, axis=1)
    cosine = np.einsum("ij,ij->i", rows.astype(np.float64), exact) / np.maximum(scale, 1e-30)
    return {
        "bf16_drift": {"cells": len(ids), "cosine_min": float(cosine.min()), "cosine_median": float(np.median(cosine))}
    }
