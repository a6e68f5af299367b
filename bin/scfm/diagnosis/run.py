"""Files in, files out: what ``bin/diagnose_embedding.py`` does."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.diagnosis.balanced import balance_messages, balanced_rows
from scfm.diagnosis.causes import Explainer
from scfm.diagnosis.choose import is_uncorrected
from scfm.diagnosis.clusters import cluster_cells, cluster_rows
from scfm.diagnosis.data import Cells, Embedded, read_cell_data, read_embedded, uncorrected
from scfm.diagnosis.explanations import PairExplanations
from scfm.diagnosis.markers import MarkerMeasure, find_markers, marker_rows
from scfm.diagnosis.messages import cluster_messages, marker_messages, rare_messages
from scfm.diagnosis.overcorrection import Task, overcorrection_rows, probe_tasks
from scfm.diagnosis.pairs import PairFinder
from scfm.diagnosis.programmes import load_programmes
from scfm.diagnosis.rare import RareFinder
from scfm.diagnosis.residual import residual_rows
from scfm.diagnosis.residual_messages import residual_messages
from scfm.diagnosis.retest import Corrector, corrector_of
from scfm.diagnosis.settings import DiagnosisSettings
from scfm.embeddings.sidecar import need_coordinates
from scfm.errors import ScfmError
from scfm.inputs.keys import key_pairs
from scfm.inputs.side_files import read_markers
from scfm.io.tables import put_identity, read_json, read_table, write_table
from scfm.metrics.registry import Metric, load_metrics
from scfm.task.group import Member, run_each
from scfm.task.resources import versions_of
from scfm.task.steps import step

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataFiles:
    """Files of a data set: obs table, prepared h5ad, uncorrected PCA, tables of programmes and metrics, the user's
    markers, and the neighbours of the method ``pca``.
    """

    obs: Path
    prepared: Path
    pca: Path
    programmes: Path
    metrics: Path
    markers: Path | None = None
    pca_knn: Path | None = None


@dataclass(frozen=True)
class Reference:
    """The uncorrected embedding of some cells and what is compared with it: measures of markers and rare labels, and
    the tasks of the biology probe.
    """

    embedded: Embedded
    markers: dict[str, dict[str, float]]
    finder: RareFinder
    rare: dict[str, dict[str, float]]
    tasks: list[Task]


class DatasetDiagnosis:
    """What all embeddings of a data set share; made when first asked for.

    Parameters
    ----------
    dataset
        Its name.
    files
        Its files.
    settings
        Thresholds.
    """

    def __init__(self, dataset: str, files: DataFiles, settings: DiagnosisSettings) -> None:
        self.dataset, self.files, self.settings = dataset, files, settings
        self._before: dict[bytes, Reference] = {}

    @cached_property
    def cells(self) -> Cells:
        """The scored cells with their expression."""
        return read_cell_data(self.dataset, self.files.obs, self.files.prepared)

    @cached_property
    def explained(self) -> PairExplanations:
        """What differs between batches, which depends on no embedding."""
        explainer = Explainer(self.cells, load_programmes(self.files.programmes), self.settings)
        return PairExplanations(explainer, PairFinder(self.cells, self.settings.min_cells))

    @cached_property
    def batch_metrics(self) -> list[Metric]:
        """The metrics of how well batches mix."""
        return [m for m in load_metrics(self.files.metrics).values() if m.group == "batch"]

    @cached_property
    def markers(self) -> MarkerMeasure:
        """Markers of every label: the user's, or from the data."""
        given = read_markers(self.files.markers) if self.files.markers else None
        return MarkerMeasure(self.cells, find_markers(self.cells, given))

    def before(self, embedded: Embedded) -> Reference:
        """Return the uncorrected PCA of an embedding's cells, measured once for all embeddings with these cells."""
        key = embedded.rows.tobytes()
        if key not in self._before:
            near = uncorrected(self.files.pca, embedded.rows, self.cells, knn=self.files.pca_knn)
            clusters = cluster_cells(near, self.settings.cluster_resolution)
            rare = RareFinder(self.cells, self.settings)
            self._before[key] = Reference(
                near,
                self.markers.of(clusters, near),
                rare,
                rare.measure(near),
                probe_tasks(self.cells, near, self.settings),
            )
        return self._before[key]

    def primary_scores(self, path: Path | None) -> "pd.DataFrame | None":
        """Return an embedding's scores with the primary keys, None where it has none."""
        if path is None or not path.stat().st_size:
            return None
        primary, *_ = key_pairs(list(self.cells.obs.columns))
        rows = read_table(path)
        return rows[(rows["batch_key"] == primary.batch_key) & (rows["label_key"] == primary.label_key)]


