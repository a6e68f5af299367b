"""Our numbers of a study scenario beside the published ones: verdict, table, scatter, ranks, probing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scfm.report.page.html import esc, number
from scfm.report.page.mqc import Section, slug
from scfm.report.page.tables import Cell, Row, data_table, table, tabs
from scfm.report.page.templates import render
from scfm.report.plots.scatter import SQUARE, Plot, Point, draw_scatter
from scfm.report.sections.published_answer import answer, p_value
from scfm.report.sections.scores import COLOURS
from scfm.report.tables.names import Names
from scfm.study.compare import INFORMATIVE, NOT_RUN, OUTSIDE, UNPUBLISHED, WITHIN, compare, compare_probing
from scfm.study.published import MEANS, METRICS
from scfm.study.ranks import rank_agreement

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

_MEANS = {"bio": "Bio", "batch": "Batch", "total": "Total"}
_PROBES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
_CSS = {
    WITHIN: "scfm-near",
    OUTSIDE: "scfm-far",
    UNPUBLISHED: "scfm-alone",
    NOT_RUN: "scfm-none",
}


def published_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the sections of one data set; none unless it is a scenario with published numbers."""
    scenario = data.row(dataset).get("scenario") or ""
    if not scenario or scenario not in data.published.scenarios():
        return []
    left_out = data.names.controls | data.names.random_weights
    scores, probing = (
        t[~t["method"].isin(left_out)] for t in (data.of("scores", dataset), data.of("probing", dataset))
    )
    found = compare(scenario, scores, data.published)
    probes = compare_probing(scenario, probing, data.published)
    if found["ours"].isna().all() and probes["ours"].isna().all():
        return []
    return [
        Section(
            "published",
            "Ours and published",
            "html",
            answer(found, scenario, data, dataset),
            description=(
                f"Scenario <b>{esc(scenario)}</b> of the study (Wang, Zhang &amp; Zhang, bioRxiv 2025). Bio, batch and"
                " total are means of the study's five metrics, computed here whatever else was scored. Total: one half"
                " each."
            ),
        ),
        _scores_table(found, data.names),
        *_scatters(found, data, dataset),
        *_ranks(found, data.names),
        *_probing(probes, data),
    ]


def _scores_table(found: "pd.DataFrame", names: Names) -> Section:
    """Return method by score: ours, published, difference."""
    columns = {m: _MEANS.get(m, names.metric(m)) for m in (*METRICS, *MEANS)}
    return Section(
        "published_scores",
        "Scores, ours and published",
        "html",
        _grid(found, "metric", columns, names),
        description=_HOW_TO_READ,
    )


_HOW_TO_READ = (
    "Bold: ours, mean over seeds. Below: published, and ours minus published. Filled: classical methods, judged by the"
    " tolerance (0.03, total 0.02); outlined: same width, informative only. <code>center_l2</code> is what the study"
    " calls centred. <span class='scfm-near scfm-cell'>blue</span> within, <span class='scfm-far"
    " scfm-cell'>orange</span> outside; grey: not run here; white: no published value. Point at a cell for all its"
    " numbers."
)


def _grid(found: "pd.DataFrame", column: str, columns: dict[str, str], names: Names) -> str:
    """Return a table of rows (method, correction) by the values of a column, in the order of the comparison."""
    cells = {(r["method"], r["correction"], r[column]): r for r in found.to_dict("records")}
    rows = []
    for method, correction in dict.fromkeys((m, v) for m, v, _ in cells):
        title = names.method(method, correction)
        rows.append(Row(title, [_cell(cells.get((method, correction, c)), title, t) for c, t in columns.items()]))
    return data_table(list(columns.values()), rows, corner="Embedding", css="scfm-heat scfm-pairs")


