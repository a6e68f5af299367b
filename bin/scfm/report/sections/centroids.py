"""Centroids per batch and label: the alignment rate beside its chance level, and maps where the run made them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup

from scfm.report.page.html import number
from scfm.report.page.mqc import Section
from scfm.report.page.tables import Heat, heat_table, tabs
from scfm.report.page.templates import render
from scfm.report.view.study import CENTRED, RAW
from scfm.report.view.summary import summarise
from scfm.text import plural
from scfm.umap.plots import palette

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: bytes of all maps of centroids in a report together
MAP_BUDGET = 1_500_000
_KINDS = {"umap": "UMAP", "tsne": "t-SNE"}
_PANEL, _GAP = 210, 14
#: names in a legend before it ends
_LEGEND = 60


def alignment_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the alignment rates of one data set; nothing where no centroid counts."""
    rows = data.of("centroids", dataset)
    rates = alignment_rates(rows)
    if rates["rate"].isna().all():
        return []
    return [rate_section(data, dataset, rows, rates, summarise(data, dataset))]


def map_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the maps of centroids of one data set; nothing where no centroid counts.

    All data sets share ``MAP_BUDGET``: the best totals come first and the rest is counted.
    """
    rows = data.of("centroids", dataset)
    rates = alignment_rates(rows)
    if rates["rate"].isna().all():
        return []
    budget = MAP_BUDGET // max(1, len(data.dataset_names()))
    return map_section(data, rows, rates, summarise(data, dataset), budget=budget)


def alignment_rates(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return ``rate`` and ``chance`` per method and correction, means over seeds; NaN where no centroid counts."""
    counted = rows.assign(aligned=rows["aligned"].astype("Float64").astype(float), chance=rows["chance"].astype(float))
    one = counted.groupby(["method", "correction", "seed"]).agg(
        rate=("aligned", "mean"), chance=("chance", "mean"), counted=("aligned", "count"), centroids=("aligned", "size")
    )
    return one.groupby(["method", "correction"]).mean()


def rate_section(
    data: "ReportData", dataset: str, rows: "pd.DataFrame", rates: "pd.DataFrame", order: "pd.DataFrame"
) -> Section:
    """Return the rates by method and correction, and by label."""
    methods = list(dict.fromkeys(order["method"]))
    corrections = [RAW, *sorted(set(order["correction"]) - {RAW})]
    values: dict[tuple[str, str], float] = {}
    for (method, correction), row in rates.iterrows():
        values[data.names.method(method), correction] = row["rate"]
        values[data.names.method(method), "Chance"] = row["chance"]
    heat = Heat(corner="Method", controls={data.names.method(m) for m in data.names.controls})
    overall = heat_table([data.names.method(m) for m in methods], [*corrections, "Chance"], values, heat)
    panels = [("All labels", overall), ("By label", _by_label(data, dataset, rows, order))]
    kept = rates.dropna(subset=["rate"]).iloc[0]
    return Section(
        "alignment",
        "Centroid alignment",
        "html",
        tabs(panels),
        description=(
            "The mean embedding of every batch and label: how often is the nearest one of <i>another</i> batch the"
            " same label? Higher is better, 1 at most. <b>Chance</b> is the rate if the nearest were drawn at random"
            f" among the other batches' centroids. {kept['counted']:.0f} of"
            f" {plural(round(kept['centroids']), 'centroid')} count: their label occurs in another batch. Every"
            " centroid counts the same, whatever its number of cells. The rate measures only whether labels meet across"
            " batches, not how far apart they stay: a shift that is the same for all labels costs nothing here."
        ),
    )


