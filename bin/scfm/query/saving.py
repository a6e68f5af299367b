"""Make a reference of a prepared data set and of what its methods have left."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scfm.embeddings.cells import read_cells
from scfm.errors import ScfmError
from scfm.inputs.keys import primary_pair
from scfm.integration.scvi_files import DESCRIPTION, WEIGHTS, settings_of_scvi, takes_queries
from scfm.io.checksums import sha256_of
from scfm.io.tables import read_json, write_json, write_table
from scfm.query.reference import ABOUT, BY_METHOD, CELLS, EMBEDDING, FORMAT, GENES, PROJECTIONS, ReferenceGenes
from scfm.task.resources import versions_of
from scfm.task.versions import loaded_packages

#: files of a method's folder that its mapping reads
_FILES = {"harmony": ("harmony.npz",), "scvi": (DESCRIPTION, WEIGHTS), "scanvi": (DESCRIPTION, WEIGHTS)}


def save_reference(
    row: Mapping[str, Any],
    *,
    prepared: Path,
    obs: Path,
    pca: Path,
    embeddings: Sequence[Path],
    sidecars: Sequence[Path],
    models: Sequence[Path],
    folder: Path,
) -> dict[str, Any]:
    """Write a reference.

    Parameters
    ----------
    row
        Row of the data set in ``datasets.json``.
    prepared, obs, pca
        Files of PREPARE_DATASET.
    embeddings, sidecars, models
        ``<id>.parquet``, ``<id>.json`` and ``<id>.model`` of embeddings that new cells can be mapped to, in any order;
        one that lacks one of the three is left out.
    folder
        Empty folder.

    Returns
    -------
    Content of ``reference.json``.

    Raises
    ------
    ScfmError
        A model lacks a file.
    """
    batch_key, label_key = primary_pair(row)
    cells = read_cells(obs)
    _copy(obs, folder / CELLS)
    genes = ReferenceGenes.of_prepared(prepared)
    write_table(genes.as_table(), folder / GENES)
    _copy(pca, folder / "pca" / EMBEDDING)
    tables, folders = {p.stem: p for p in embeddings}, {p.stem: p for p in models}
    mappings: dict[str, dict] = {name: {} for name in PROJECTIONS}
    left_out: dict[str, dict] = {}
    for sidecar in (read_json(path) for path in sidecars):
        stem, method = f"{sidecar['dataset']}.{sidecar['embedding']}", sidecar["method"]
        if method not in BY_METHOD or stem not in tables or stem not in folders:
            continue
        if refusal := _refusal(method, sidecar["settings"]):
            left_out[method] = refusal
            continue
        _copy(tables[stem], folder / method / EMBEDDING)
        for name in _FILES[method]:
            source = folders[stem] / name
            if not source.is_file():
                raise ScfmError(f"{folders[stem].name} has no {name}, which mapping new cells requires.")
            _copy(source, folder / method / name)
        kept = ("embedding", "seed", "settings", "versions", "seconds", "device", "n_dims")
        mappings[method] = {name: sidecar[name] for name in kept} | {"training": sidecar.get("training", {})}
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    about = {
        "format": FORMAT,
        "dataset": row["dataset"],
        "batch_key": batch_key,
        "label_key": label_key,
        "organism": row.get("organism") or "",
        "n_cells": len(cells),
        "n_genes": len(genes.names),
        "batches": {str(k): int(n) for k, n in cells["batch"].value_counts().sort_index().items()},
        "labels": {str(k): int(n) for k, n in cells["label"].value_counts().sort_index().items()},
        "mappings": mappings,
        "left_out": left_out,
        "versions": versions_of(loaded_packages()),
        "files": {str(path.relative_to(folder)): sha256_of(path) for path in files},
    }
    write_json(folder / ABOUT, about)
    return about


def _refusal(method: str, settings: Mapping[str, Any]) -> dict[str, str] | None:
    """Return why new cells can't be mapped to an embedding of a trained model, None where they can."""
    own = settings_of_scvi(method, settings)
    if method == "harmony" or takes_queries(own):
        return None
    if not own["for_queries"]:
        return {
            "reason_code": "not_for_queries",
            "reason": "The model was trained with --scvi_for_queries false: its encoder is not given the batch.",
        }
    return {
        "reason_code": "covariates",
        "reason": "The model has covariates besides the batch; mapping to such a model is not offered.",
    }


def _copy(source: Path, target: Path) -> None:
    """Copy a file into a folder that is made if needed."""
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, target)
