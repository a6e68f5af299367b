"""Sweeps: settings that were tried, their scores, the pick by rule and the elbow over correction strength."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup

from scfm.report.page.html import number
from scfm.report.page.mqc import Section, slug
from scfm.report.page.tables import Cell, Column, Row, data_table, tabs
from scfm.report.page.templates import render
from scfm.report.plots.tradeoff import NARROW, Mark, draw_tradeoff
from scfm.report.tables.cost import duration
from scfm.report.tables.sweep_rules import NO_ELBOW
from scfm.text import listing

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

_DESCRIPTION = (
    "Every setting is the method with these parameters and all others as in the run. Settings are compared with each"
    " other only: they have no rank among the methods, because the largest of many totals is high by chance. The rule:"
    " among settings whose batch score is within one standard deviation over seeds of the highest, the one with the"
    " highest bio score; with one seed the limit is --tie_tolerance. The elbow is the strength furthest above the"
    " straight line from the weakest to the strongest: beyond it batch removal costs more bio than before it."
)
_COLUMNS = (
    Column("Bio", "Bio conservation, mean over seeds; higher is better"),
    Column("Batch", "Batch removal, mean over seeds; higher is better"),
    Column("Worst label", "Label of at least 20 cells whose batches mix worst, by BRAS (higher is better)"),
    Column("Overfit", "Whether the training of any seed was overfit (W-TRN-01)"),
    Column("Time", "Of the integration alone, mean over seeds"),
    Column("Front", "On the Pareto front: no other setting is better in both bio and batch"),
    Column("Near the best batch", "Within the tolerance of the best batch score: compared by bio"),
    Column("Note", "Picked by rule; elbow; what failed"),
)


def sweep_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return plot, pick and table of every sweep of a data set; nothing without a sweep."""
    sweep = data.of("sweep", dataset).sort_values(["method", "series", "strength_rank"], kind="stable")
    panels = [
        (data.names.method(str(method)), _panel(data, dataset, points.reset_index(drop=True)))
        for method, points in sweep.groupby("method", sort=False)
    ]
    if not panels:
        return []
    return [Section("sweeps", "Sweeps", "html", tabs(panels), description=_DESCRIPTION)]


def _panel(data: "ReportData", dataset: str, points: "pd.DataFrame") -> Markup:
    """Return sentences, plot and table of one method's settings."""
    method = str(points["method"].iloc[0])
    known = points[points["bio"].notna() & points["batch"].notna()].reset_index(drop=True)
    marks = sweep_marks(known)
    key = f"scfm-sweep-{slug(dataset)}-{slug(method)}"
    plots = {
        name: draw_tradeoff(shown, floor=math.nan, key=f"{key}-{name}", **size)
        for name, shown, size in (
            ("wide", marks, {}),
            ("narrow", numbered(marks), {"size": NARROW}),
        )
        if len(known) > 1
    }
    rows = [Row(r["settings"], _cells(r)) for r in points.to_dict("records")]
    return render(
        "sweep.html.j2",
        sentences=[*pick_sentences(points), *elbow_sentences(points), *_failures(points)],
        wide=plots.get("wide", ""),
        narrow=plots.get("narrow", ""),
        points=list(known["settings"]),
        arrows=any(m.start is not None for m in marks),
        has_elbow=bool(known["elbow"].any()),
        table=data_table(_COLUMNS, rows, corner=f"{data.names.method(method)} with"),
    )


def sweep_marks(known: "pd.DataFrame") -> list[Mark]:
    """Return a point per setting; those on the front are filled and named, arrows run from a strength to the next.

    Parameters
    ----------
    known
        Rows of ``sweep.tsv`` of one method that have both scores, numbered from 0.
    """
    before = _weaker(known)
    return [
        Mark(
            label=row["settings"] if row["front"] else "",
            title=f"{row['settings']}: bio {row['bio']:.3f}, batch {row['batch']:.3f}",
            bio=_spread(row["bio"], row["bio_sd"]),
            batch=_spread(row["batch"], row["batch_sd"]),
            kind="method" if row["front"] else "not_ranked",
            start=before.get(place),
            marker="*" if row["picked"] else "D" if row["elbow"] else "o",
        )
        for place, row in enumerate(known.to_dict("records"))
    ]


def numbered(marks: list[Mark]) -> list[Mark]:
    """Return the points with their number as label, for a plot that is too narrow for names."""
    from dataclasses import replace

    return [replace(mark, label=str(i)) for i, mark in enumerate(marks, start=1)]


