"""Method cards, folded: all results of one method on one data set, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.report.page.html import number
from scfm.report.page.mqc import Section, slug
from scfm.report.page.tables import Cell, Row, data_table, heat_cell
from scfm.report.page.templates import render
from scfm.report.plots.training import draw_training
from scfm.report.sections.pictures import CAUTION, card_pictures
from scfm.report.tables.totals import default_total
from scfm.report.view.cards import about_of, costs_of, settings_of, training_of
from scfm.report.view.fits import verdicts_of
from scfm.report.view.rows import CONTROL, EmbeddingRow, embedding_rows
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.page.tables import Markup
    from scfm.report.view.data import ReportData

_COLUMNS = {"total": "Total", "bio": "Bio", "batch": "Batch"}


def card_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the method cards of a data set: one per method, controls left out."""
    rows: dict[str, list[EmbeddingRow]] = {}
    for row in embedding_rows(data, dataset):
        if row.group != CONTROL:
            rows.setdefault(row.method, []).append(row)
    if not rows:
        return []
    about, pictures = about_of(data), card_pictures(data, dataset)
    cards = [
        card_of(data, dataset, method, own) | {"about": about.get(method, []), "pictures": pictures.get(method, [])}
        for method, own in rows.items()
    ]
    return [
        Section(
            "cards",
            "Methods",
            "html",
            render("cards.html.j2", cards=cards),
            description=(
                f"{plural(len(cards), 'method')}, in the order of the overview; open one to read it. Scores are of"
                f" single embeddings here, not means over seeds. {CAUTION}"
            ),
        )
    ]


def card_of(data: "ReportData", dataset: str, method: str, rows: list[EmbeddingRow]) -> dict[str, Any]:
    """Return what the template prints for one method, but for its pictures and what the registries say."""
    planned = data.plan[(data.plan["dataset"] == dataset) & (data.plan["method"] == method)]
    raw = planned[planned["correction"] == "raw"].sort_values("seed", kind="stable")
    fits = [(e, data.sidecar(dataset, e)) for e in raw["embedding"]]
    first = next((s for _, s in fits if s), {})
    title = next((r.title for r in rows if r.correction == "raw"), data.names.method(method))
    curves = [(e, training_of(data, dataset, e)) for e in raw["embedding"]]
    return {
        "id": card_id(dataset, method),
        "title": title,
        "line": _line(rows),
        "warnings": _warnings(rows),
        "scores": score_table(data, dataset, planned),
        "settings": settings_of(first),
        "fits": [f"{e}: {text}" for e, s in fits for text in verdicts_of(s)],
        "versions": ", ".join(f"{k} {v}" for k, v in sorted((first.get("versions") or {}).items())),
        "costs": costs_of(data, dataset, raw["embedding"]),
        "curves": [
            {
                "title": e,
                "svg": draw_training(c, key=f"{card_id(dataset, e)}-loss", label=f"Loss of {e} over epochs"),
                "validated": "Validation" in c.curves,
            }
            for e, c in curves
            if c
        ][:1],
        "more_curves": max(0, sum(c is not None for _, c in curves) - 1),
    }


def _warnings(rows: list[EmbeddingRow]) -> list[str]:
    """Return the warnings about a method, each once; one that is not about all its embeddings names those it is
    about.
    """
    about: dict[str, list[str]] = {}
    for row in rows:
        for text in row.warnings:
            about.setdefault(text, []).append(row.title)
    return [text if len(who) == len(rows) else f"{', '.join(who)}: {text}" for text, who in about.items()]


def card_id(dataset: str, method: str) -> str:
    """Return the id of a card within the page."""
    return f"scfm-card-{slug(dataset)}-{slug(method)}"


def _line(rows: list[EmbeddingRow]) -> str:
    """Return the text beside the name of a folded card: its raw scores, or what became of it."""
    row = next((r for r in rows if r.correction == "raw"), rows[0])
    scores = [
        f"{n} {number(s.mean)}" for n, s in (("total", row.total), ("bio", row.bio), ("batch", row.batch)) if s.known
    ]
    corrected = sum(r.correction != "raw" for r in rows)
    more = [f"{plural(corrected, 'correction')} applied"] if corrected else []
    return "; ".join([", ".join(scores) or "no scores", *([row.note] if row.note else []), *more])


def score_table(data: "ReportData", dataset: str, planned: "pd.DataFrame") -> "Markup":
    """Return the first total, bio, batch and share of the scored cells of every embedding of a method."""
    totals = default_total(data.of("totals", dataset), data.params).set_index("embedding")
    body = []
    for row in planned.sort_values(["correction", "seed"], key=_raw_first, kind="stable").itertuples():
        values = totals.loc[row.embedding] if row.embedding in totals.index else {}
        cells = [Cell(row.correction), Cell(str(row.seed))]
        cells += [heat_cell(_float(values.get(c))) for c in _COLUMNS]
        share = _float(values.get("coverage"))
        cells.append(Cell("–" if share is None else f"{share:.1%}", sort="" if share is None else share))
        body.append(Row(row.embedding, cells))
    return data_table(
        ["Correction", "Seed", *_COLUMNS.values(), "Scored cells"], body, corner="Embedding", css="scfm-heat"
    )


def _raw_first(column: "pd.Series") -> "pd.Series":
    return column.map(lambda v: (v != "raw", v)) if column.name == "correction" else column


def _float(value: Any) -> float | None:
    import pandas as pd

    return None if value is None or pd.isna(value) else float(value)