def _by_label(data: "ReportData", dataset: str, rows: "pd.DataFrame", order: "pd.DataFrame") -> str:
    """Return label x embedding, uncorrected and centred ones without controls."""
    sizes = data.facts(dataset).get("labels", {})
    known = rows[rows["aligned"].notna()].assign(aligned=lambda r: r["aligned"].astype(float))
    shown = order[~order["is_control"] & order["correction"].isin([RAW, CENTRED])]
    titles = {(r.method, r.correction): r.title for r in shown.itertuples()}
    means = known.groupby(["label", "method", "correction"])["aligned"].mean()
    labels = sorted(known["label"].unique(), key=lambda x: (-sizes.get(x, 0), x))
    columns = [t for k, t in titles.items() if k in set(zip(known["method"], known["correction"], strict=True))]
    return heat_table(
        labels,
        columns,
        {(x, titles[m, v]): value for (x, m, v), value in means.items() if (m, v) in titles},
        Heat(corner="Label"),
    )


def map_section(
    data: "ReportData", rows: "pd.DataFrame", rates: "pd.DataFrame", order: "pd.DataFrame", *, budget: int
) -> list[Section]:
    """Return the maps: by label and by batch, raw beside centred, best total first until the budget is used."""
    kinds = [k for k in _KINDS if rows[f"{k}_1"].notna().any()]
    if not kinds:
        return []
    colours = {key: palette(rows[key].unique().tolist()) for key in ("label", "batch")}
    panels: list[Markup] = []
    used = left_out = 0
    for method in dict.fromkeys(order.loc[~order["is_control"], "method"]):
        of_method = rows[rows["method"] == method]
        drawn = Markup("").join(
            _figure(data, of_method[of_method["seed"] == of_method["seed"].min()], kind, colours, rates)
            for kind in kinds
        )
        if used + len(drawn) > budget:
            left_out += 1
            continue
        used += len(drawn)
        panels.append(drawn)
    rest = (
        f" {plural(left_out, 'more method')} left out to keep the report small; their places are in"
        " tables/centroids.tsv."
        if left_out
        else ""
    )
    legends = {key.capitalize(): dict(sorted(colours[key].items())) for key in ("label", "batch")}
    return [
        Section(
            "centroid_maps",
            "Maps of centroids",
            "html",
            render("colour_keys.html.j2", legends=legends, most=_LEGEND) + Markup("").join(panels),
            description=(
                "Every point is the mean of one batch and label; left half raw, right half centred, each by label and"
                " by batch; the first seed. Where labels gather on the left already, batches do not tear them apart. A"
                f" map is a picture, not evidence: the rate is computed in the whole embedding.{rest}"
            ),
        )
    ]


def _figure(
    data: "ReportData", rows: "pd.DataFrame", kind: str, colours: dict[str, dict[str, str]], rates: "pd.DataFrame"
) -> Markup:
    """Return up to four panels of one method side by side; nothing without coordinates."""
    panels, said, chance = [], [], math.nan
    for correction, word in ((RAW, "raw"), (CENTRED, "centred")):
        part = rows[(rows["correction"] == correction) & rows[f"{kind}_1"].notna()]
        if part.empty:
            continue
        rate = rates.loc[(part["method"].iloc[0], correction)]
        said.append(f"{word} {number(rate['rate'])}")
        chance = rate["chance"]
        for key in ("label", "batch"):
            panels.append({"caption": f"{word}, by {key}", "paths": _paths(part, kind, key, colours[key])})
    if not panels:
        return Markup("")
    title = data.names.method(rows["method"].iloc[0])
    return render(
        "centroid_maps.html.j2",
        title=title,
        kind=_KINDS[kind],
        said=said,
        chance=chance,
        panels=panels,
        size=_PANEL,
        step=_PANEL + _GAP,
    )


def _paths(rows: "pd.DataFrame", kind: str, key: str, colours: dict[str, str]) -> list[tuple[str, str]]:
    """Return colour and dots of one panel, one path per colour.

    Dots are strokes of no length: a tenth of the bytes of circles, and of what matplotlib writes.
    """
    places = rows[[f"{kind}_1", f"{kind}_2"]].to_numpy(dtype=float)
    low, span = places.min(axis=0), (places.max(axis=0) - places.min(axis=0)).max() or 1.0
    spots = (8 + (places - low) / span * (_PANEL - 16)).round().astype(int)
    names = rows[key].to_numpy()
    return [
        (colours[name], "".join(f"M{x} {_PANEL - y}h0" for x, y in spots[names == name])) for name in sorted(set(names))
    ]
