"""Sentences that answer whether the published results were reproduced."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from scfm.report.page.html import number
from scfm.report.page.templates import render
from scfm.report.tables.names import Names
from scfm.study.comparable import cell_doubts, other_settings
from scfm.study.compare import CLASSICAL, OUTSIDE, TOLERANCE, WITHIN
from scfm.study.published import METRICS
from scfm.study.ranks import ORDER_REQUIRED, OrderVerdict, rank_agreement, rank_verdict, smallest_p

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

    from scfm.report.view.data import ReportData


_WARNINGS = (
    (
        "The study released no tables of numbers. Scores were read by eye from pictures of its tables, to two decimals;"
        " bio, batch and total agree with the means of the printed metrics within rounding in all 120 rows."
    ),
    (
        "Probing values were digitised from plots: wrong by about 0.01 (raw) or 0.02 (centred). “~” is a marker partly"
        " behind others, a range one hidden somewhere in it. What can be read only of a bundle of methods is left out."
    ),
    (
        "Panel names in the study's figures are swapped: in 2B and S16 liver (donor) with Immune (tissue), in 2B, 2C,"
        " S16 and S7 HLCA_sn (cell or nucleus) with HLCA_assay (10x or Drop-seq). The values here have the true"
        " data set."
    ),
    (
        "Figure 2F quotes other totals of liver (Geneformer 0.54, centred 0.62, Harmony 0.72) than the tables (0.64,"
        " 0.73, 0.78); the tables are used."
    ),
    (
        "Every value is one run without an interval; scVI was trained without a seed, and library versions are not"
        " stated. A difference near the tolerance proves nothing in either direction."
    ),
)


class Answer(NamedTuple):
    """A sentence of the answer: its first words, printed bold, and the rest."""

    title: str
    text: str


def answer(found: "pd.DataFrame", scenario: str, data: "ReportData", dataset: str) -> "Markup":
    """Return why the numbers can't be compared, the verdicts (tolerance, order, rank agreement), and what to know about
    the published values.
    """
    known = data.catalogue.get(scenario)
    differs, unknown = cell_doubts(
        data.row(dataset), n_cells=known.n_cells if known else None, n_batches=known.n_batches if known else None
    )
    names = data.names
    return render(
        "published.html.j2",
        cells=differs,
        settings=other_settings(data.params),
        unknown=unknown,
        answers=_answers(found, scenario, names),
        random=[names.methods.get(m, m) for m in dict.fromkeys(found["method"]) if m in names.random_weights],
        warnings=_WARNINGS,
    )


def _answers(found: "pd.DataFrame", scenario: str, names: Names) -> list[Answer]:
    """Return the verdicts in sentences."""
    classical = found["method"].isin(CLASSICAL)
    informative = "same width, informative only: no tolerance is set for them"
    return [
        _within(found[classical & (found["correction"] == "raw")], "Classical methods", "what counts as reproduced"),
        _within(found[~classical], "Foundation models", informative),
        *_order(rank_verdict(found, scenario), scenario, names),
        *_tau(rank_agreement(found)),
    ]


def _within(rows: "pd.DataFrame", who: str, basis: str) -> Answer:
    """Return how many metrics and totals lie within the tolerance; bio and batch follow from the metrics and are not
    counted.
    """
    judged = rows[rows["verdict"].isin([WITHIN, OUTSIDE])]
    if judged.empty:
        return Answer(who, ": none was run that has published values.")
    counts = []
    for words, part in (
        ("metrics", judged[judged["metric"].isin(METRICS)]),
        ("totals", judged[judged["metric"] == "total"]),
    ):
        if len(part):
            counts.append(
                f"{int((part['verdict'] == WITHIN).sum())} of {len(part)} {words} within ±{part['tolerance'].iloc[0]:g}"
            )
    return Answer(who, f": {' and '.join(counts)} ({basis}).")


def _order(verdict: OrderVerdict, scenario: str, names: Names) -> list[Answer]:
    """Return whether the classical methods are in the published order."""
    if len(verdict.ours) < 2:
        return []
    words = {
        "matches": "is the published one",
        "differs": "is not the published one",
        "incomplete": "agrees as far as it goes",
    }[verdict.verdict]
    ours, theirs = (" > ".join(names.method(m) for m in order) for order in (verdict.ours, verdict.published))
    text = f" {words}: {ours}" + (f"; published {theirs}." if verdict.verdict != "matches" else ".")
    for first, second, gap, mine in verdict.swapped:
        text += (
            f" {names.method(first)} is {gap:.2f} above {names.method(second)} in the study and {-mine:.3f}"
            " below it here"
        )
        text += ", both less than the tolerance of a total." if max(gap, -mine) <= TOLERANCE["total"] else "."
    if verdict.missing:
        text += f" Without a total here: {', '.join(names.method(m) for m in verdict.missing)}."
    rule = f"This order must hold for the study to count as reproduced in {' and '.join(ORDER_REQUIRED)}"
    rest = "" if verdict.required else f", not in {scenario}; published ties may be in either order"
    return [Answer("Order by total", f"{text} {rule}{rest}.")]


def _tau(ranks: "pd.DataFrame") -> list[Answer]:
    """Return the rank agreement of totals in sentences."""
    return [
        Answer(
            "Kendall's tau-b of the total",
            f" over {r.n} {'uncorrected embeddings' if r.rows == 'raw' else 'embeddings, raw and centred'}:"
            f" {number(r.tau)} (p {p_value(r.p, '= ')}).{_power(r.n)}",
        )
        for r in ranks[ranks["metric"] == "total"].itertuples()
        if r.n > 1
    ]


def _power(n: int) -> str:
    """Return a warning where even perfect agreement would not be significant."""
    least = smallest_p(n)
    return f" With {n} embeddings even perfect agreement has p {p_value(least, '= ')}." if least > 0.01 else ""


def p_value(value: float, equals: str = "") -> str:
    """Return a p value for people, not escaped."""
    return f"{equals}–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{equals}{value:.3f}"
