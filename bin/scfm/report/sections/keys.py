"""Totals of a data set with other than its primary batch key and label key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.inputs.keys import PAIR_COLUMNS
from scfm.report.page.html import number
from scfm.report.page.mqc import Section
from scfm.report.page.tables import Heat, heat_table
from scfm.report.page.templates import render
from scfm.report.tables.totals import default_total
from scfm.report.view.summary import summarise
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

_COLUMNS = {"total": "Total", "bio": "Bio", "batch": "Batch"}
_OF_PRIMARY = "Total, primary keys"


def key_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the totals with every other pair of keys; nothing where a data set has one key of each kind."""
    totals = default_total(data.of("other_totals", dataset), data.params)
    pairs = [p for p in data.facts(dataset).get("key_pairs", []) if not p["is_primary"]]
    if totals.empty or not pairs:
        return []
    rows = summarise(data, dataset)
    panels = []
    for pair in pairs:
        part = totals[(totals[list(PAIR_COLUMNS)] == [pair[c] for c in PAIR_COLUMNS]).all(axis=1)]
        title = f"{pair['batch_key']} with {pair['label_key']}"
        panels.append((title, _describe(pair), _table(part, rows)))
    return [
        Section(
            "other_keys",
            "Other keys",
            "html",
            render("keys.html.j2", pairs=panels),
            description=(
                "The same embeddings scored with the other batch and label keys of the samplesheet, on the same"
                " neighbours. Nothing is ranked by these totals: methods and controls used the primary keys, so there"
                " are no totals scaled between controls. Means over seeds, in the order of the primary total; a dash is"
                " not defined. All metrics are in tables/scores.tsv."
            ),
        )
    ]


def _describe(pair: dict) -> str:
    """Return cells, batches and labels of a pair in one line."""
    counts = ", ".join(
        (
            plural(pair["n_scored"], "scored cell"),
            plural(len(pair["batches"]), "batch", "batches"),
            plural(len(pair["labels"]), "label"),
        )
    )
    return f"{counts}."


def _table(totals: "pd.DataFrame", rows: "pd.DataFrame") -> str:
    """Return embedding by total, bio and batch, beside the total with the primary keys."""
    key = ["method", "correction"]
    means = totals.groupby(key)[list(_COLUMNS)].mean()
    reasons = totals[totals["status"] != "ok"].groupby(key)["reason"].first()
    values, tips = {}, {}
    for row in rows.to_dict("records"):
        who = (row["method"], row["correction"])
        values[row["title"], _OF_PRIMARY] = row["total"]
        for column, title in _COLUMNS.items():
            values[row["title"], title] = float(means[column].get(who, float("nan")))
            if who in reasons:
                tips[row["title"], title] = f"not defined: {reasons[who]}"
            elif values[row["title"], title] == values[row["title"], title]:
                tips[row["title"], title] = number(values[row["title"], title], 4)
    heat = Heat(tips=tips, controls=set(rows.loc[rows["is_control"], "title"]))
    return heat_table(list(rows["title"]), [*_COLUMNS.values(), _OF_PRIMARY], values, heat)
