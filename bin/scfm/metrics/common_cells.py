"""The further scoring passes: embeddings that are ranked with each other are scored on the same cells.

Own scores come first and never wait for them. The pass ``common`` takes the cells that all ranked embeddings have, and
is needed only where these differ. The pass ``held_out`` takes the held-out cells, and is needed only where a method has
been given the labels of the others: it is ranked on these cells, with all other embeddings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scfm.embeddings.cells import align, held_out_of
from scfm.inputs.keys import KeyPair
from scfm.io.tables import read_embedding, read_ids, write_table
from scfm.metrics.inputs import CLUSTERING_SEEDS, Groups, MetricInputs
from scfm.metrics.load import load_scored_cells, read_scored
from scfm.metrics.ranking import MIN_COVERAGE
from scfm.metrics.registry import load_metrics, metrics_of
from scfm.metrics.scoring import failed_step, failure_sentence, score
from scfm.neighbors.search import EXACT_MAX_CELLS, find_neighbors
from scfm.task.device import CPU
from scfm.task.steps import embedding_id

COMMON, HELD_OUT = "common", "held_out"
PASSES = (COMMON, HELD_OUT)


@dataclass(frozen=True)
class CommonCells:
    """Which cells a further pass scores, and in which embeddings.

    Attributes
    ----------
    n_scored
        Scored cells of the data set; of the pass ``held_out`` those of them that are held out.
    ranked
        Embeddings that are ranked with each other, sorted.
    differ
        Whether they differ in these cells: otherwise the pass ``common`` is not needed.
    cells
        Those cells that all of them have, sorted.
    embeddings
        What is scored again, sorted: ``ranked`` and the controls that have all ``cells`` (totals are scaled between
        them). Empty where the pass is not needed or no cell is common.
    """

    n_scored: int
    ranked: tuple[str, ...]
    differ: bool
    cells: tuple[str, ...]
    embeddings: tuple[str, ...]

    def facts(self, dataset: str) -> dict[str, Any]:
        """Return the content of ``<dataset>.<pass>.json``: everything but the cells themselves."""
        return {
            "dataset": dataset,
            "n_scored": self.n_scored,
            "n_common": len(self.cells),
            "differ": self.differ,
            "ranked": list(self.ranked),
            "embeddings": list(self.embeddings),
        }


def lacks_cells(sidecar: Mapping[str, Any]) -> bool:
    """Tell whether an embedding that could be ranked lacks cells of its data set, which starts the pass ``common``."""
    return not sidecar["is_control"] and sidecar["cells_out"] < sidecar["cells_in"]


def has_seen_labels(sidecar: Mapping[str, Any]) -> bool:
    """Tell whether an embedding was made with the labels of all but the held-out cells, which starts that pass."""
    return bool(sidecar.get("labels_seen"))


def find_common_cells(
    tables: Iterable[tuple[Mapping[str, Any], Path]],
    obs: Path,
    *,
    kind: str = COMMON,
    label_readers: Collection[str] = (),
    min_coverage: float = MIN_COVERAGE,
) -> CommonCells:
    """Find the cells of a further pass: those that all embeddings which it ranks have.

    Parameters
    ----------
    tables
        Sidecar and embedding table of every embedding that passed the validation gate.
    obs
        ``<dataset>.obs.parquet``.
    kind
        One of ``PASSES``.
    label_readers
        Methods and corrections that read the labels of the cells of the pass: their embeddings are not ranked.
    min_coverage
        Smallest share of the scored cells of an embedding that is ranked.

    Returns
    -------
    An embedding that is not ranked never makes the cells of the others fewer.
    """
    cells_of_obs = read_scored(obs)
    scored = set(cells_of_obs.index[held_out_of(cells_of_obs, obs)] if kind == HELD_OUT else cells_of_obs.index)
    having: dict[str, set[str]] = {}
    controls: dict[str, set[str]] = {}
    for sidecar, table in tables:
        if sidecar["output_type"] == "graph":
            continue  # no coordinates, no total, no rank
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
        embeddings=tuple(sorted(again)) if (differ or kind == HELD_OUT) and common else (),
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
    device: str = CPU,
) -> MetricInputs:
    """Read what the metrics of an embedding need on the cells of a further pass, with neighbours searched among these.

    Parameters
    ----------
    embedding, sidecar, obs, pca
        As in :func:`scfm.metrics.load.load_inputs`.
    cells
        The cells of the pass.
    k, exact_max_cells, device
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
    near = None
    if len(wanted) > 1:
        near = find_neighbors(values, wanted, k=k, exact_max_cells=exact_max_cells, device=device)
    pca_ids, pca_values = read_embedding(pca)
    return MetricInputs(
        wanted,
        Groups.of(whole.labels[rows]),
        Groups.of(whole.batches[rows]),
        values,
        near,
        pca_values[align(pca_ids, wanted, pca)],
        device=device,
    )


def score_common(
    data: MetricInputs,
    sidecar: dict,
    pair: KeyPair,
    *,
    profile: str,
    kind: str = COMMON,
    metrics_table: Path | None = None,
    on_error: str = "continue",
    outdir: Path = Path("."),
) -> dict[str, Any]:
    """Score one embedding on the cells of a further pass with the primary keys: write ``<id>.scores_<pass>.tsv``.

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
    write_table(table, outdir / f"{stem}.scores_{kind}.tsv")
    facts: dict[str, Any] = {"n_cells": data.n_cells, "profile": profile, "n_metrics": len(metrics)}
    return facts | failed_step(
        failure_sentence(table, len(metrics), f" on the {kind.replace('_', '-')} cells"), on_error
    )
