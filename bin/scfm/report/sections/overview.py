"""The first screen: what can be said about each data set, and what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from scfm.inputs.keys import primary_pair
from scfm.report.page.mqc import Section
from scfm.report.page.templates import render
from scfm.report.sections.design import confounding_sentences
from scfm.report.sections.verdict import BIOLOGICAL, candidates, role_of, tied, tolerance_of, verdict
from scfm.report.tables.totals import Limits
from scfm.report.view.probes import batch_probes
from scfm.report.view.rows import weakest_labels
from scfm.report.view.summary import summarise
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: messages about the design of a data set
_DESIGN = ("E-CONF", "W-DES", "W-CONF", "W-BAL", "W-BATCH")
_ROLES = {
    "technical": "declared technical",
    "biological": "declared biological",
    "mixed": "declared mixed: no score can tell which part of a removed difference was technical",
    "": "role not declared: whether a high batch score is good depends on what the batches are (batch_role)",
}
#: what is counted beside the dropped cells: genes, and cells that a pilot was not asked to have
_NOT_DROPPED = {"rare_genes", "unshared_genes", "not_in_pilot"}
#: embeddings of the shortlist whose failures are listed, design problems that are shown
_SHOWN = 3


def verdict_sections(data: "ReportData") -> list[Section]:
    """Return the first screen: one box per data set."""
    boxes = [data_set_box(data, name) for name in data.dataset_names()]
    html = render(
        "verdict.html.j2",
        run=describe_run(data),
        state=verdict_line(data),
        failed=data.verdict["n_failed"],
        boxes=boxes,
    )
    return [Section("verdict", "What to take from this run", "html", html)]


def describe_run(data: "ReportData") -> str:
    """Return what was run, in one line."""
    if data.plan.empty:
        return f"New cells of {plural(len(data.dataset_names()), 'data set')}, mapped to a reference."
    methods = data.plan.loc[~data.plan["is_control"], "method"].nunique()
    tried = len(data.status.drop_duplicates(["dataset", "embedding"])) - len(data.plan)
    sweep = f", and {plural(tried, 'embedding')} of a sweep" if tried > 0 else ""
    return (
        f"{plural(len(data.plan), 'embedding')} by {plural(methods, 'method')} and"
        f" {plural(len(data.names.controls), 'control')} on {plural(len(data.dataset_names()), 'data set')}{sweep};"
        f" metrics profile {data.params.get('metrics_profile', 'standard')}."
    )


def verdict_line(data: "ReportData") -> str:
    """Return one sentence on whether everything that was planned is there."""
    planned, failed = len(data.plan), data.status[data.status["status"] == "failed"]
    if not planned:
        return verdict_of_mapping(data)
    idle = int((data.plan["status"] == "not_applicable").sum())
    of_datasets = data.verdict["n_failed"] - len(failed)
    steps = (
        f" {plural(of_datasets, 'step')} about a whole data set failed: see the messages." if of_datasets > 0 else ""
    )
    if failed.empty and idle:
        return (
            f"All {plural(planned - idle, 'embedding')} that can be made gave their results; {idle} more can't be made"
            f" here, for the reasons below.{steps}"
        )
    if failed.empty:
        return f"All {plural(planned, 'planned embedding')} gave their results.{steps}"
    broken, everything = (t.drop_duplicates(["dataset", "embedding"]) for t in (failed, data.status))  # with a sweep
    titles = sorted({f"{data.names.method(r.method, r.correction)} ({r.dataset})" for r in broken.itertuples()})
    more = f", {idle} more can't be made here" if idle else ""
    return (
        f"{len(broken)} of {plural(len(everything), 'planned embedding')} lack results: {', '.join(titles)}. The"
        f" reasons are below; what follows from them is missing too{more}, and all others are complete.{steps}"
    )


def verdict_of_mapping(data: "ReportData") -> str:
    """Return one sentence on whether the new cells of every data set were mapped."""
    names = data.dataset_names()
    lost = [name for name in names if data.of("query", name).empty]
    if not lost:
        return "The new cells of every data set were mapped."
    return (
        f"{len(lost)} of {plural(len(names), 'data set')} could not be mapped: {', '.join(lost)}. The reasons are"
        " among the messages."
    )


def data_set_box(data: "ReportData", dataset: str) -> dict[str, Any]:
    """Return what the box of a data set shows: size, batch, shortlist, where it fails, and what failed."""
    table = summarise(data, dataset)
    is_mapped = bool(data.row(dataset).get("reference"))  # no embedding of it was planned
    said = [] if is_mapped else [Markup(sentence) for sentence in verdict(data, dataset, table)]
    role = role_of(data, dataset)
    first = 2 if role == BIOLOGICAL else 1
    return {
        "name": dataset,
        "size": describe_size(data, dataset),
        "batch": primary_pair(data.row(dataset))[0] if data.facts(dataset) else "",
        "role": _ROLES.get(role, f"declared {role}"),
        "design": design_problems(data, dataset)[:_SHOWN],
        "shortlist": Markup(" ").join(said[:first]),
        "more": said[first:],
        "fails": [] if role == BIOLOGICAL else where_it_fails(data, dataset, table),
        "lost": lost_embeddings(data, dataset, table),
        "idle": idle_embeddings(data, dataset),
    }


def describe_size(data: "ReportData", dataset: str) -> str:
    """Return cells, genes, batches and labels of a data set in one line."""
    facts, row = data.facts(dataset), data.row(dataset)
    if row.get("reference"):
        return f"{plural(row['n_cells'], 'new cell')} for the reference {row['reference']}."
    if not facts:
        return "Its preparation left no result, so there is nothing to show."
    batch_key, label_key = primary_pair(row)
    batches, labels = facts.get("batches", {}), facts.get("labels", {})
    dropped = sum(n for reason, n in facts.get("dropped", {}).items() if reason not in _NOT_DROPPED)
    parts = [
        plural(facts.get("n_cells", 0), "cell"),
        plural(facts.get("n_genes", 0), "gene"),
        f"{plural(len(batches), 'batch', 'batches')} by {batch_key}",
        f"{plural(len(labels), 'label')} by {label_key}",
    ]
    if dropped:
        parts.append(f"{plural(dropped, 'cell')} dropped from scoring")
    return ", ".join(parts) + "."


def design_problems(data: "ReportData", dataset: str) -> list[str]:
    """Return what the design of a data set makes undecidable, and its warnings about batches."""
    found = [
        e for e in data.facts(dataset).get("confounding") or [] if e["relation"] in {"one_to_one", "batch_in_column"}
    ]
    about = data.told(dataset, _DESIGN)
    errors = [m["text"] for m in about if m["severity"] == "error"]
    return [
        *errors,
        *confounding_sentences(found, primary_pair(data.row(dataset))[0]),
        *(m["text"] for m in about if m["severity"] == "warning"),
    ]


def where_it_fails(data: "ReportData", dataset: str, table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return, for the embeddings that can't be told from the highest total, the label whose batches mix worst and what
    a nearest-neighbour probe still finds of the batch.
    """
    rows = candidates(table).dropna(subset=["rank_total"])
    best = tied(rows["rank_total"], tolerance_of(rows, Limits.of(data.params), "total"))
    probes, weakest = batch_probes(data, dataset), weakest_labels(data, dataset)
    told = []
    for row in rows.loc[best.index[:_SHOWN]].to_dict("records"):
        key = (row["method"], row["correction"])
        label = weakest.get(key)
        told.append(
            {
                "title": row["title"],
                "label": label,
                "metric": data.names.metric(label.metric) if label else "",
                "probe": probes.get(key),
            }
        )
    return [t for t in told if t["label"] or t["probe"]]


def lost_embeddings(data: "ReportData", dataset: str, table: "pd.DataFrame") -> list[dict[str, str]]:
    """Return the failed embeddings with the first reason of each, and the incomplete ones with their share of cells."""
    failed = data.of("status", dataset).query("status == 'failed'").drop_duplicates(["method", "correction"])
    lost = [
        {"title": data.names.method(r.method, r.correction), "what": f"failed at {r.step}", "reason": str(r.reason)}
        for r in failed.itertuples()
    ]
    least = Limits.of(data.params).min_coverage
    for row in table[~table["is_control"] & (table["coverage"] < least)].to_dict("records"):
        share = f"{row['coverage']:.0%} of the scored cells; {least:.0%} are required to be ranked"
        lost.append({"title": row["title"], "what": "incomplete, not ranked", "reason": share})
    return lost


def idle_embeddings(data: "ReportData", dataset: str) -> list[dict[str, str]]:
    """Return the embeddings that can't be made here, with the reason."""
    rows = data.of("plan", dataset).query("status == 'not_applicable' and correction == 'raw'")
    rows = rows.drop_duplicates(["method"])
    return [{"title": data.names.method(r.method), "reason": str(r.reason)} for r in rows.itertuples()]
