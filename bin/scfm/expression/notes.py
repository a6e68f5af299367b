"""Messages of the comparison of conditions."""

from __future__ import annotations

from scfm.expression.compare import UNREPLICATED, Study
from scfm.expression.rows import PSEUDOBULK, RANKING, SCVI, SCVI_ALL_BATCHES, Result
from scfm.registries.messages import message


def messages_of(study: Study, results: list[Result], *, n_left_out: int) -> list[dict]:
    """Return what a reader must know of the results.

    Parameters
    ----------
    study, results
        What was compared, and what came out.
    n_left_out
        Cells without condition, label or replicate.
    """
    choice = study.choice
    told = []
    if any(r.analysis == PSEUDOBULK and r.genes is not None for r in results):
        told.append(
            message("I-DE-01", values={"design": choice.design, "relation": choice.relation}, reason=choice.reason)
        )
    if n_left_out:
        told.append(message("W-DE-05", values={"n_cells": n_left_out, "n_total": len(study.cells)}))
    return [
        *told,
        *zero_de(study, results),
        *unreplicated(study, results),
        *gene_subset(study),
        *loud_null(study, results),
    ]


def zero_de(study: Study, results: list[Result]) -> list[dict]:
    """W-DE-01: scVI finds next to nothing where the pseudobulk finds many genes of the model."""
    limits = study.settings
    bulk = {(r.label, r.level): r.row.get("n_significant_in_model") for r in results if r.analysis == PSEUDOBULK}
    told = []
    for analysis in (SCVI, SCVI_ALL_BATCHES):
        silent = {
            (r.label, r.level): (r.n_significant or 0, bulk[r.label, r.level])
            for r in results
            if r.analysis == analysis
            and r.genes is not None
            and (r.n_significant or 0) < limits.alarm_scvi
            and (bulk.get((r.label, r.level)) or 0) > limits.alarm_pseudobulk
        }
        if not silent:
            continue
        shown = [f"{n} genes against {m} in {label} ({level})" for (label, level), (n, m) in silent.items()]
        threshold = {"scvi": limits.alarm_scvi, "pseudobulk": limits.alarm_pseudobulk}
        values = {"labels": {f"{label} ({level})": list(n) for (label, level), n in silent.items()}}
        case = "W-DE-01" if analysis == SCVI_ALL_BATCHES else "W-DE-01/unexplained"
        parts = {"shown": "; ".join(shown), "few": limits.alarm_scvi, "many": limits.alarm_pseudobulk}
        told.append(message(case, method="scvi", values=values, threshold=threshold, **parts))
    return told


def unreplicated(study: Study, results: list[Result]) -> list[dict]:
    """W-DE-02: labels that have no replicates, so that genes are ranked and p values are withheld."""
    labels = sorted(
        {r.label for r in results if r.analysis == PSEUDOBULK and r.row["reason"] in UNREPLICATED}
        & {r.label for r in results if r.analysis == RANKING and r.genes is not None}
    )
    if not labels:
        return []
    return [message("W-DE-02", n_labels=len(labels), values={"labels": labels}, threshold=study.settings.min_samples)]


def gene_subset(study: Study) -> list[dict]:
    """W-DE-03: so few genes that they are a subset, from whose sums the depth of a sample can't be taken."""
    n, limit = len(study.expression.genes), study.settings.subset_genes
    return [message("W-DE-03", values={"n_genes": n}, threshold=limit)] if n < limit else []


def loud_null(study: Study, results: list[Result]) -> list[dict]:
    """W-DE-04: permuted conditions find more than a share of the tested genes."""
    loud = {
        f"{r.label} ({r.level})": r.facts["null_median"]
        for r in results
        if r.facts.get("null_median") is not None
        and r.genes is not None
        and r.facts["null_median"] > study.settings.max_null * len(r.genes)
    }
    if not loud:
        return []
    shown = [f"{name}: {n:.0f}" for name, n in loud.items()]
    return [message("W-DE-04", shown=shown, values={"labels": loud}, threshold=study.settings.max_null)]
