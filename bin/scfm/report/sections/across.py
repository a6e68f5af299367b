"""Across data sets: totals and probes over methods, mean ranks, and size of models and corpora against the total."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from scfm.report.page.html import esc, number
from scfm.report.page.mqc import Section, slug
from scfm.report.page.tables import Cell, Column, Row, data_table, heat_cell, table, tabs
from scfm.report.plots.scatter import Plot, Point, draw_scatter
from scfm.report.sections.scores import COLOURS
from scfm.report.sections.verdict import tolerance_of
from scfm.report.tables.totals import Limits, weight_text
from scfm.report.view.data import INCOMPLETE_MARK
from scfm.report.view.study import BIO_WEIGHT, RAW, first_weight, pearson, probing_values, ranks, study_table
from scfm.text import listing, plural
from scfm.umap.plots import palette

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

_PROBES = (
    ("batch", "macro_f1", "Batch, macro-F1"),
    ("batch", "accuracy", "Batch, accuracy"),
    ("label", "macro_f1", "Label, macro-F1"),
    ("label", "accuracy", "Label, accuracy"),
)
_SIZES = (("parameters_millions", "Parameters"), ("cells_millions", "Cells seen in pretraining"))
#: fewer points have no correlation worth a number
MIN_MODELS = 3
_GUESS = "Guess: largest class"


def probe_sections(data: "ReportData") -> list[Section]:
    """Return the probes over data sets; nothing of a single one."""
    names = data.dataset_names()
    return probe_lines(data, names) if len(names) > 1 else []


def ranked_tables(data: "ReportData") -> "dict[str, pd.DataFrame]":
    """Return the uncorrected rows of every data set in which something is ranked, by data set."""
    found = {n: study_table(data, n).query("correction == @RAW", local_dict={"RAW": RAW}) for n in data.dataset_names()}
    return {name: table for name, table in found.items() if table["rank_total"].notna().any()}


def size_sections(data: "ReportData") -> list[Section]:
    """Return size of models and corpora against the total."""
    return size_section(data, ranked_tables(data))


def _lines(frames: dict[str, "pd.DataFrame"], title: Callable[[dict], str], column: str) -> dict[str, dict[str, float]]:
    """Return ``{method: {data set: value}}`` for a line plot, methods in order of their mean."""
    found: dict[str, dict[str, float]] = {}
    for name, frame in frames.items():
        for row in frame.dropna(subset=[column]).to_dict("records"):
            found.setdefault(title(row), {})[name] = round(float(row[column]), 4)
    return dict(sorted(found.items(), key=lambda item: -sum(item[1].values()) / len(item[1])))


def _style(names: Sequence[str]) -> dict[str, Any]:
    """Return options of a line plot: a colour for every method, the guess grey and dashed."""
    return {
        "style": "lines+markers",
        "showlegend": True,
        "colors": palette([n for n in names if n != _GUESS]) | {_GUESS: "#7f7f7f"},
        "dash_styles": {_GUESS: "dash"},
    }


def _swapped(data: "ReportData") -> str:
    """Return the caution about the study's axis titles where its data sets are shown."""
    if not any(d.get("scenario") for d in data.datasets):
        return ""
    return (
        " Data sets have their true names: in the study's figures 2B and S16 the titles of liver and Immune are"
        " exchanged, and in 2B, 2C, S7 and S16 those of HLCA_assay and HLCA_sn."
    )


def rank_sections(data: "ReportData") -> list[Section]:
    """Return every method on every data set: totals, ranks and the mean rank; nothing of a single data set."""
    tables = ranked_tables(data)
    if len(tables) < 2:
        return []
    return [rank_table(tables, Limits.of(data.params), first_weight(data, next(iter(tables))))]


