"""Files in, files out: what ``bin/relate_biology.py`` does."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.embeddings.cells import read_cells
from scfm.expression.pseudobulk import Pseudobulk, sum_counts, unit_table
from scfm.expression.reading import PreparedCounts
from scfm.inputs.keys import key_pairs
from scfm.inputs.side_files import read_gmt, read_network
from scfm.io.tables import read_embedding, write_table
from scfm.orthogonal.activities import edges_of_sets
from scfm.orthogonal.evidence import OrthogonalSettings, activity_rows, clinical_rows, modality_rows
from scfm.orthogonal.table import evidence_table
from scfm.registries.messages import message

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

#: neighbours of the graph that is clustered, self counted
_K = 15


@dataclass(frozen=True)
class EvidenceFiles:
    """Files of one data set.

    Attributes
    ----------
    dataset
        Its name.
    prepared, obs
        ``<dataset>.prepared.h5ad`` and ``.obs.parquet``.
    gmt, network
        Gene sets and regulators; None without them.
    embeddings
        Tables of the embeddings whose clusters are related to clinical fields, ``<id>.parquet``.
    """

    dataset: str
    prepared: Path
    obs: Path
    gmt: Path | None = None
    network: Path | None = None
    embeddings: Sequence[Path] = ()


def relate_files(files: EvidenceFiles, params: Mapping[str, Any], *, outdir: Path) -> dict[str, Any]:
    """Write ``<dataset>.orthogonal.tsv``; return the fields for the status file."""
    cells, settings = read_cells(files.obs), OrthogonalSettings.from_params(params)
    cells = cells[cells["label"].notna()]
    rows = _activities(files, cells, settings) + modality_rows(cells, settings)
    if any(column.startswith("clinical:") for column in cells):
        clusters = {
            _embedding(path, files.dataset): clusters_of(path, cells.index, settings.resolution)
            for path in files.embeddings
        }
        rows += clinical_rows(cells, clusters, settings)
    about = {"dataset": files.dataset, **key_pairs(list(cells.columns))[0].names}
    table = evidence_table(rows, about)
    write_table(table, outdir / f"{files.dataset}.orthogonal.tsv")
    warnings = [m | {"dataset": files.dataset} for m in messages_of(table, settings)]
    for entry in warnings:
        log.info(entry["text"])
    return {"warnings": warnings}


def clusters_of(embedding: Path, cell_ids: "pd.Index", resolution: float) -> "pd.Series":
    """Return the Leiden cluster of the labelled cells of an embedding, by its 15-NN graph, indexed by cell id."""
    import pandas as pd

    from scfm.metrics.connectivities import umap_connectivities
    from scfm.metrics.leiden import leiden_clusters
    from scfm.neighbors.search import find_neighbors

    ids, values = read_embedding(embedding)
    known = pd.Index(ids).isin(cell_ids)
    near = find_neighbors(values[known], ids[known], k=_K)
    (found,) = leiden_clusters(umap_connectivities(near.indices, near.distances), [resolution])
    return pd.Series(found, index=pd.Index(near.cell_ids))  # sorted by id, whatever the order of the file


def messages_of(table: "pd.DataFrame", settings: OrthogonalSettings) -> list[dict]:
    """Return W-ORT-01 for labels on which batches disagree, I-ORT-01 for fields that explain the parts of a label."""
    told = []
    overall = table[(table["measure"] == "spearman") & table["agrees"].eq(False)]  # noqa: FBT003 - NA is neither
    for evidence, part in overall.groupby("evidence", sort=True):
        labels = dict(zip(part["label"], part["value"].round(2), strict=True))
        kind = "gene sets" if evidence == "gene_sets" else "regulators"
        told.append(message("W-ORT-01", kind=kind, values={"labels": labels}, threshold=settings.agreement))
    explained = table[(table["evidence"] == "clinical") & table["agrees"].eq(True)]  # noqa: FBT003
    for (embedding, label), part in explained.groupby(["of_embedding", "label"], sort=True):
        shown = {name: f"{value:z.2f}" for name, value in zip(part["feature"], part["value"], strict=True)}
        told.append(message("I-ORT-01", embedding=embedding, values={"label": label, "fields": shown}))
    return told


def _activities(files: EvidenceFiles, cells: "pd.DataFrame", settings: OrthogonalSettings) -> list[dict[str, Any]]:
    """Return the rows of gene sets and regulators; the counts are read where one of them is given."""
    given = {}
    if files.gmt:
        given["gene_sets"] = edges_of_sets(read_gmt(files.gmt))
    if files.network:
        given["regulators"] = read_network(files.network)
    if not given:
        return []
    counts = PreparedCounts(files.prepared, cells)
    units, codes = unit_table(cells, ["label", "batch"])
    bulk = Pseudobulk(units, sum_counts(counts.blocks("counts"), codes, len(units), len(counts.genes)), counts.genes)
    return [row for name, edges in given.items() for row in activity_rows(name, bulk, counts.symbols, edges, settings)]


def _embedding(path: Path, dataset: str) -> str:
    """Return the name of the embedding of a file ``<dataset>.<embedding>.parquet``."""
    return path.name.removeprefix(f"{dataset}.").removesuffix(".parquet")