def _weaker(known: "pd.DataFrame") -> dict[int, int]:
    """Return the place of the next weaker strength of every point that has one, the other settings alike."""
    found: dict[int, int] = {}
    for _, line in known[known["strength"].notna()].groupby("series", sort=False):
        places = list(line.sort_values("strength_rank").index)
        found |= dict(zip(places[1:], places, strict=False))
    return found


def _spread(mean: float, sd: float | None) -> tuple[float, float, float]:
    """Return mean, and mean minus and plus the standard deviation."""
    width = 0.0 if sd is None or math.isnan(sd) else sd
    return mean, mean - width, mean + width


def _cells(row: dict) -> list[Cell]:
    notes = ["picked by rule"] if row["picked"] else ["can't be told apart from the picked one"] if row["alike"] else []
    notes += ["elbow"] if row["elbow"] else []
    notes += [] if row["status"] == "ok" else [f"{row['status'].replace('_', ' ')}: {row['reason']}"]
    return [
        Cell(_with_sd(row["bio"], row["bio_sd"]), sort=_sort(row["bio"])),
        Cell(_with_sd(row["batch"], row["batch_sd"]), sort=_sort(row["batch"])),
        Cell(f"{row['worst_label']} {number(row['worst_label_bras'])}".strip(), sort=_sort(row["worst_label_bras"])),
        Cell({True: "yes", False: "no"}.get(row["overfit"], "–")),
        Cell("–" if _missing(row["seconds"]) else duration(row["seconds"]), sort=_sort(row["seconds"])),
        Cell("yes" if row["front"] else ""),
        Cell("yes" if row["eligible"] else ""),
        Cell("; ".join(notes)),
    ]


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _sort(value: float | None) -> float | str:
    return "" if value is None or math.isnan(value) else float(value)


def _with_sd(value: float, sd: float | None) -> str:
    return number(value, 3) + ("" if _missing(value) or sd is None or math.isnan(sd) else f" ± {sd:.3f}")


def pick_sentences(points: "pd.DataFrame") -> list[str]:
    """Return which setting the rule picks and why, and which others can't be told apart from it.

    Parameters
    ----------
    points
        Rows of ``sweep.tsv`` of one method on one data set.
    """
    picked = points[points["picked"]]
    if picked.empty:
        return ["No setting has both a bio and a batch score: the rule picks none."]
    chosen, eligible = picked.iloc[0], points[points["eligible"]]
    best = eligible.loc[eligible["batch"].astype(float).idxmax()]
    limit = (
        "one standard deviation over seeds"
        if chosen["tolerance_from"] == "sd"
        else "--tie_tolerance, as there is one seed and no standard deviation"
    )
    near = f"with a batch score within {chosen['tolerance']:.3f} ({limit}) of the highest, {best['batch']:.3f}"
    said = f"Picked by rule: {chosen['settings']} (bio {chosen['bio']:.3f}, batch {chosen['batch']:.3f}), "
    said += (
        f"the only setting {near}: bio had no say."
        if len(eligible) == 1
        else f"the highest bio among the {len(eligible)} settings {near}."
    )
    alike = points[points["alike"]]
    if len(alike):
        said += f" Its bio can't be told apart from that of {listing(alike['settings'])}."
    return [said]


def elbow_sentences(points: "pd.DataFrame") -> list[str]:
    """Return the elbow of every series of strengths, and why others have none, a sentence per reason."""
    found: list[str] = []
    absent: dict[str, list[str]] = {}
    for series, line in points[points["strength"].notna()].groupby("series", sort=False):
        name = line["strength_name"].iloc[0]
        elbow = line[line["elbow"]]
        if len(elbow):
            where = f" ({series})" if series else ""
            found.append(
                f"Elbow over {name}{where}: {elbow.iloc[0]['strength']:g}. Stronger correction costs more bio for less"
                " batch removal."
            )
        else:
            reason = f"No elbow over {name}{{}}: {NO_ELBOW[line['elbow_reason'].iloc[0]]}."
            absent.setdefault(reason, []).append(str(series))
    return found + [text.format(f" ({'; '.join(names)})" if any(names) else "") for text, names in absent.items()]


def _failures(points: "pd.DataFrame") -> list[str]:
    failed = points[points["status"] == "failed"]
    return [f"Failed: {row.settings} ({row.reason})" for row in failed.itertuples()]
