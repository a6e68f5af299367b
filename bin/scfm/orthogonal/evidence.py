"""Rows of ``orthogonal.tsv``, kind of evidence by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scfm.errors import NotApplicable
from scfm.expression.pseudobulk import Pseudobulk
from scfm.inputs.keys import CARRIED
from scfm.orthogonal.activities import activities, agreement_between_batches, label_profiles
from scfm.orthogonal.clinical import associate, parts_of_labels, sample_parts, subjects
from scfm.orthogonal.modality import label_auroc
from scfm.task.settings import given

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: stands for all labels, features or batches
ALL = "all"
#: sets and regulators named per label
_TOP = 5


@dataclass(frozen=True)
class OrthogonalSettings:
    """Parameters ``orthogonal_*``.

    Attributes
    ----------
    agreement
        Spearman correlation between batches from which on they agree.
    association
        Theil's U from which on a clinical field of text explains the parts of a label.
    fdr
        False discovery rate of the associations.
    min_cells
        Fewest cells of a label in a batch or cluster.
    resolution
        Of the Leiden clusters.
    """

    agreement: float = 0.6
    association: float = 0.5
    fdr: float = 0.05
    min_cells: int = 10
    resolution: float = 1.0

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "OrthogonalSettings":
        """Take the parameters ``orthogonal_*`` of a run."""
        return cls(**given(params, "orthogonal_", cls.__dataclass_fields__))


def undefined(evidence: str, error: NotApplicable, **about: Any) -> dict[str, Any]:
    """Return the row of evidence that is not defined."""
    about = {"label": ALL, "feature": ALL, "batch": ALL} | about
    return {"evidence": evidence, **about, "status": "not_applicable", "reason": error.code, "explanation": str(error)}


def activity_rows(
    evidence: str, bulk: Pseudobulk, symbols: "np.ndarray", edges: "pd.DataFrame", settings: OrthogonalSettings
) -> list[dict[str, Any]]:
    """Return how batches agree on the activities of gene sets or regulators, and the most active ones, by label."""
    try:
        profiles = label_profiles(bulk, symbols, min_cells=settings.min_cells)
        scores = activities(profiles, edges)
    except NotApplicable as error:
        return [undefined(evidence, error)]
    rows = []
    for label, found in agreement_between_batches(scores).items():
        about = {"evidence": evidence, "label": label, "batch": ALL, "status": "ok"}
        if isinstance(found, NotApplicable):
            rows.append(undefined(evidence, found, label=label))
        else:
            values = sorted(found.by_pair.values())
            middle = float(values[len(values) // 2] + values[(len(values) - 1) // 2]) / 2
            agreed = {"agrees": middle >= settings.agreement, "threshold": settings.agreement}
            span = {"value": middle, "low": values[0], "high": values[-1], "n": found.n_sets}
            rows.append({**about, "feature": ALL, "measure": "spearman", **span, **agreed})
        part = scores.xs(label, level="label")
        for name in part.mean().sort_values(ascending=False, kind="stable").index[:_TOP]:
            span = {"value": part[name].mean(), "low": part[name].min(), "high": part[name].max(), "n": len(part)}
            rows.append({**about, "feature": name, "measure": "activity", **span})
    return rows


def modality_rows(cells: "pd.DataFrame", settings: OrthogonalSettings) -> list[dict[str, Any]]:
    """Return how well every column of the second modality tells labels apart, by batch and over batches."""
    rows = []
    for column in _carried(cells, "modality"):
        feature = column.split(":", 1)[1]
        found = label_auroc(cells[column], cells["label"], cells["batch"], min_cells=settings.min_cells)
        if found.empty:
            few = NotApplicable(f"No label has {settings.min_cells} cells in a batch with others.", "few_cells")
            rows.append(undefined("modality", few, feature=feature))
        about = {"evidence": "modality", "feature": feature, "measure": "auroc", "status": "ok"}
        for label, part in found.groupby("label", sort=True):
            for r in part.itertuples():
                rows.append({**about, "label": label, "batch": r.batch, "value": r.auroc, "n": r.n_cells})
            low, high = float(part["auroc"].min()), float(part["auroc"].max())
            span = {"value": float(part["auroc"].median()), "low": low, "high": high, "n": len(part)}
            same = bool(low > 0.5 or high < 0.5) if len(part) > 1 else None
            rows.append({**about, "label": label, "batch": ALL, **span, "threshold": 0.5, "agrees": same})
    return rows


def clinical_rows(
    cells: "pd.DataFrame", clusters: Mapping[str, "pd.Series"], settings: OrthogonalSettings
) -> list[dict[str, Any]]:
    """Return which clinical fields go with the parts of a label that an embedding keeps apart.

    Parameters
    ----------
    cells
        Indexed by cell id: ``label``, ``sample``, ``clinical:<key>``, and ``donor`` where donors are declared.
    clusters
        ``{embedding: cluster of every cell}``, indexed by cell id.
    settings
        Parameters.
    """
    rows = []
    for embedding, cluster in clusters.items():
        known = cells.loc[cluster.index].dropna(subset=["label", "sample"])
        found = cluster.loc[known.index]
        parts = parts_of_labels(found.to_numpy(), known["label"].to_numpy(dtype=object), min_cells=settings.min_cells)
        for label, its in parts.items():
            inside = known[(known["label"] == label) & found.isin(its)]
            about = {"label": label, "of_embedding": embedding}
            rows += [_clinical_row(inside, found, column, about) for column in _carried(cells, "clinical")]
    return _judged(rows, settings)


def _clinical_row(cells: "pd.DataFrame", cluster: "pd.Series", column: str, about: dict[str, str]) -> dict[str, Any]:
    """Return the row of one field: how it is related to the parts of a label that its subjects are in."""
    about = {**about, "feature": column.split(":", 1)[1]}
    known = cells.dropna(subset=[column])
    try:
        if known[["sample", column]].drop_duplicates()["sample"].duplicated().any():
            raise NotApplicable("The field differs between cells of one sample.", "varies_in_sample")
        subject = subjects(known, column)
        found = associate(sample_parts(cluster.loc[known.index], subject), known[column].groupby(subject).first())
    except NotApplicable as error:
        return undefined("clinical", error, **about)
    shown = {"measure": found.measure, "value": found.value, "p_value": found.p_value, "n": found.n_samples}
    return {"evidence": "clinical", "batch": ALL, **about, **shown, "status": "ok"}


def _judged(rows: list[dict[str, Any]], settings: OrthogonalSettings) -> list[dict[str, Any]]:
    """Return the rows with q values over all tested fields, and whether a field explains the parts of the label.

    Text does where Theil's U is large *and* larger than by chance: with a part for every donor it is 1 of any field.
    """
    from scipy.stats import false_discovery_control

    tested = [r for r in rows if r.get("p_value") is not None]
    for row, q in zip(tested, false_discovery_control([r["p_value"] for r in tested]) if tested else [], strict=True):
        is_text = row["measure"] == "theils_u"
        row |= {"q_value": float(q), "threshold": settings.association if is_text else settings.fdr}
        row["agrees"] = bool(q < settings.fdr) and (not is_text or bool(row["value"] >= settings.association))
    return rows


def _carried(cells: "pd.DataFrame", name: str) -> list[str]:
    """Return the columns of the obs table that hold the fields of a kind."""
    return [column for column in cells.columns if name in CARRIED and column.startswith(f"{name}:")]
