"""The first screen: what went wrong, and the answer in words."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from scfm.inputs.keys import primary_pair
from scfm.report.page.html import esc
from scfm.report.page.mqc import Section
from scfm.report.page.style import CSS
from scfm.report.sections.verdict import role_of, verdict
from scfm.report.view.summary import summarise
from scfm.text import plural

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData

_WORDS = {"error": "error", "warning": "warning", "info": "note"}
#: characters of a message that are shown before it is unfolded
_LINE = 250


def overview(data: "ReportData") -> list[Section]:
    """Return the sections of the first screen."""
    answer = "".join(dataset_answer(data, name) for name in data.dataset_names())
    return [
        Section("messages", "Messages", "html", f"<style>{CSS}</style>{messages_html(data.messages, data)}"),
        Section("answer", "The answer in short", "html", answer),
    ]


def describe_run(data: "ReportData") -> str:
    """Return what was run, in one line."""
    methods = data.plan.loc[~data.plan["is_control"], "method"].nunique()
    return (
        f"{plural(len(data.plan), 'embedding')} by {plural(methods, 'method')} and"
        f" {plural(len(data.names.controls), 'control')} on {plural(len(data.dataset_names()), 'data set')}; metrics"
        f" profile {esc(data.params.get('metrics_profile', 'standard'))}."
    )


def verdict_line(data: "ReportData") -> str:
    """Return one sentence on whether everything that was planned is there."""
    planned, failed = len(data.plan), data.status[data.status["status"] == "failed"]
    idle = int((data.plan["status"] == "not_applicable").sum())
    if failed.empty and idle:
        return (
            f"All {plural(planned - idle, 'embedding')} that can be made gave their results; {idle} more can't be made"
            " here, for the reasons in the messages below."
        )
    if failed.empty:
        return f"All {plural(planned, 'planned embedding')} gave their results."
    broken = failed.drop_duplicates(["dataset", "embedding"])
    titles = sorted({f"{data.names.method(r.method, r.correction)} ({r.dataset})" for r in broken.itertuples()})
    return (
        f"{len(broken)} of {plural(planned, 'planned embedding')} lack results: {', '.join(titles)}."
        " The reason stands in the messages below; what is shown is complete for all others."
    )


def messages_html(messages: list[dict[str, Any]], data: "ReportData") -> str:
    """Return the verdict and the messages: one folded line per code, warnings and notes behind one line more."""
    lines: dict[str, list[str]] = {severity: [] for severity in _WORDS}
    for (severity, code), group in groupby(messages, key=lambda m: (m["severity"], m["code"])):
        lines[severity].append(_group_line(severity, code, list(group), data))
    counts = {s: sum(m["severity"] == s for m in messages) for s in _WORDS}
    quiet = [plural(counts[s], _WORDS[s]) for s in ("warning", "info") if counts[s]]
    rest = "".join(lines["warning"] + lines["info"])
    folded = (
        f"<details class='scfm-{'warning' if counts['warning'] else 'info'}'><summary><b>{' and '.join(quiet)}</b>"
        " <span"
        " class='scfm-muted'>("
        f"{esc(', '.join(dict.fromkeys(m['code'] for m in messages if m['severity'] != 'error')))}):"
        f" what may mislead you; click to read</span></summary>{rest}</details>"
        if quiet
        else "<p class='scfm-muted'>No warnings.</p>"
    )
    state = "error" if data.verdict["n_failed"] else "good"
    return (
        "<div class='scfm-messages'><div class='scfm-line"
        f" scfm-{state}'><b>{esc(verdict_line(data))}</b></div>{''.join(lines['error'])}{folded}</div>"
    )


def _group_line(severity: str, code: str, entries: list[dict[str, Any]], data: "ReportData") -> str:
    """Return the messages of one code: a line that unfolds to the whole sentences."""
    badge = f"<span class='scfm-badge'>{esc(code)}</span>"
    if len(entries) == 1:
        text = _words(entries[0])
        if len(text) <= _LINE:
            return f"<div class='scfm-line scfm-{severity}'>{badge}{_message(entries[0])}</div>"
        where = f"<b>{esc(entries[0]['dataset'])}</b>: " if entries[0]["dataset"] else ""
        short, rest = _split(text)
        return (
            f"<details class='scfm-{severity}'><summary>{badge}{where}{esc(short)} …</summary><p>…"
            f" {esc(rest)}</p></details>"
        )
    about = sorted({data.names.method(m["method"]) if m["method"] else m["dataset"] or "the run" for m in entries})
    shown = ", ".join(about[:6]) + (f" and {len(about) - 6} more" if len(about) > 6 else "")
    return (
        f"<details class='scfm-{severity}'><summary>{badge}<b>{len(entries)} {_WORDS[severity]}s</b> about"
        f" {esc(shown)}. <span class='scfm-muted'>First: {esc(_split(_words(entries[0]))[0])}"
        f" …</span></summary><ul>{''.join(f'<li>{_message(m)}</li>' for m in entries)}</ul></details>"
    )


def _message(entry: dict[str, Any]) -> str:
    where = f"<b>{esc(entry['dataset'])}</b>: " if entry["dataset"] else ""
    return f"{where}{esc(_words(entry))}"


def _words(entry: dict[str, Any]) -> str:
    """Return the text of a message and what to do."""
    return f"{entry['text']} {entry['advice']}".rstrip()


def _split(text: str) -> tuple[str, str]:
    """Return the part of a text that fits on a line, and the rest."""
    if len(text) <= _LINE:
        return text, ""
    short = text[:_LINE].rsplit(" ", 1)[0]
    return short, text[len(short) :].strip()


def dataset_answer(data: "ReportData", dataset: str) -> str:
    """Return one box: size of the data set, who stands where, and how to read it."""
    table = summarise(data, dataset)
    items = "".join(f"<li>{p}</li>" for p in verdict(data, dataset, table) if p)
    return (
        f"<div class='scfm-answer'><h4>{esc(dataset)}</h4><span"
        f" class='scfm-muted'>{describe_size(data, dataset)}</span><ul>{items}</ul></div>"
    )


def describe_size(data: "ReportData", dataset: str) -> str:
    """Return cells, genes, batches and labels of a data set in one line."""
    facts, row = data.facts(dataset), data.row(dataset)
    if not facts:
        return "Its preparation left no result, so there is nothing to show."
    batch_key, label_key = primary_pair(row)
    batches, labels = facts.get("batches", {}), facts.get("labels", {})
    dropped = sum(
        n for reason, n in facts.get("dropped", {}).items() if reason not in {"rare_genes", "unshared_genes"}
    )  # these two count genes
    parts = [
        plural(facts.get("n_cells", 0), "cell"),
        plural(facts.get("n_genes", 0), "gene"),
        (f"{plural(len(batches), 'batch', 'batches')} by {esc(batch_key)} ({_role(data, dataset)})"),
        f"{plural(len(labels), 'label')} by {esc(label_key)}",
    ]
    if dropped:
        parts.append(f"{plural(dropped, 'cell')} dropped from scoring")
    return ", ".join(parts) + "."


def _role(data: "ReportData", dataset: str) -> str:
    """Return the role of the batches in words."""
    role = role_of(data, dataset)
    return f"declared {esc(role)}" if role else "role not declared"
