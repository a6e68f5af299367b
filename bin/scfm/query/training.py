"""Files in, files out: what ``bin/train_query.py`` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.integration.scvi import DEVICES, accelerator_of
from scfm.integration.scvi_files import settings_of_scvi
from scfm.io.tables import write_embedding, write_json
from scfm.query.reading import read_query, require_genes
from scfm.query.reference import PLACED, Reference
from scfm.query.scarches import Training, place
from scfm.task.resources import Stopwatch, versions_of

#: epochs on the new cells at most; with more, those of small data sets move away from the reference (docs/query.md)
MAX_EPOCHS = 20
#: epochs of the KL warm-up of scANVI in scvi-tools, which the method leaves as it is
_SCANVI_WARMUP = 400


def train_files(
    folder: Path,
    query: Path,
    row: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    mapping: str,
    device: str,
    outdir: Path,
) -> None:
    """Train a model of a reference on new cells: write the files of :data:`scfm.query.reference.PLACED`.

    Parameters
    ----------
    folder
        Folder of the reference.
    query
        h5ad file or zarr folder with the new cells.
    row
        Row of the samplesheet that names them.
    params
        ``query_max_epochs``, ``query_min_genes`` and those of reading a query.
    mapping
        ``scvi`` or ``scanvi``.
    device
        ``auto``, ``cpu`` or ``cuda``.
    outdir
        Where the files are written.

    Raises
    ------
    ScfmError
        The reference or the query can't be read, or the reference has no such model.
    """
    reference = Reference.open(folder)
    if not reference.has(mapping):
        raise ScfmError(f"{folder.name} has no model of {mapping}; it has {', '.join(reference.about['mappings'])}.")
    cells = read_query(query, row, reference.genes, params, raw=True)
    require_genes(cells.found, params["query_min_genes"], Path(row["query"]).name)
    trained = reference.about["mappings"][mapping]
    accelerator = accelerator_of(device)
    used = settings_of_scvi(mapping, trained["settings"])
    warmup = _SCANVI_WARMUP if mapping == "scanvi" else used["kl_warmup_epochs"]
    how = Training(
        max_epochs=params.get("query_max_epochs") or MAX_EPOCHS,
        batch_size=used["batch_size"],
        threads=used["threads"],
        kl_weight=kl_weight_of(warmup, trained["training"]),
        seed=trained["seed"],
        accelerator=accelerator,
    )
    watch = Stopwatch()
    values, before, facts = place(folder / mapping, cells.expression, cells.batches, how)
    facts |= {"seconds": watch.seconds, "device": DEVICES[accelerator]}
    for name, table in zip(PLACED[:2], (values, before), strict=True):
        write_embedding(outdir / f"{row['dataset']}.{mapping}.{name}", cells.cell_ids, table)
    facts |= {"versions": versions_of(["scvi-tools", "torch", "lightning"])}
    write_json(outdir / f"{row['dataset']}.{mapping}.{PLACED[2]}", facts)


def kl_weight_of(warmup: int | None, training: Mapping[str, Any]) -> float:
    """Return the weight of the KL divergence in the last epoch whose weights were kept, above 0 to 1.

    Parameters
    ----------
    warmup
        Epochs over which it rises from 0 to 1; 0 or None: it is 1.
    training
        Facts of the sidecar: ``restored_epoch`` (from 1; None: the last), ``epochs_run``.
    """
    epoch = training["restored_epoch"] or training["epochs_run"]
    return min(1.0, max(1, epoch - 1) / warmup) if warmup else 1.0