def rank_table(tables: dict[str, "pd.DataFrame"], limits: Limits, weight: float = BIO_WEIGHT) -> Section:
    """Return method x data set: the total with the rank, and the mean rank, best first; methods that lack a data set
    come last. ``weight`` is that of bio in the total.
    """
    import pandas as pd

    rows = pd.concat([t.assign(dataset=name, rank=ranks(t["rank_total"])) for name, t in tables.items()]).dropna(
        subset=["rank_total"]
    )
    rows["method_title"] = rows["title"].str.removesuffix(INCOMPLETE_MARK)
    cells = {(r["method_title"], r["dataset"]): r for r in rows.to_dict("records")}
    means = rows.groupby("method_title").agg(rank=("rank", "mean"), n=("dataset", "nunique")).reset_index()
    means = means.sort_values(["n", "rank", "method_title"], ascending=[False, True, True])
    tolerances = {name: tolerance_of(table, limits, "total") for name, table in tables.items()}
    body = [
        Row(
            r.method_title,
            [_rank_cell(cells.get((r.method_title, name))) for name in tables]
            + [Cell(f"{r.rank:.1f}"), Cell(f"{r.n} of {len(tables)}", sort=int(r.n))],
        )
        for r in means.itertuples()
    ]
    heads = [Column(name) for name in tables] + [
        Column("Mean rank", "Mean over data sets of the rank by total (1 is best)"),
        Column("Data sets", "Data sets in which the method is ranked; a mean over fewer can't be compared"),
    ]
    return Section(
        "mean_rank",
        "Totals and ranks",
        "html",
        data_table(heads, body, corner="Method", css="scfm-heat"),
        description=(
            f"<b>{_overall(means, cells, tolerances)}</b> Total ({weight_text(weight)}) and rank on each"
            " data set, in the order of the samplesheet, methods without a correction. Data sets whose batch is"
            " declared biological and incomplete embeddings have no rank; methods that lack a data set come last: their"
            " mean is over other data sets."
        ),
        table="totals",
    )


def _rank_cell(row: dict[str, Any] | None) -> Cell:
    """Return the total that is ranked, on the common cells where embeddings differ in theirs, and the rank."""
    if row is None:
        return Cell("–", css="scfm-none", sort="")
    cell = heat_cell(row["rank_total"])
    return replace(cell, text=f"{row['rank_total']:.2f} ({row['rank']:.0f})")


def _overall(means: "pd.DataFrame", cells: dict[tuple[str, str], dict[str, Any]], tolerances: dict[str, float]) -> str:
    """Return one sentence on all data sets: the lowest mean rank, and who is not told apart from it on any."""
    whole = means[means["n"] == len(tolerances)]
    if whole.empty:
        return "No method is ranked on every data set."

    first = whole[whole["rank"] == whole["rank"].min()]["method_title"]

    def alike(title: str) -> bool:
        return all(
            abs(cells[title, name]["rank_total"] - cells[first.iloc[0], name]["rank_total"]) <= tolerance
            for name, tolerance in tolerances.items()
        )

    others = whole[whole["method_title"].map(alike) & ~whole["method_title"].isin(first)]
    leaders = f"{', '.join(map(esc, first))} {'has' if len(first) == 1 else 'have'} the lowest mean rank"
    said = (
        f"Over {plural(len(tolerances), 'data set')}, {leaders} ({whole['rank'].min():.1f}) of"
        f" {plural(len(whole), 'method')} ranked on all of them"
    )
    if others.empty:
        return f"{said}."
    names = ", ".join(f"{esc(row.method_title)} ({row.rank:.1f})" for row in others.itertuples())
    return (
        f"{said}, but {esc(first.iloc[0])} can't be told apart from {names}: on each data set their totals differ by no"
        " more than what is called no difference."
    )


