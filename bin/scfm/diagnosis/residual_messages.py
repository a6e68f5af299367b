"""W-RES-01: a label in which batches are still apart, and why. W-RES-02: what that means for its condition genes."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

from scfm.diagnosis.causes import DOUBLET, KINDS
from scfm.diagnosis.programmes import PROGRAMMES
from scfm.diagnosis.settings import DiagnosisSettings
from scfm.registries.messages import message
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

#: cause -> its name in a sentence
TITLES = {
    "depth": "sequencing depth",
    "early_response": "early response or dissociation",
    "interferon": "interferon response",
    "ribosomal": "ribosomal genes",
    "mitochondrial": "mitochondrial genes",
    "cell_cycle": "cell cycle",
    "hypoxia_stress": "hypoxia or stress",
    "sex": "genes of the sex chromosomes",
    "ambient": "ambient RNA",
    DOUBLET: "doublet score",
}
#: kind of a cause -> message
_CASES = {
    "state": "W-RES-01/state",
    "technical": "W-RES-01/technical",
    "donor": "W-RES-01/donor",
    "unexplained": "W-RES-01/unexplained",
    "few_genes": "W-RES-01/few_genes",
}
_LEVELS = {
    "cells": " Cells are the unit of this test, so it is about these donors only.",
    "within_donors": " Cells are compared inside donors that are in both batches.",
    "donors": " Donors are the unit of this test.",
}
_GENES = 5


def residual_messages(
    table: "pd.DataFrame", settings: DiagnosisSettings, about: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the messages of one embedding.

    Parameters
    ----------
    table
        That of :func:`scfm.diagnosis.residual.residual_rows`.
    settings
        Thresholds.
    about
        ``dataset, method, embedding, seed`` of the messages.

    Returns
    -------
    W-RES-01 of every label that is flagged and has a significant pair of batches, strongest first; W-RES-02 where its
    condition genes are also genes of the batch.
    """
    labels = table[(table["batch_a"] == "all") & (table["batch_b"] == "all")].set_index("label")
    pairs = table[table["significant"].fillna(value=False).astype(bool)]
    found = []
    for label, row in labels[labels["flags"] != ""].sort_values("auroc", ascending=False).iterrows():
        mine = pairs[pairs["label"] == label].sort_values(["q_value", "auroc"], ascending=[True, False])
        if len(mine):
            others = labels["auroc"].drop(label).astype(float).median()
            n_tested = int(((table["label"] == label) & table["significant"].notna()).sum())
            found.append(_residual(row, mine, settings, about, others=others, n_tested=n_tested))
    for label, row in labels.iterrows():
        if row["shared_genes"] > settings.shared_genes:  # false where it is NaN
            found.append(
                message(
                    "W-RES-02",
                    **about,
                    values={"label": label, "share": float(row["shared_genes"])},
                    threshold=settings.shared_genes,
                )
            )
    return found


def _residual(
    row: "pd.Series",
    pairs: "pd.DataFrame",
    settings: DiagnosisSettings,
    about: dict[str, Any],
    *,
    others: float,
    n_tested: int,
) -> dict[str, Any]:
    """Return W-RES-01 of one label, from its row, its significant pairs, and the median AUROC of the other labels."""
    first = pairs.iloc[0]
    causes = [c for c in first["causes"].split(",") if c]
    genes = [g for g in str(first["top_genes"]).split(",") if g][:_GENES]
    median = "" if isnan(others) else f", median of the other labels {others:.2f}"
    mixing = f" CiLISI is {row['cilisi']:.2f} (limit {settings.cilisi})." if not isnan(row["cilisi"]) else ""
    across = (
        " The two batches have no condition in common, so the difference may be that of their conditions."
        if first["within_condition"] is False
        else ""
    )
    return message(
        _CASES[KINDS[first["cause"]]],
        **about,
        label=str(row.name),
        median=median,
        mixing=mixing,
        pairs=f"{len(pairs)} of {plural(n_tested, 'pair')} of its batches",
        pair=f"{first['batch_a']} and {first['batch_b']} (AUROC {first['auroc']:.2f}, q {first['q_value']:.2g})",
        genes=plural(int(first["n_genes"]), "gene differs", "genes differ")
        + (f" ({', '.join(genes)}; + is higher in {first['batch_b']})" if genes else ""),
        causes_text=_cause_text(first, causes, settings),
        level=_LEVELS[first["level"]] + across,
        values={
            "label": str(row.name),
            "auroc": float(row["auroc"]),
            "batch_a": first["batch_a"],
            "batch_b": first["batch_b"],
            "cause": first["cause"],
            "causes": {c: float(first[c]) for c in causes},
            "flags": row["flags"],
        },
        threshold=settings.auroc,
    )


def _cause_text(pair: "pd.Series", causes: list[str], settings: DiagnosisSettings) -> str:
    """Return what was measured of a pair, as a sentence."""
    if not causes:
        unknown = [TITLES[c] for c in (*PROGRAMMES, "ambient") if isnan(pair[c])]
        rest = f" (not measurable: {', '.join(unknown)})" if unknown else ""
        return f" No programme differs by {settings.effect:g} standard deviations{rest}."
    shown = [f"{TITLES[c]} (r {pair[c]:.2f})" if c == "ambient" else f"{TITLES[c]} ({pair[c]:+.1f} sd)" for c in causes]
    limit = f"limits {settings.effect:g} sd and r {settings.ambient:g}"
    return f" What differs: {', '.join(shown)} ({limit}; + is higher in {pair['batch_b']})."