def _cell(row: dict[str, Any] | None, title: str, column: str) -> Cell:
    """Return one cell; empty where neither side has a value."""
    if row is None or (math.isnan(row["ours"]) and not _published(row)):
        return Cell("")
    soft = row["basis"] == INFORMATIVE and row["verdict"] in (WITHIN, OUTSIDE)
    first = "–" if math.isnan(row["ours"]) else f"{row['ours']:.3f}"
    gap = "" if math.isnan(row["difference"]) else _signed(row)
    text = render("published_cell.html.j2", ours=first, published=_published(row), gap=gap)
    sort = "" if math.isnan(row["ours"]) else float(row["ours"])
    return Cell(text, _tip(row, title, column), _CSS[row["verdict"]] + (" scfm-soft" if soft else ""), sort=sort)


def _tip(row: dict[str, Any], title: str, column: str) -> str:
    """Return everything about one comparison in a line."""
    ours, theirs = row["ours"], _published(row)
    seeds = f" (mean of {row['seeds']} seeds)" if row["seeds"] > 1 else ""
    parts = [
        f"{title}, {column}: ours {'not run' if math.isnan(ours) else f'{ours:.3f}'}{seeds}",
        f"published {theirs}" if theirs else "no published value",
    ]
    if not math.isnan(row["difference"]):
        width = f"±{row['tolerance']:.2f}{', informative' if row['basis'] == INFORMATIVE else ''}"
        parts.append(f"difference {_signed(row)}, {row['verdict']} ({width})")
    return ", ".join(parts)


def _published(row: dict[str, Any]) -> str:
    """Return a published value as it can be read: ``0.78``, ``~0.94``, ``0.45–0.55``, or nothing."""
    if not math.isnan(row["published"]):
        text = f"{row['published']:.3f}"
        return ("~" if row.get("precision") == "approximate" else "") + (text[:-1] if text.endswith("0") else text)
    low = row.get("low")
    return "" if low is None or math.isnan(low) else f"{low:.2f}–{row['high']:.2f}"


def _signed(row: dict[str, Any]) -> str:
    """Return a difference with three decimals; four where three would look like the tolerance and are beyond it."""
    value = row["difference"]
    if row["verdict"] == OUTSIDE and round(abs(value), 3) <= row["tolerance"]:
        return f"{value:+.4f}".replace("-", "−")
    return "0.000" if abs(value) < 0.0005 else f"{value:+.3f}".replace("-", "−")


def _scatters(found: "pd.DataFrame", data: "ReportData", dataset: str) -> list[Section]:
    """Return ours against published, one panel per score, the total first."""
    panels = []
    for metric in ("total", "bio", "batch", *METRICS):
        title = _MEANS.get(metric, data.names.metric(metric))
        rows = found[(found["metric"] == metric) & found["difference"].notna()].to_dict("records")
        if rows:
            panels.append((title, _panel(rows, data, title, f"scfm-published-{slug(dataset)}-{metric}")))
    if not panels:
        return []
    return [
        Section(
            "published_scatter",
            "Ours against published",
            "html",
            tabs(panels),
            description=(
                "On the diagonal both are equal; the band is the tolerance. Names are written where a point leaves the"
                " band; point at any for its numbers."
            ),
        )
    ]


def _panel(rows: Sequence[dict[str, Any]], data: "ReportData", title: str, key: str) -> str:
    """Return one scatter; a published range is a bar, its point in the middle; names are those of the outliers."""
    families = dict(zip(data.plan["method"], data.plan["family"], strict=True))
    points = []
    for r in rows:
        name = data.names.method(r["method"], r["correction"])
        low, high = (None if math.isnan(r.get(end, math.nan)) else float(r[end]) for end in ("low", "high"))
        points.append(
            Point(
                name,
                float(r["published"]) if low is None or high is None else (low + high) / 2,
                float(r["ours"]),
                COLOURS.get(families.get(r["method"], ""), "#333333"),
                _tip(r, name, title),
                hollow=r["correction"] != "raw",
                named=r["verdict"] == OUTSIDE,
                low=low,
                high=high,
            )
        )
    seen, tolerance = dict.fromkeys(families.get(r["method"], "") for r in rows), float(rows[0]["tolerance"])
    plot = Plot(
        key=key,
        xlab=f"{title}, published",
        ylab=f"{title}, ours",
        legend={f.replace("_", " ").replace("none", "uncorrected"): COLOURS.get(f, "#333333") for f in seen},
        notes=["● raw", "○ centred", f"band: ±{tolerance:g}"],
        diagonal=True,
        tolerance=tolerance,
        size=SQUARE,
    )
    return draw_scatter(points, plot)


