"""The second scoring pass: embeddings that are ranked with each other are scored on the cells that all of them have.

Own scores come first and never wait for it. The pass is needed only where ranked embeddings differ in their cells.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scfm.embeddings.cells import align
from scfm.inputs.keys import KeyPair
from scfm.io.tables import read_embedding, read_ids, write_table
from scfm.metrics.inputs import CLUSTERING_SEEDS, Groups, MetricInputs
from scfm.metrics.load import load_scored_cells, read_scored
from scfm.metrics.ranking import MIN_COVERAGE
from scfm.metrics.registry import load_metrics, metrics_of
from scfm.metrics.scoring import failed_step, failure_sentence, score
from scfm.neighbors.search import EXACT_MAX_CELLS, find_neighbors
from scfm.task.steps import embedding_id


@dataclass(frozen=True)
class CommonCells:
    """Which cells the second pass scores, and in which embeddings.

    Attributes
    ----------
    n_scored
        Scored cells of the data set.
    ranked
        Embeddings that are ranked with each other, sorted.
    differ
        Whether they differ in their scored cells: otherwise no second pass is needed.
    cells
        Scored cells that all of them have, sorted.
    embeddings
        What is scored again, sorted: ``ranked`` and the controls that have all ``cells`` (totals are scaled between
        them). Empty where no second pass is needed or no cell is common.
    """

    n_scored: int
    ranked: tuple[str, ...]
    differ: bool
    cells: tuple[str, ...]
    embeddings: tuple[str, ...]

    def facts(self, dataset: str) -> dict[str, Any]:
        """Return the content of ``<dataset>.common.json``: everything but the cells themselves."""
        return {
            "dataset": dataset,
            "n_scored": self.n_scored,
            "n_common": len(self.cells),
            "differ": self.differ,
            "ranked": list(self.ranked),
            "embeddings": list(self.embeddings),
        }


def lacks_cells(sidecar: Mapping[str, Any]) -> bool:
    """Tell whether an embedding that could be ranked lacks cells of its data set, which starts the second pass."""
    return not sidecar["is_control"] and sidecar["cells_out"] < sidecar["cells_in"]


def find_common_cells(
    tables: Iterable[tuple[Mapping[str, Any], Path]],
    obs: Path,
    *,
    label_readers: Collection[str] = (),
    min_coverage: float = MIN_COVERAGE,
) -> CommonCells:
    """Find the cells that all ranked embeddings of a data set have.

    Parameters
    ----------
    tables
        Sidecar and embedding table of every embedding that passed the validation gate.
    obs
        ``<dataset>.obs.parquet``.
    label_readers
        Methods and corrections that read the labels: their embeddings are not ranked.
    min_coverage
        Smallest share of the scored cells of an embedding that is ranked.

    Returns
    -------
    An embedding that is not ranked never makes the cells of the others fewer.
    """
    scored = set(read_scored(obs).index)
    having: dict[str, set[str]] = {}
    controls: dict[str, set[str]] = {}
    for sidecar, table in tables:
        cells = scored & set(read_ids(table))
        reads_labels = bool({sidecar["method"], sidecar["correction"]} & set(label_readers))
        if sidecar["is_control"]:
            controls[sidecar["embedding"]] = cells
        elif not reads_labels and len(cells) >= min_coverage * len(scored):
            having[sidecar["embedding"]] = cells
    common = set.intersection(*having.values()) if having else set()
    differ = any(cells != common for cells in having.values())
    again = [*having, *(name for name, cells in controls.items() if common <= cells)]
    return CommonCells(
        n_scored=len(scored),
        ranked=tuple(sorted(having)),
        differ=differ,
        cells=tuple(sorted(common)),
        embeddings=tuple(sorted(again)) if differ and common else (),
    )


def load_common(
    embedding: Path,
    sidecar: dict,
    obs: Path,
    pca: Path,
    cells: Collection[str],
    *,
    k: int = 90,
    exact_max_cells: int = EXACT_MAX_CELLS,
) -> MetricInputs:
    """Read what the metrics of an embedding need on the common cells, with neighbours searched among these.

    Parameters
    ----------
    embedding, sidecar, obs, pca
        As in :func:`scfm.metrics.load.load_inputs`.
    cells
        The common cells.
    k, exact_max_cells
        As in :func:`scfm.neighbors.search.find_neighbors`.

    Raises
    ------
    ScfmError
        A cell is not a scored cell of the embedding.
    """
    import numpy as np

    whole = load_scored_cells(embedding, sidecar, obs)
    wanted = np.array(sorted(cells), dtype=object)
    rows = align(whole.cell_ids, wanted, embedding)
    values = np.asarray(whole.values)[rows]  # load_scored_cells refuses a graph, which has none
    search = {"k": k, "exact_max_cells": exact_max_cells}
    pca_ids, pca_values = read_embedding(pca)
    return MetricInputs(
        wanted,
        Groups.of(whole.labels[rows]),
        Groups.of(whole.batches[rows]),
        values,
        find_neighbors(values, wanted, **search) if len(wanted) > 1 else None,
        pca_values[align(pca_ids, wanted, pca)],
    )


def score_common(
    data: MetricInputs,
    sidecar: dict,
    pair: KeyPair,
    *,
    profile: str,
    metrics_table: Path | None = None,
    on_error: str = "continue",
    outdir: Path = Path("."),
) -> dict[str, Any]:
    """Score one embedding on the common cells with the primary keys: write ``<id>.scores_common.tsv``.

    Returns
    -------
    Fields for the status file; the step counts as failed where a metric failed.

    Raises
    ------
    ScfmError
        With ``on_error="stop"``, if a metric failed.
    """
    metrics = metrics_of(load_metrics(metrics_table), profile)
    table = score(replace(data, n_seeds=CLUSTERING_SEEDS[profile]), metrics, sidecar, pair)
    stem = embedding_id(sidecar["dataset"], sidecar["method"], sidecar["correction"], sidecar["seed"])
    write_table(table, outdir / f"{stem}.scores_common.tsv")
    facts: dict[str, Any] = {"n_cells": data.n_cells, "profile": profile, "n_metrics": len(metrics)}
    return facts | failed_step(failure_sentence(table, len(metrics), " on the common cells"), on_error)
