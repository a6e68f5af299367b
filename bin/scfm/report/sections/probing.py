"""What a simple classifier can read out of an embedding: labels (wanted) and batches (not wanted), beside chance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scfm.report.page.html import number
from scfm.report.page.mqc import Section
from scfm.report.page.tables import CONTROL, Cell, Column, Row, data_table, heat_cell
from scfm.report.view.summary import summarise

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

METRICS = {"auroc": "AUROC", "balanced_accuracy": "Balanced accuracy"}
#: AUROC comes first: it depends neither on a threshold nor on the sizes of the classes
HEADLINE = "auroc"
_SCHEMES = {"kfold": "random folds", "leave_one_batch_out": "batch held out"}
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
    order = summarise(data, dataset)
    controls = set(order.loc[order["is_control"], "title"])
    return [s for s in (label_plot(rows), batch_plot(rows), probing_table(rows, controls)) if s]


def probing_means(data: "ReportData", dataset: str) -> "pd.DataFrame":
    """Return the shown metrics and their baselines, means over folds and seeds, in the order of the summary; the p
    value is the highest over seeds.
    """
    probing = data.of("probing", dataset)
    chosen = probing[
        (probing["fold"] == "mean")
        & (probing["group"] == "all")
        & probing["metric"].isin(METRICS)
        & (probing["status"] == "ok")
    ]
    numbers = ["value", "baseline_majority", "baseline_permuted"]
    by = chosen.groupby(["method", "correction", "target", "scheme", "classifier", "metric"], as_index=False)
    means = by[numbers].mean()
    means["p_value"] = by["p_value"].max()["p_value"]  # over seeds: the most cautious
    order = summarise(data, dataset)[["title", "method", "correction"]].reset_index(names="place")
    return means.merge(order, on=["method", "correction"]).sort_values(
        ["place", "scheme", "classifier", "metric"], ignore_index=True
    )


def label_plot(rows: "pd.DataFrame") -> Section | None:
    """Return label prediction: random folds beside held-out batches, with the two baselines."""
    rows = rows[rows["target"] == "label"]
    if rows.empty:
        return None
    sets, labels = [], []
    for metric, metric_title in METRICS.items():
        for classifier, title in _CLASSIFIERS.items():
            part = rows[(rows["classifier"] == classifier) & (rows["metric"] == metric)]
            if len(part):
                sets.append(_bars(part, "scheme"))
                labels.append({"name": f"{title.capitalize()}, {metric_title}", "ylab": metric_title})
    return Section(
        "probe_label",
        "Labels predicted from the embedding",
        "bargraph",
        sets,
        description=(
            "AUROC (each label against the rest, mean over labels; 0.5 is chance) or balanced accuracy, mean over folds"
            " and seeds; higher is better. With random folds a cell's own batch is in the training part, so nearly"
            " every embedding does well; <b>with a batch held out</b> the classifier must carry labels over to a batch"
            " it has never seen. Grey: guessing the largest class, and training on permuted labels."
        ),
        options=_bar_options(labels),
        extra={"categories": [_categories({s: _SCHEMES[s] for s in _SCHEMES if s in set(rows["scheme"])})] * len(sets)},
    )


def batch_plot(rows: "pd.DataFrame") -> Section | None:
    """Return batch prediction by both classifiers, beside the two baselines; lower is better."""
    rows = rows[(rows["target"] == "batch") & (rows["scheme"] == "kfold")]
    if rows.empty:
        return None
    shown = {m: title for m, title in METRICS.items() if (rows["metric"] == m).any()}
    classifiers = {c: title.capitalize() for c, title in _CLASSIFIERS.items() if (rows["classifier"] == c).any()}
    return Section(
        "probe_batch",
        "Batches predicted from the embedding",
        "bargraph",
        [_bars(rows[rows["metric"] == metric], "classifier") for metric in shown],
        description=(
            "AUROC (each batch against the rest, mean over batches; 0.5 is chance) or balanced accuracy, mean over"
            " folds and seeds; <b>lower is better</b>. Grey: guessing the largest batch, and training on batches"
            " permuted within labels, which shows what the composition of the batches gives away. Nearest neighbours"
            " see curved batch effects that a straight cut of logistic regression does not, as after batch centring."
        ),
        options=_bar_options([{"name": title, "ylab": title} for title in shown.values()]),
        extra={"categories": [_categories(classifiers)] * len(shown)},
    )


def _bars(rows: "pd.DataFrame", column: str) -> dict[str, dict[str, float]]:
    """Return bars by embedding; the baselines are the means over the bars beside them."""
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
        "ylab": METRICS[HEADLINE],
        "hide_zero_cats": False,
    }
    return {**options, "data_labels": labels} if len(labels) > 1 else options


def probing_table(rows: "pd.DataFrame", controls: "set[str]") -> Section:
    """Return all probes as a table: AUROC, and the p value where there is one."""
    combinations = (
        rows[["target", "scheme", "classifier"]]
        .drop_duplicates()
        .sort_values(["target", "scheme", "classifier"], ascending=[False, True, False])
    )
    heads: list[Column] = []
    columns: list[dict[str, Cell]] = []
    for target, scheme, classifier in combinations.itertuples(index=False):
        part = rows[(rows["target"] == target) & (rows["scheme"] == scheme) & (rows["classifier"] == classifier)]
        part = part[part["metric"] == HEADLINE]
        what = f"{target.capitalize()}{', held out' if scheme != 'kfold' else ''}"
        short = "kNN" if classifier == "knn" else "LR"
        words = f"Predicting {target} by {_CLASSIFIERS.get(classifier, classifier)}, {_SCHEMES[scheme]}"
        lower = target == "batch"
        heads.append(Column(f"{what} ({short})", f"{words}; AUROC (0-1, {'lower' if lower else 'higher'} is better)"))
        columns.append({r.title: heat_cell(r.value, lower_better=lower) for r in part.itertuples()})
        tested = part[part["p_value"].notna()]
        if len(tested):
            tip = f"{words}: share of permutations with at least this AUROC; above 0.05 it is a guess"
            heads.append(Column(f"{what} ({short}, p)", tip))
            columns.append({r.title: Cell(number(r.p_value, 3)) for r in tested.itertuples()})
    missing = Cell("–", css="scfm-none", sort="")
    body = [
        Row(str(title), [c.get(title, missing) for c in columns], CONTROL if title in controls else "")
        for title in dict.fromkeys(rows["title"])
    ]
    return Section(
        "probe_table",
        "All probes",
        "html",
        data_table(heads, body, corner="Embedding", css="scfm-heat"),
        description=(
            "AUROC, 0.5 is chance; dark is good in every column. Balanced accuracy, accuracy, macro-F1, baselines and"
            " every class are in the table of all values."
        ),
    )