def diagnose_embeddings(
    members: Sequence[Member],
    *,
    data: DataFiles,
    params: Mapping[str, Any],
    other_seeds: Sequence[Member] = (),
    n_threads: int,
    outdir: Path,
    on_error: str,
) -> None:
    """Diagnose embeddings of one data set; each is a step of its own, so that one that fails leaves the others.

    Parameters
    ----------
    members
        The embeddings, with their ``knn`` and, where there are some, ``scores``.
    data
        Files of the data set.
    params
        Parameters of the run, see :class:`DiagnosisSettings`.
    other_seeds
        The same methods and corrections with other seeds, with their ``knn``: rare labels are looked for in them too.
    n_threads
        Threads of the linear algebra.
    outdir
        Where the tables and the status files are written.
    on_error
        ``continue`` or ``stop``.

    Raises
    ------
    ScfmError
        The embeddings are of several data sets.
    """
    from threadpoolctl import threadpool_limits

    sidecars = {member.name: read_json(member.sidecar) for member in (*members, *other_seeds)}
    datasets = sorted({sidecars[member.name]["dataset"] for member in members})
    if len(datasets) != 1:
        raise ScfmError(f"The embeddings are of {len(datasets)} data sets ({', '.join(datasets)}); diagnose one.")
    shared = DatasetDiagnosis(datasets[0], data, DiagnosisSettings.of(params))

    def work(member: Member) -> None:
        sidecar = sidecars[member.name]
        about = {"dataset": sidecar["dataset"], "embedding": sidecar["embedding"], "outdir": outdir}
        with step("diagnose", **about, on_error=on_error) as status, threadpool_limits(limits=n_threads):
            need_coordinates(sidecar)
            tables, warnings = diagnose(
                shared,
                _embedded(member, shared.cells),
                sidecar,
                scores=shared.primary_scores(member.more.get("scores")),
                corrector=corrector_of(sidecar, params),
                other_seeds=[
                    _embedded(m, shared.cells) for m in other_seeds if is_other_seed(sidecars[m.name], sidecar)
                ],
            )
            for name, rows in tables.items():
                put_identity(rows, sidecar)
                write_table(rows, outdir / f"{sidecar['dataset']}.{sidecar['embedding']}.{name}.tsv")
            status.update(warnings=warnings, versions=versions_of(["scanpy", "scipy", "numpy"]))
            for entry in warnings:
                _log.warning(entry["text"])

    run_each(sorted(members, key=lambda m: m.name), work, outdir=outdir)


def _embedded(member: Member, cells: Cells) -> Embedded:
    """Read an embedding with its neighbours."""
    if "knn" not in member.more:
        raise ScfmError(f"The neighbours of {member.name} are not among the files given.")
    return read_embedded(member.embedding, member.more["knn"], cells)


def is_other_seed(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two sidecars are of one method and correction with different seeds."""
    return all(one[k] == other[k] for k in ("dataset", "method", "correction")) and one["seed"] != other["seed"]


def diagnose(
    shared: DatasetDiagnosis,
    embedded: Embedded,
    sidecar: Mapping[str, Any],
    *,
    scores: "pd.DataFrame | None",
    corrector: Corrector | None,
    other_seeds: Sequence[Embedded] = (),
) -> "tuple[dict[str, pd.DataFrame], list[dict[str, Any]]]":
    """Return the tables of one embedding by name, and its messages.

    Parameters
    ----------
    shared
        What the embeddings of the data set share.
    embedded
        The embedding.
    sidecar
        Its sidecar.
    scores
        Its scores with the primary keys.
    corrector
        How it is made again from the uncorrected one, where that is cheap.
    other_seeds
        The same method and correction with other seeds.
    """
    settings, explained = shared.settings, shared.explained
    about = {key: sidecar[key] for key in ("dataset", "method", "embedding", "seed")}
    is_raw_pca = is_uncorrected(sidecar["method"], sidecar["correction"])
    before = shared.before(embedded)
    clusters = cluster_cells(embedded, settings.cluster_resolution)
    tables = {
        "residual": residual_rows(embedded, explained, settings, scores),
        "clusters": cluster_rows(clusters, embedded, before.embedded, explained.explainer, settings),
        "markers": marker_rows(before.markers, shared.markers.of(clusters, embedded), shared.markers.markers, settings),
        "rare": before.finder.rows(embedded, before.rare, other_seeds),
        "overcorrection": overcorrection_rows(
            embedded, before.embedded, before.tasks, settings, cells=shared.cells, corrector=corrector
        ),
        "balanced": balanced_rows(
            embedded, before.embedded, shared.cells, settings, scores=scores, metrics=shared.batch_metrics
        ),
    }
    warnings = [
        *residual_messages(tables["residual"], settings, about),
        *cluster_messages(tables["clusters"], settings, about, corrected=not is_raw_pca),
        *marker_messages(tables["markers"], settings, about),
        *rare_messages(tables["rare"], settings, about),
        *balance_messages(tables["balanced"], shared.batch_metrics, settings, about),
    ]
    return tables, warnings