def _ranks(found: "pd.DataFrame", names: Names) -> list[Section]:
    """Return Kendall's tau of every score."""
    ranks = rank_agreement(found)
    if not (ranks["n"] > 1).any():
        return []
    return [
        Section(
            "published_ranks",
            "Rank agreement with the study",
            "html",
            _rank_table(ranks, {m: _MEANS.get(m, names.metric(m)) for m in ranks["metric"]}),
            description=(
                "Kendall's tau-b between our order of embeddings and the published one: 1 the same order, 0 none, −1"
                " reversed. p is two-sided, exact without ties, else by the normal approximation; no correction for"
                " looking at several scores. Rank agreement forgives a shift of all values."
            ),
        )
    ]


def _rank_table(ranks: "pd.DataFrame", titles: dict[str, str]) -> str:
    """Return score by n, tau and p, for raw embeddings and for raw and centred ones together."""
    rows: dict[str, dict[str, Any]] = {}
    for r in ranks.itertuples():
        target = f"{getattr(r, 'target', '').capitalize()} " if hasattr(r, "target") else ""
        rows.setdefault(f"{target}{titles[str(r.metric)]}", {})[str(r.rows)] = r
    kinds = [k for k in ("raw", "raw and center_l2") if (ranks["rows"] == k).any()]
    head = ["Score", *(f"{k.replace('center_l2', 'centred')}: {c}" for k in kinds for c in ("n", "tau-b", "p"))]
    body = []
    for title, found in rows.items():
        shown = [(found[k].n, number(found[k].tau), p_value(found[k].p)) if k in found else ("", "", "") for k in kinds]
        body.append([title, *(str(c) for part in shown for c in part)])
    return table(head, body)


def _probing(probes: "pd.DataFrame", data: "ReportData") -> list[Section]:
    """Return accuracy and macro-F1 of the linear probe beside what the study's plots show."""
    if probes["difference"].isna().all():
        return []
    probes = probes.assign(probe=probes["target"] + " " + probes["metric"])
    columns = {
        f"{t} {m}": f"{t.capitalize()} {words}"
        for t in ("batch", "label")
        for m, words in _PROBES.items()
        if f"{t} {m}" in set(probes["probe"])
    }
    panels = []
    for name, title in columns.items():
        rows = probes[(probes["probe"] == name) & probes["difference"].notna()].to_dict("records")
        if rows:
            panels.append((title, _panel(rows, data, title, max(r["tolerance"] for r in rows))))
    judged = probes[probes["difference"].notna()]
    near = int((judged["verdict"] == WITHIN).sum())
    html = render(
        "published_probing.html.j2",
        near=near,
        judged=len(judged),
        grid=_grid(probes, "probe", columns, data.names),
        scatters=tabs(panels),
        ranks=_rank_table(rank_agreement(probes), _PROBES),
    )
    return [
        Section(
            "published_probing",
            "Linear probing, ours and published",
            "html",
            html,
            description=(
                "Logistic regression on random folds. High for <b>batch</b> means that the batch can still be read from"
                " the embedding; high for <b>label</b> is good. The study shows no chance level: see the probing"
                " sections below for ours. Bold: ours. Below: published (~ partly hidden in the plot, a range where"
                " hidden in it) and the difference, 0 inside a range. Outlined in blue: within 0.03 and the error of"
                " reading; in orange: outside; grey: not run here."
            ),
        )
    ]
