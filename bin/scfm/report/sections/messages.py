"""The messages of the run: errors first, warnings and notes folded, one line per code."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from scfm.report.page.links import file_of_message
from scfm.report.page.mqc import Section
from scfm.report.page.templates import render

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData

WORDS = {"error": "error", "warning": "warning", "info": "note"}
#: names that a line shows
_NAMED = 6


def message_sections(data: "ReportData") -> list[Section]:
    """Return every message of the run."""
    return [Section("messages", "Messages", "html", messages_html(data.messages, data))]


def messages_html(messages: list[dict[str, Any]], data: "ReportData") -> str:
    """Return the messages: one line per code that unfolds to the whole sentences, errors open and the rest folded."""
    groups = [
        _group(severity, code, list(entries), data)
        for (severity, code), entries in groupby(messages, key=lambda m: (m["severity"], m["code"]))
    ]
    quiet = [g for g in groups if g["severity"] != "error"]
    return render(
        "messages.html.j2",
        errors=[g for g in groups if g["severity"] == "error"],
        quiet=quiet,
        counts={w: sum(m["severity"] == s for m in messages) for s, w in WORDS.items()},
        codes=", ".join(dict.fromkeys(g["code"] for g in quiet)),
    )


def _group(severity: str, code: str, entries: list[dict[str, Any]], data: "ReportData") -> dict[str, Any]:
    """Return one code with its entries, and whom they are about."""
    about, file = sorted({_about(m, data) for m in entries}), file_of_message(code)
    return {
        "severity": severity,
        "code": code,
        "word": WORDS[severity],
        "entries": [
            {"where": _where(m, data), "text": m["text"], "advice": m["advice"], "file": file} for m in entries
        ],
        "about": ", ".join(about[:_NAMED]),
        "more": max(0, len(about) - _NAMED),
    }


def _about(entry: dict[str, Any], data: "ReportData") -> str:
    """Return the method (with its correction, where it is about one), the data set or the run that a message is
    about.
    """
    return _title(entry, data) or entry["dataset"] or "the run"


def _title(entry: dict[str, Any], data: "ReportData") -> str:
    """Return the title of the method of a message, or of the embedding that it is about; empty without a method."""
    if not entry["method"]:
        return ""
    named = str(entry["embedding"] or "").split(".")
    correction = named[-2] if len(named) > 2 else (entry["values"] or {}).get("correction") or "raw"
    return data.names.method(entry["method"], correction)


def _where(entry: dict[str, Any], data: "ReportData") -> str:
    """Return data set, embedding or method, and seed of a message."""
    method = _title(entry, data)
    seed = "" if entry["seed"] is None else f"seed {entry['seed']}"
    return ", ".join(part for part in (entry["dataset"], method, seed) if part)
