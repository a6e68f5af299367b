"""Sentences that answer whether the published results were reproduced."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scfm.report.page.html import esc, number
from scfm.report.tables.names import Names
from scfm.study.comparable import cell_doubts, other_settings
from scfm.study.compare import CLASSICAL, OUTSIDE, TOLERANCE, WITHIN
from scfm.study.published import METRICS
from scfm.study.ranks import ORDER_REQUIRED, OrderVerdict, rank_agreement, rank_verdict, smallest_p

if TYPE_CHECKING:
    import pandas as pd

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


def doubts(data: "ReportData", dataset: str, scenario: str) -> str:
    """Return why the numbers can't be compared, and what is not known."""
    known = data.catalogue.get(scenario)
    differs, unknown = cell_doubts(
        data.row(dataset), n_cells=known.n_cells if known else None, n_batches=known.n_batches if known else None
    )
    settings = other_settings(data.params)
    html = ""
    if differs:
        html += (
            f"<div class='scfm-loud'><b>These are not the study's cells.</b> {' '.join(map(esc, differs))} The"
            " differences below are shown for their own sake: they say nothing on whether the study reproduces.</div>"
        )
    if settings:
        words = "; ".join(
            f"<code>{esc(n)}</code> {esc(ours)}, study {esc('unset' if theirs is None else theirs)}"
            for n, ours, theirs in settings
        )
        html += (
            f"<div class='scfm-loud scfm-mild'><b>Settings other than the study's:</b> {words}. <code>-profile"
            " paper</code> sets all of them.</div>"
        )
    return html + (f"<p class='scfm-muted'>{' '.join(map(esc, unknown))}</p>" if unknown else "")


def answer(found: "pd.DataFrame", scenario: str, data: "ReportData") -> str:
    """Return the verdicts in sentences: tolerance, order, rank agreement."""
    items = [
        _within(
            found[(found["method"].isin(CLASSICAL)) & (found["correction"] == "raw")],
            "Classical methods",
            "what counts as reproduced",
        )
    ]
    models = found[~found["method"].isin(CLASSICAL)]
    items.append(_within(models, "Foundation models", "same width, informative only: no tolerance is set for them"))
    items += [_order(rank_verdict(found, scenario), scenario, data.names), *_tau(rank_agreement(found))]
    return f"<div class='scfm-answer'><ul>{''.join(f'<li>{i}</li>' for i in items if i)}</ul></div>"


def _within(rows: "pd.DataFrame", who: str, basis: str) -> str:
    """Return how many metrics and totals lie within the tolerance; bio and batch follow from the metrics and are not
    counted.
    """
    judged = rows[rows["verdict"].isin([WITHIN, OUTSIDE])]
    if judged.empty:
        return f"<b>{who}</b>: none was run that has published values."
    counts = []
    for words, part in (
        ("metrics", judged[judged["metric"].isin(METRICS)]),
        ("totals", judged[judged["metric"] == "total"]),
    ):
        if len(part):
            counts.append(
                f"{int((part['verdict'] == WITHIN).sum())} of {len(part)} {words} within ±{part['tolerance'].iloc[0]:g}"
            )
    return f"<b>{who}</b>: {' and '.join(counts)} ({basis})."


def _order(verdict: OrderVerdict, scenario: str, names: Names) -> str:
    """Return whether the classical methods are in the published order."""
    if len(verdict.ours) < 2:
        return ""
    words = {
        "matches": "is the published one",
        "differs": "is not the published one",
        "incomplete": "agrees as far as it goes",
    }[verdict.verdict]
    ours, theirs = (" &gt; ".join(esc(names.method(m)) for m in order) for order in (verdict.ours, verdict.published))
    text = f"<b>Order by total</b> {words}: {ours}" + (
        f"; published {theirs}." if verdict.verdict != "matches" else "."
    )
    for first, second, gap, mine in verdict.swapped:
        text += (
            f" {esc(names.method(first))} is {gap:.2f} above {esc(names.method(second))} in the study and {-mine:.3f}"
            " below it here"
        )
        text += ", both less than the tolerance of a total." if max(gap, -mine) <= TOLERANCE["total"] else "."
    if verdict.missing:
        text += f" Without a total here: {', '.join(esc(names.method(m)) for m in verdict.missing)}."
    rule = f"This order must hold for the study to count as reproduced in {' and '.join(ORDER_REQUIRED)}"
    return text + (
        f" {rule}." if verdict.required else f" {rule}, not in {esc(scenario)}; published ties may be in either order."
    )


def _tau(ranks: "pd.DataFrame") -> list[str]:
    """Return the rank agreement of totals in sentences."""
    return [
        f"<b>Kendall's tau-b of the total</b> over {r.n}"
        f" {'uncorrected embeddings' if r.rows == 'raw' else 'embeddings, raw and centred'}: {number(r.tau)} (p"
        f" {esc(p_value(r.p, '= '))}).{_power(r.n)}"
        for r in ranks[ranks["metric"] == "total"].itertuples()
        if r.n > 1
    ]


def _power(n: int) -> str:
    """Return a warning where even perfect agreement would not be significant."""
    least = smallest_p(n)
    return f" With {n} embeddings even perfect agreement has p {esc(p_value(least, '= '))}." if least > 0.01 else ""


def p_value(value: float, equals: str = "") -> str:
    """Return a p value for people, not escaped."""
    return f"{equals}–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{equals}{value:.3f}"


def random_weights(found: "pd.DataFrame", names: Names) -> str:
    """Name the models that ran with randomly initialised weights: their numbers are not compared."""
    models = [m for m in dict.fromkeys(found["method"]) if m in names.random_weights]
    return (
        f"<p>Randomly initialised weights, not compared: {', '.join(esc(names.methods.get(m, m)) for m in models)}.</p>"
        if models
        else ""
    )


def warnings_of_the_study() -> str:
    """Return the folded list of what to know about the published values."""
    items = "".join(f"<li>{esc(w)}</li>" for w in _WARNINGS)
    return (
        "<div class='scfm-messages'><details class='scfm-warning'><summary>What to know about the published"
        f" values</summary><ul>{items}</ul></details></div>"
    )
