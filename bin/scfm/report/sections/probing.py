"""What a simple classifier can read out of an embedding: labels (wanted) and batches (not wanted), beside chance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scfm.report.page.mqc import Section
from scfm.report.view.summary import summarise

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

METRIC = "balanced_accuracy"
_SCHEMES = {"kfold": "5-fold", "leave_one_batch_out": "batch held out"}
_CLASSIFIERS = {"logistic": "logistic regression", "knn": "nearest neighbours"}
_COLOURS = {
    "kfold": "#6baed6",
    "leave_one_batch_out": "#08519c",
    "logistic": "#fb6a4a",
    "knn": "#a50f15",
    "majority": "#bdbdbd",
    "permuted": "#737373",
}


def probing_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the probing sections of one data set: label bars, batch bars and the table."""
    rows = probing_means(data, dataset)
    if rows.empty:
        return []
    return [s for s in (label_plot(rows), batch_plot(rows), probing_table(rows)) if s]


def probing_means(data: "ReportData", dataset: str) -> "pd.DataFrame":
    """Return the mean over folds and seeds of balanced accuracy and its baselines, in the order of the summary."""
    probing = data.of("probing", dataset)
    chosen = probing[
        (probing["fold"] == "mean")
        & (probing["group"] == "all")
        & (probing["metric"] == METRIC)
        & (probing["status"] == "ok")
    ]
    numbers = ["value", "baseline_majority", "baseline_permuted"]
    means = chosen.groupby(["method", "correction", "target", "scheme", "classifier"], as_index=False)[numbers].mean()
    order = summarise(data, dataset)[["title", "method", "correction"]].reset_index(names="place")
    return means.merge(order, on=["method", "correction"]).sort_values(
        ["place", "scheme", "classifier"], ignore_index=True
    )


def label_plot(rows: "pd.DataFrame") -> Section | None:
    """Return label prediction: random folds beside held-out batches, with the two baselines."""
    rows = rows[rows["target"] == "label"]
    if rows.empty:
        return None
    sets, labels = [], []
    for classifier, title in _CLASSIFIERS.items():
        part = rows[rows["classifier"] == classifier]
        if len(part):
            sets.append(_bars(part, "scheme"))
            labels.append({"name": title.capitalize(), "ylab": "Balanced accuracy"})
    return Section(
        "probe_label",
        "Labels predicted from the embedding",
        "bargraph",
        sets,
        description=(
            "Balanced accuracy, mean over folds and seeds; higher is better. With random folds a cell's own batch is in"
            " the training part, so nearly every embedding does well; <b>with a batch held out</b> the classifier must"
            " carry labels over to a batch it has never seen. Grey: guessing the largest class, and training on"
            " permuted labels."
        ),
        options=_bar_options(labels),
        extra={"categories": [_categories({s: _SCHEMES[s] for s in _SCHEMES if s in set(rows["scheme"])})] * len(sets)},
    )


def batch_plot(rows: "pd.DataFrame") -> Section | None:
    """Return batch prediction by both classifiers, beside the two baselines; lower is better."""
    rows = rows[(rows["target"] == "batch") & (rows["scheme"] == "kfold")]
    if rows.empty:
        return None
    return Section(
        "probe_batch",
        "Batches predicted from the embedding",
        "bargraph",
        [_bars(rows, "classifier")],
        description=(
            "Balanced accuracy, mean over folds and seeds; <b>lower is better</b>, and the grey baselines are as low as"
            " it gets. Nearest neighbours see curved batch effects that a straight cut of logistic regression misses,"
            " as after batch centring."
        ),
        options=_bar_options([]),
        extra={
            "categories": [
                _categories({c: _CLASSIFIERS[c].capitalize() for c in _CLASSIFIERS if c in set(rows["classifier"])})
            ]
        },
    )


def _bars(rows: "pd.DataFrame", column: str) -> dict[str, dict[str, float]]:
    """Return bars by embedding; the baselines are the means over the bars they stand beside."""
    bars: dict[str, dict[str, float]] = {}
    for title, part in rows.groupby("title", sort=False):
        bars[str(title)] = {r[column]: round(float(r["value"]), 4) for r in part.to_dict("records")}
        for kind in ("majority", "permuted"):
            floor = part[f"baseline_{kind}"].mean()
            if not math.isnan(floor):
                bars[str(title)][kind] = round(float(floor), 4)
    return bars


def _categories(shown: dict[str, str]) -> dict[str, dict[str, str]]:
    named = {**shown, "majority": "Baseline: largest class", "permuted": "Baseline: permuted"}
    return {key: {"name": name, "color": _COLOURS[key]} for key, name in named.items()}


def _bar_options(labels: list[dict[str, str]]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "stacking": "group",
        "sort_samples": False,
        "cpswitch": False,
        "ymin": 0,
        "ymax": 1,
        "tt_decimals": 3,
        "ylab": "Balanced accuracy",
        "hide_zero_cats": False,
    }
    return {**options, "data_labels": labels} if len(labels) > 1 else options


def probing_table(rows: "pd.DataFrame") -> Section:
    """Return all probes as a table, with what is lost when a batch is held out."""
    cells: dict[str, dict[str, Any]] = {}
    headers: dict[str, dict[str, Any]] = {}
    score = {"min": 0, "max": 1, "format": "{:,.2f}"}
    combinations = (
        rows[["target", "scheme", "classifier"]]
        .drop_duplicates()
        .sort_values(["target", "scheme", "classifier"], ascending=[False, True, False])
    )
    for target, scheme, classifier in combinations.itertuples(index=False):
        key = f"{target}_{scheme}_{classifier}"
        part = rows[(rows["target"] == target) & (rows["scheme"] == scheme) & (rows["classifier"] == classifier)]
        headers[key] = {
            "title": (
                f"{target.capitalize()}{', held out' if scheme != 'kfold' else ''}"
                f" ({'kNN' if classifier == 'knn' else 'LR'})"
            ),
            "description": (
                f"Predicting {target} by {_CLASSIFIERS.get(classifier, classifier)}, {_SCHEMES[scheme]}; balanced"
                " accuracy (0-1, " + ("higher" if target == "label" else "lower") + " is better)"
            ),
            "scale": "Greens" if target == "label" else "Reds",
            **score,
        }
        for r in part.itertuples():
            cells.setdefault(r.title, {})[key] = round(float(r.value), 4)
    for target, name in (("label", "Label chance"), ("batch", "Batch chance")):
        floors = (
            rows[rows["target"] == target]
            .groupby("title", sort=False)[["baseline_majority", "baseline_permuted"]]
            .mean()
            .max(axis=1)
        )
        headers[f"floor_{target}"] = {
            "title": name,
            "description": "The higher of the two baselines: largest class, permuted",
            "scale": False,
            **score,
        }
        for title, value in floors.dropna().items():
            cells[str(title)][f"floor_{target}"] = round(float(value), 4)
    return Section(
        "probe_table",
        "All probes",
        "table",
        cells,
        description="Balanced accuracy; accuracy, macro-F1 and every class are in tables/probing.tsv.",
        options={"col1_header": "Embedding", "sort_rows": False, "no_violin": True, "namespace": ""},
        extra={"headers": headers},
    )
