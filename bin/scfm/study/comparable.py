"""Are these the study's cells and settings? Differences from published numbers speak of reproduction only if they
are.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

#: the host of CELLxGENE Discover's interface; any other host with that interface is a mirror
OFFICIAL_HOST = "api.cellxgene.cziscience.com"
#: the study's settings that move numbers, as parameters of the pipeline; ``conf/paper.config`` has the same values
#: (tested)
SETTINGS: dict[str, Any] = {
    "min_genes_per_cell": 0,
    "min_cells_per_gene": 0,
    "n_hvg": 2000,
    "hvg_flavor": "cell_ranger",
    "n_pcs": 50,
    "harmony_theta": 2,
    "harmony_lambda": 1,
    "harmony_sigma": 0.1,
    "harmony_max_clusters": 100,
    "harmony_max_iter": 10,
    "harmony_epsilon": 0.0001,
    "scanorama_genes": "all",
    "scanorama_dims": 100,
    "scanorama_knn": 20,
    "scanorama_sigma": 15,
    "scanorama_alpha": 0.1,
    "scvi_n_latent": 30,
    "scvi_n_hidden": 128,
    "scvi_n_layers": 2,
    "scvi_likelihood": "nb",
    "scvi_max_epochs": None,
    "scvi_validation_share": 0,
    "scvi_batch_size": 128,
    "center_max_cells": 10000,
    "center_seed": 42,
    "neighbors_k": 90,
    "probe_folds": 5,
    "probe_seed": 123,
    "probe_c": 1.0,
    "probe_max_iter": 1000,
    "probe_balanced": False,
}


def cell_doubts(
    row: dict[str, Any], *, n_cells: int | None = None, n_batches: int | None = None
) -> tuple[list[str], list[str]]:
    """Return why the cells of a data set are not those of the study, and what can't be checked about it.

    Parameters
    ----------
    row
        Entry of ``tables/datasets.json``: ``n_cells``, ``prepared``, and ``recipe`` or ``download`` with the records of
        the files.
    n_cells, n_batches
        What the study states of its data set; None where it states nothing.

    Returns
    -------
    Sentences that show a difference; sentences on what is not known. With the first empty nothing *shows* a difference.
    """
    differs, unknown = [], []
    prepared = row.get("prepared") or {}
    cells = prepared.get("n_cells", row.get("n_cells"))
    if n_cells is None:
        unknown.append("The study does not state how many cells this scenario has, so their number can't be checked.")
    elif cells is None:
        unknown.append(
            f"The study has {n_cells:,} cells; how many there are here is not known, as the preparation left no facts."
        )
    elif int(cells) != n_cells:
        differs.append(f"There are {int(cells):,} cells here and {n_cells:,} in the study.")
    batches = prepared.get("batches")
    if batches and n_batches is not None and len(batches) != n_batches:
        differs.append(f"There are {len(batches):,} batches here and {n_batches:,} in the study.")
    wrong, hidden = _record_doubts(_records(row))
    return differs + wrong, unknown + hidden


def _records(row: dict[str, Any]) -> list[tuple[str, dict[str, Any] | None]]:
    """Return ``(file, record or None)`` of every file that the cells were read from."""
    recipe = row.get("recipe")
    if recipe:
        return [(str(s.get("file") or s.get("name") or "a source"), s.get("record")) for s in recipe.get("sources", [])]
    return [(str(row.get("h5ad") or "the file"), row.get("download"))]


def _record_doubts(records: list[tuple[str, dict[str, Any] | None]]) -> tuple[list[str], list[str]]:
    """Return what the records of the downloads show, and the files that have none."""
    mirrors = {}
    bare = []
    for file, record in records:
        if not record:
            bare.append(file)
            continue
        address = str(record.get("api") if record.get("kind") == "cellxgene" else record.get("url"))
        # a host without a scheme is a host all the same
        host = urlsplit(address if "://" in address else f"//{address}").hostname or "a local file"
        if record.get("kind") != "cellxgene" or host != OFFICIAL_HOST:
            mirrors.setdefault(host, []).append(file)
    differs = [
        f"{', '.join(files)} came from {host}, not from CELLxGENE Discover ({OFFICIAL_HOST})."
        for host, files in mirrors.items()
    ]
    unknown = (
        [f"Where {', '.join(bare)} comes from is not recorded, as it was not downloaded by the pipeline."]
        if bare
        else []
    )
    return differs, unknown


def other_settings(params: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return ``(parameter, value of the run, value of the study)`` where they differ; unknown parameters are
    left out.
    """
    return [
        (name, params[name], value)
        for name, value in SETTINGS.items()
        if name in params and not _same(params[name], value)
    ]


def _same(one: Any, other: Any) -> bool:
    """Return whether two values of a parameter are equal; Nextflow may hand a number or a switch over as text."""
    if one is None or other is None:
        return one is other
    try:
        return float(one) == float(other)
    except ValueError:
        return str(one).lower() == str(other).lower()