def probe_lines(data: "ReportData", names: Sequence[str]) -> list[Section]:
    """Return what a probe reads per data set, one line per uncorrected method, one switch per target and metric."""
    values = {name: probing_values(data, name).query("correction == @RAW", local_dict={"RAW": RAW}) for name in names}
    sets, labels = [], []
    for target, metric, title in _PROBES:
        frames = {name: v[(v["target"] == target) & (v["metric"] == metric)] for name, v in values.items()}
        lines = _lines({n: f for n, f in frames.items() if len(f)}, lambda r: data.names.method(r["method"]), "value")
        if lines:
            floor = {
                n: round(float(f["baseline_majority"].mean()), 4)
                for n, f in frames.items()
                if f["baseline_majority"].notna().any()
            }
            sets.append(lines | ({_GUESS: floor} if floor else {}))
            labels.append({"name": title, "ylab": title})
    if not sets or len({n for s in sets for line in s.values() for n in line}) < 2:
        return []
    options: dict[str, Any] = {
        "categories": True,
        "xlab": "Data set",
        "ylab": labels[0]["ylab"],
        "tt_decimals": 3,
        "ymin": 0,
        "ymax": 1,
        **_style([n for s in sets for n in s]),
    }
    return [
        Section(
            "probing",
            "Probes per data set",
            "linegraph",
            sets,
            options=options | ({"data_labels": labels} if len(labels) > 1 else {}),
            description=(
                "Logistic regression on random folds, raw methods. Batch: lower is better; label: higher is better."
                f" The dashed line is what always saying the largest class scores.{_swapped(data)}"
            ),
        )
    ]


def size_section(data: "ReportData", tables: dict[str, "pd.DataFrame"]) -> list[Section]:
    """Return size of model and of its corpus against the total; needs three foundation models, with weights of their
    own, with a total in a data set.
    """
    models = {
        name: t[(t["family"] == "foundation_model") & t["total"].notna() & ~t["method"].isin(data.names.random_weights)]
        for name, t in tables.items()
    }
    if max((len(m) for m in models.values()), default=0) < MIN_MODELS:
        return []
    return _size_section(data, models)


def _size_section(data: "ReportData", models: dict[str, "pd.DataFrame"]) -> list[Section]:
    import numpy as np

    sizes = data.published.models
    rows, panels, unknown, counts = [], [], set(), set()
    for name, frame in models.items():
        joined = frame.merge(sizes, on="method")
        unknown |= set(frame["title"]) - set(joined["title"])
        if len(joined) < MIN_MODELS:
            continue
        counts.add(len(joined))
        cells, plots = [], []
        for column, title in _SIZES:
            logs = np.log2(joined[column].to_numpy(dtype=float))
            r, p = pearson(logs, joined["total"])
            cells.append(f"{number(r, 3)} ({number(p, 3)})")
            points = [
                Point(t, float(x), float(y), COLOURS["foundation_model"], f"{t}: log2 {x:.3f}, total {y:.3f}")
                for t, x, y in zip(joined["title"], logs, joined["total"], strict=True)
            ]
            plots.append(
                draw_scatter(
                    points,
                    Plot(
                        key=f"scfm-size-{slug(name)}-{column}",
                        xlab=f"{title}, log2 of millions",
                        ylab="Total (equal halves)",
                        legend={},
                        notes=[f"r {number(r, 3)}, p {number(p, 3)}, n {len(joined)}"],
                    ),
                )
            )
        rows.append([name, str(len(joined)), *cells])
        panels.append((name, Markup("").join(plots)))
    if not rows:
        return []
    n = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(counts.pop())
    left = f" Not shown, for their sizes are not known: {esc(listing(sorted(unknown)))}." if unknown else ""
    body = table(["Data set", "Models", *(f"{t}: Pearson r (p)" for _, t in _SIZES)], rows) + tabs(panels)
    return [
        Section(
            "sizes",
            "Size of model and corpus against total",
            "html",
            body,
            description=(
                f"<b>n = {n} models: too few for a conclusion.</b> Pearson's r between log2 of the size and the total,"
                " raw; p is two-sided, for single tests, under independent normal values. One model at the edge can"
                f" turn a slope round, and models differ in much besides size.{left}{_swapped(data)}"
            ),
        )
    ]
