"""The summary of a run as plain text: what Nextflow prints at its end."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from scfm.report.sections.messages import WORDS
from scfm.report.sections.verdict import verdict
from scfm.report.view.summary import summarise
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: embeddings of one outcome that are listed; status.tsv has them all
_LISTED = 10


def run_summary(data: "ReportData") -> str:
    """Return outcomes, failures with their reason, the number of messages and the answer of every data set.

    Parameters
    ----------
    data
        The tables of the run.

    Returns
    -------
    Lines of plain text, each with a line break at its end.
    """
    lines = [_outcomes(data), *_reasons(data, "failed"), *_reasons(data, "not_applicable"), _messages(data)]
    lines += [f"{name}: {_answer(data, name)}" for name in data.dataset_names()]
    return "".join(f"{line}\n" for line in lines)


def _outcomes(data: "ReportData") -> str:
    """Return how many planned embeddings completed, failed, and can't be made."""
    worst = _worst(data.status)
    counts = {state: int((worst["status"] == state).sum()) for state in ("ok", "failed", "not_applicable")}
    if worst.empty:
        return "Embeddings: none planned, new cells are mapped to a reference"
    text = f"Embeddings: {counts['ok']} of {len(worst)} completed, {counts['failed']} failed"
    return f"{text}, {counts['not_applicable']} not applicable" if counts["not_applicable"] else text


def _worst(status: "pd.DataFrame") -> "pd.DataFrame":
    """Return one row per embedding: that of its first failed step, else of its first step.

    An embedding is not applicable where it was never made; a later step that was switched off leaves it complete.
    """
    failed_first = status.iloc[(status["status"] != "failed").argsort(kind="stable")]
    return failed_first.drop_duplicates(["dataset", "embedding"])


def _reasons(data: "ReportData", state: str) -> list[str]:
    """Return one line per embedding of an outcome, with its step and reason."""
    worst = _worst(data.status)
    rows = worst[worst["status"] == state].sort_values(["dataset", "embedding"])
    word = state.replace("_", " ")
    lines = [f"  {word}: {r.dataset}.{r.embedding} ({r.step}): {r.reason}" for r in rows.head(_LISTED).itertuples()]
    more = len(rows) - _LISTED
    return lines + ([f"  {word}: {more} more, see tables/status.tsv"] if more > 0 else [])


def _messages(data: "ReportData") -> str:
    """Return the number of messages by severity, with the codes of errors and warnings."""
    counts = {severity: sum(m["severity"] == severity for m in data.messages) for severity in WORDS}
    codes = ", ".join(dict.fromkeys(m["code"] for m in data.messages if m["severity"] != "info"))
    text = ", ".join(plural(n, WORDS[severity]) for severity, n in counts.items())
    return f"Messages: {text} ({codes})" if codes else f"Messages: {text}"


def _answer(data: "ReportData", dataset: str) -> str:
    """Return the first point of the report's answer: the embeddings that can't be told apart at the top."""
    if reference := data.row(dataset).get("reference"):
        if data.of("query", dataset).empty:
            return f"not mapped to the reference {reference}, see the messages."
        return f"mapped to the reference {reference}, see tables/query.tsv."
    if not data.facts(dataset):
        return "not prepared, so there is nothing to compare."
    points = verdict(data, dataset, summarise(data, dataset))
    return plain(points[0]) if points else "nothing to compare."


def plain(markup: str) -> str:
    """Return the text of a piece of HTML, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", markup)).split())
