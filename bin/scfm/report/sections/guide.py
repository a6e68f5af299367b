"""How to read the numbers, and what was done, with the references of what ran and of nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from scfm.report.page.mqc import Section
from scfm.report.page.templates import render
from scfm.report.tables.totals import Limits
from scfm.text import split_list

if TYPE_CHECKING:
    from collections.abc import Callable

    from scfm.report.view.data import ReportData

    Cite = Callable[..., str]

_HVG = {"cell_ranger": "cell_ranger", "seurat_v3": "seurat_v3", "pearson_residuals": "Pearson residuals"}


def guide_sections(data: "ReportData") -> list[Section]:
    """Return the metric guide."""
    return [metric_guide(data)]


def methods_sections(data: "ReportData") -> list[Section]:
    """Return the text for a methods section."""
    return [methods_text(data)]


def metric_guide(data: "ReportData") -> Section:
    """Return, for every metric that was computed: direction, range, definition and limitations."""
    used = set(data.scores["metric"])
    metrics = [
        {**m, "references": _links(m["reference"], data.citations)}
        for m in data.metrics[data.metrics["name"].isin(used)].to_dict("records")
    ]
    return Section(
        "guide",
        "What each metric measures, and its limitations",
        "html",
        render("guide.html.j2", metrics=metrics),
        description="No single metric is proof. Where two batch metrics disagree, the messages say so.",
    )


def methods_text(data: "ReportData") -> Section:
    """Return a text for a methods section, and the references it cites."""
    cited: dict[str, int] = {}

    def cite(*dois: str) -> str:
        marks = [str(cited.setdefault(d, len(cited) + 1)) for d in dois if d]
        return f" [{', '.join(marks)}]" if marks else ""

    used_by = data.citation_uses
    sentences = [
        "The data were evaluated with scfmbench"
        + _version(data)
        + f", a Nextflow pipeline in the layout of nf-core, reported with MultiQC{cite(*used_by.get('pipeline', []))}.",
        _preparation(data, cite),
        _embeddings(data, cite),
        _corrections(data, cite),
        _metrics(data, cite),
        _probing(data),
        _expression(data, cite),
        _mapping(data, cite),
    ]
    if (data.status[data.status["step"] == "umap"]["status"] == "ok").any():
        sentences.append(
            f"UMAPs were drawn from the same neighbours, for looking only{cite(*used_by.get('umap', []))}."
        )
    references = [(doi, data.citations.get(doi, "")) for doi in cited]
    return Section(
        "methods",
        "Text for a methods section",
        "html",
        render("methods.html.j2", text=" ".join(s for s in sentences if s), references=references),
        description="Only what ran in this run is described and cited; adapt it before use.",
    )


def _version(data: "ReportData") -> str:
    version = (data.versions.get("Workflow") or {}).get("scfmbench")
    return f" {version}" if version else ""


def _preparation(data: "ReportData", cite: "Cite") -> str:
    if not any(data.facts(name) for name in data.dataset_names()):
        return ""  # no data set was prepared
    flavor, asked = data.params.get("hvg_flavor", "cell_ranger"), int(data.params.get("n_hvg", 2000))
    fewer = any(data.facts(name).get("n_hvg", asked) < asked for name in data.dataset_names())
    return (
        f"Counts were scaled to 10,000 per cell and log-transformed; {'up to ' if fewer else ''}{asked} variable"
        " genes were chosen per batch"
        f" ({_HVG.get(flavor, flavor)}){cite(*data.citation_uses.get('hvg_' + flavor, []))}, and"
        f" {data.params.get('n_pcs', 50)} principal components were computed from them."
    )


def _embeddings(data: "ReportData", cite: "Cite") -> str:
    """Name the methods that gave at least one embedding, controls apart, and imported embeddings."""
    made = data.status[(data.status["step"] == "embed") & (data.status["status"] == "ok")]
    references = dict(zip(data.methods["name"], data.methods["reference"], strict=True))
    groups: dict[str, list[str]] = {"compared": [], "imported": [], "controls": []}
    for method, rows in made.groupby("method", sort=True):
        kind = (
            "controls"
            if rows["is_control"].iloc[0]
            else "imported"
            if rows["family"].iloc[0] == "imported"
            else "compared"
        )
        groups[kind].append(data.names.methods.get(method, method) + cite(*split_list(references.get(method, ""))))
    text = f"Embeddings compared: {_series(groups['compared'])}." if groups["compared"] else ""
    if groups["imported"]:
        text += f" Embeddings brought by the user: {_series(groups['imported'])}."
    if groups["controls"]:
        text += f" Controls that mark the ends of the scales: {_series(groups['controls'])}."
    seeds = made[made.groupby(["dataset", "method", "correction"])["seed"].transform("nunique") > 1]["seed"].nunique()
    if seeds > 1:
        text += f" Stochastic methods were run with {seeds} seeds."
    return text.strip()


def _corrections(data: "ReportData", cite: "Cite") -> str:
    corrections = [v for v in sorted(data.plan["correction"].unique()) if v != "raw"]
    if not corrections:
        return ""
    rows = [data.corrections[name] for name in corrections]
    parts = [f"{row.name}: {row.description}{cite(row.reference)}" for row in rows]
    return f"Embeddings were also corrected ({'; '.join(parts)})."


def _metrics(data: "ReportData", cite: "Cite") -> str:
    used = data.metrics[data.metrics["name"].isin(data.scores.loc[data.scores["status"] == "ok", "metric"])]
    if used.empty:
        return ""
    k = data.params.get("neighbors_k", 90)
    parts = []
    for group, words in (("bio", "Bio conservation"), ("batch", "Removal of batch effects")):
        rows = used[used["group"] == group]
        if len(rows):
            named = [t + cite(*split_list(r)) for t, r in zip(rows["title"], rows["reference"], strict=True)]
            parts.append(f"{words} was measured by {_series(named)}.")
    weights = [f"{weight:g}" for weight in Limits.of(data.params).bio_weights]
    parts.append(
        f"All metrics of neighbours share one Euclidean search (k = {k}, the cell itself counted). Totals weigh bio"
        f" conservation by {_series(weights)}."
    )
    return " ".join(parts)


def _probing(data: "ReportData") -> str:
    if data.probing.empty or not (data.probing["status"] == "ok").any():
        return ""
    known = data.probing[data.probing["status"] == "ok"]
    held_out = " and with each batch held out in turn" if (known["scheme"] == "leave_one_batch_out").any() else ""
    return (
        "Labels and batches were predicted from each embedding by logistic regression (features standardised on the"
        f" training part) and by nearest neighbours, in stratified folds shared by all embeddings{held_out}, beside two"
        " baselines (largest class, permuted targets)."
    )


def _expression(data: "ReportData", cite: "Cite") -> str:
    """Name what compared conditions, scored sets of genes and looked for doublets with packages of others."""
    de, evidence, clusters = (data.tables[name] for name in ("de", "orthogonal", "clusters"))
    uses, parts = data.citation_uses, []
    if ((de["analysis"] == "pseudobulk") & (de["status"] == "ok")).any():
        parts.append(
            "Conditions were compared inside labels on counts summed per replicate, by the negative binomial model of"
            f" DESeq2 in PyDESeq2{cite(*uses.get('de_pseudobulk', []))}."
        )
    if (evidence["evidence"].isin(["gene_sets", "regulators"]) & (evidence["status"] == "ok")).any():
        parts.append(f"Activities of sets of genes were computed with decoupler{cite(*uses.get('activities', []))}.")
    if clusters["doublet"].notna().any():
        parts.append(f"Clusters with a red flag have Scrublet's doublet score{cite(*uses.get('doublets', []))}.")
    return " ".join(parts)


def _mapping(data: "ReportData", cite: "Cite") -> str:
    """Name the mappings that placed new cells in a reference."""
    done = data.query[(data.query["quantity"] == "out_of_reference") & (data.query["status"] == "ok")]
    if done.empty:
        return ""
    uses = data.citation_uses
    of_mapping = {"harmony": "mapping_harmony", "scvi": "mapping_trained", "scanvi": "mapping_trained"}
    names = [name + cite(*uses.get(of_mapping.get(name, ""), [])) for name in sorted(set(done["mapping"]))]
    return (
        f"New cells were placed among those of a reference (mappings {_series(names)}), which stayed where they were,"
        f" and given the label that most of their {data.params.get('query_k', 15)} nearest reference cells have."
    )


def _series(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def _links(reference: str, citations: dict[str, str]) -> list[dict[str, str]]:
    """Return DOI, citation and a short name (author and year where the citation is known) of a comma list of DOIs."""
    links = []
    for doi in split_list(reference):
        citation = citations.get(doi, "")
        year = re.search(r"\((\d{4})\)", citation)
        name = f"{re.split(r'[ ,]', citation)[0]} {year[1]}" if year else f"doi:{doi}"
        links.append({"doi": doi, "citation": citation, "name": name})
    return links
