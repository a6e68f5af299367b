"""Which embeddings the diagnosis looked at, so that silence about the others is not read as a good result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scfm.report.view.data import ReportData

#: tables that only the diagnosis fills, a row or more per diagnosed embedding
_TABLES = ("residual", "clusters", "markers", "rare", "overcorrection", "balanced")
#: what follows the number of diagnosed embeddings
_CHOICE = "the uncorrected PCA, the two highest, and those in <code>--diagnose</code>"


def n_diagnosed(data: "ReportData", dataset: str, tables: Iterable[str] = _TABLES) -> tuple[int, int]:
    """Return how many embeddings of a data set were diagnosed, and of how many that have scores.

    Seeds of one method and correction count as one; controls don't count.

    Parameters
    ----------
    data
        The tables of the run.
    dataset
        Data set.
    tables
        Tables in which a diagnosed embedding has rows.
    """
    key = ["method", "correction"]
    seen = {pair for name in tables for pair in data.of(name, dataset)[key].itertuples(index=False, name=None)}
    scores = data.of("scores", dataset)
    scored = scores.loc[~scores["method"].isin(data.names.controls), key]
    return len(seen), len(seen | set(scored.itertuples(index=False, name=None)))


def only_diagnosed(
    data: "ReportData", dataset: str, table: str, others: str = "nothing is known here of the others"
) -> str:
    """Return, as HTML that follows another sentence, how many embeddings a table of the diagnosis covers, and what
    is known of the others; empty where it is all of them.
    """
    n, of = n_diagnosed(data, dataset, [table])
    if n == of:
        return ""
    return f" <b>{n} of {of} embeddings {'was' if n == 1 else 'were'} diagnosed</b> ({_CHOICE}); {others}."


def warnings_are_partial(data: "ReportData", dataset: str) -> str:
    """Return, as HTML that follows another sentence, that warnings of the diagnosis are of some embeddings only; empty
    where all were diagnosed, or none.
    """
    n, of = n_diagnosed(data, dataset)
    if n in {0, of}:
        return ""
    return (
        f" Warnings about clusters, markers, rare labels and labels that split by batch come from a diagnosis of {n} of"
        f" {of} embeddings ({_CHOICE}); a row without them may be one that was not diagnosed."
    )
