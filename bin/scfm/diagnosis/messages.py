"""W-CL: red flags of clusters. W-MRK-01: markers lost. W-RARE-01: rare labels lost."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

from scfm.diagnosis.clusters import EVIDENCE
from scfm.diagnosis.residual_messages import TITLES
from scfm.diagnosis.settings import DiagnosisSettings
from scfm.registries.messages import message

if TYPE_CHECKING:
    import pandas as pd

_GENES = 5
#: flag of a cluster -> its message and the threshold behind it
_DONORS = {
    "single_donor": ("W-CL-01", "single_donor"),
    "donor_dominated": ("W-CL-01", "donor_dominated"),
    "few_donors": ("W-CL-01/few_donors", "donor_entropy"),
}
_HINTS = {
    "unexplained": "many genes of its own, as tumour cells or a donor's own state have",
    "few_genes": "hardly a gene of its own, so that the embedding may have made it",
}


def cluster_messages(
    table: "pd.DataFrame", settings: DiagnosisSettings, about: dict[str, Any], *, corrected: bool
) -> list[dict[str, Any]]:
    """Return the messages about the clusters of one embedding: W-CL-01 one donor, W-CL-02 mixed, W-CL-03 one batch.

    Parameters
    ----------
    table
        That of :func:`scfm.diagnosis.clusters.cluster_rows`.
    settings
        Thresholds.
    about
        ``dataset, method, embedding, seed`` of the messages.
    corrected
        Whether anything was corrected. Without it, labels that share a cluster are no sign of over-correction: W-CL-02
        is left out, the flag stays in the table.
    """
    found = []
    for row in table[table["flags"] != ""].itertuples():
        flags = row.flags.split(",")
        values = {"cluster": row.cluster, "n_cells": int(row.n_cells), "label": row.label}
        for flag, (code, limit) in _DONORS.items():
            if flag in flags:
                share, expected = float(row.donor_share), float(row.donor_share_of_label)
                values |= {"donor": row.donor, "share": share, "expected": expected, "q_value": float(row.q_value)}
                values |= {"entropy": float(row.donor_entropy)} if flag == "few_donors" else {}
                parts = {"hint": _hint(row), "evidence": _evidence(row, settings)}
                found.append(message(code, **about, values=values, threshold=getattr(settings, limit), **parts))
        if "batch_island" in flags:
            values |= {"batch": row.batch, "share": float(row.batch_share), "of_label": float(row.batch_share_of_label)}
            found.append(message("W-CL-03", **about, values=values, threshold=settings.island, hint=_hint(row)))
        if "rainbow" in flags and corrected:
            found.append(_mixed(row, settings, about, values))
    return found


def _mixed(row: Any, settings: DiagnosisSettings, about: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return W-CL-02 of a cluster that mixes labels, or whose label is one and whose tissues are mixed."""
    entropy, before = float(row.tissue_entropy), float(row.tissue_entropy_before)
    if row.label_share >= settings.purity:
        values = values | {"entropy": entropy, "entropy_before": before}
        return message("W-CL-02/tissues", **about, values=values, threshold=settings.tissue_entropy)
    tissues = ""
    if entropy > settings.tissue_entropy:
        tissues = (
            f" Its tissues are mixed (entropy {entropy:.2f}, limit {settings.tissue_entropy:g}; {before:.2f} before"
            " correction)."
        )
    values = values | {"purity": float(row.label_share)}
    return message("W-CL-02", **about, values=values, threshold=settings.purity, tissues=tissues)


def _evidence(row: Any, settings: DiagnosisSettings) -> str:
    """Return the scores that tell an artefact from cells of a patient's own, as a clause."""
    shown = []
    for cause in EVIDENCE:
        value = float(getattr(row, cause))
        if isnan(value):
            shown.append(f"{TITLES[cause]} not measurable")
        else:
            shown.append(f"{TITLES[cause]} r {value:.2f}" if cause == "ambient" else f"{TITLES[cause]} {value:+.1f} sd")
    return f"{', '.join(shown)} (limits {settings.effect:g} sd and r {settings.ambient:g})"


def _hint(row: Any) -> str:
    """Return what tells a cluster from the other cells of its label."""
    words = _HINTS.get(row.hint) or f"{TITLES[row.hint]} differs most"
    genes = [g for g in row.top_genes.split(",") if g][:_GENES]
    return words + (f" ({', '.join(genes)})" if genes else "")


def marker_messages(table: "pd.DataFrame", settings: DiagnosisSettings, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return W-MRK-01 of every label whose markers got less specific, or that has no cluster left.

    Parameters
    ----------
    table
        That of :func:`scfm.diagnosis.markers.marker_rows`.
    settings, about
        As in :func:`cluster_messages`.
    """
    found = []
    for row in table[table["flags"] != ""].itertuples():
        values = {"label": row.label, "before": float(row.auroc_before), "after": float(row.auroc_after)}
        if "no_cluster" in row.flags:
            found.append(message("W-MRK-01/no_cluster", **about, values=values))
            continue
        parts = []
        if "auroc" in row.flags:
            parts.append(
                f"AUROC {row.auroc_before:.2f} to {row.auroc_after:.2f} (largest fall allowed {settings.marker_drop:g})"
            )
        if "tau" in row.flags:
            parts.append(f"tau {row.tau_before:.2f} to {row.tau_after:.2f} (allowed {settings.tau_drop:g})")
        genes = ", ".join(row.markers.split(",")[:_GENES])
        limit = settings.marker_drop
        found.append(message("W-MRK-01", **about, values=values, threshold=limit, falls="; ".join(parts), genes=genes))
    return found


def rare_messages(table: "pd.DataFrame", settings: DiagnosisSettings, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return W-RARE-01 of every rare label that is lost, and W-RARE-02 of every one that not all seeds find.

    Parameters
    ----------
    table
        That of :meth:`scfm.diagnosis.rare.RareFinder.rows`.
    settings, about
        As in :func:`cluster_messages`.
    """
    found = []
    for row in table[table["flags"] != ""].itertuples():
        values = {"label": row.label, "n_cells": int(row.n_cells), "share": float(row.share)}
        if "lost" in row.flags:
            lost = {"before": float(row.best_f1_before), "after": float(row.best_f1_after)}
            lost |= {"purity_before": float(row.purity_before), "purity_after": float(row.purity_after)}
            limits = {"limit": settings.rare_f1, "threshold": settings.rare_drop}
            held_out = ""
            if not isnan(row.held_out_recall_before):  # where another batch has the label
                held_out = (
                    f", share recognised from other batches {row.held_out_recall_before:.2f} to"
                    f" {row.held_out_recall_after:.2f}"
                )
            found.append(message("W-RARE-01", **about, values=values | lost, held_out=held_out, **limits))
        if "unstable" in row.flags:
            spread = {"n_seeds": int(row.n_seeds), "low": float(row.best_f1_low), "high": float(row.best_f1_high)}
            found.append(message("W-RARE-02", **about, values=values | spread, threshold=settings.rare_drop))
    return found
