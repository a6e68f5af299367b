"""The study's CSV of linear probing (stage 6): ``model_name, fold, dataset, accuracy, f1_score, support``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_OVERALL = {"accuracy": "accuracy", "macro_f1": "f1_score", "n_test": "support"}
_CLASS = {"recall": "accuracy", "f1": "f1_score", "support": "support"}
COLUMNS = ["model_name", "fold", "dataset", "accuracy", "f1_score", "support"]


def paper_table(probing: "pd.DataFrame", *, model_name: str, target: str) -> "pd.DataFrame":
    """Return the study's table of one target: logistic regression, stratified folds.

    ``dataset`` is ``overall`` or a class, ``fold`` is 0, 1 ..., ``mean`` or ``std`` (sample sd); a class's accuracy is
    its recall. An absent class counts 0, also in mean and sd. Six decimals. Empty if the target was not defined.
    """
    import pandas as pd

    part = probing[
        (probing["target"] == target)
        & (probing["scheme"] == "kfold")
        & (probing["classifier"] == "logistic")
        & ~probing["fold"].isin(["mean", "sd"])
    ]
    if part.empty or not (part["status"] == "ok").any():
        return pd.DataFrame(columns=COLUMNS)
    whole = part[(part["group"] == "all") & part["metric"].isin(["accuracy", "macro_f1"])]
    sizes = whole[whole["metric"] == "accuracy"].assign(metric="n_test", value=lambda t: t["n_test"].astype(float))
    whole = pd.concat([whole, sizes]).assign(metric=lambda t: t["metric"].map(_OVERALL), group="overall")
    classes = part[(part["group"] != "all") & part["metric"].isin(_CLASS)]
    classes = classes.assign(metric=classes["metric"].map(_CLASS), value=classes["value"].fillna(0.0))
    wide = (
        pd.concat([whole, classes])
        .pivot_table(index=["group", "fold"], columns="metric", values="value", aggfunc="first")[COLUMNS[3:]]
        .reset_index()
    )
    grouped = wide.groupby("group")[COLUMNS[3:]]
    summaries = [grouped.mean().reset_index().assign(fold="mean"), grouped.std(ddof=1).reset_index().assign(fold="std")]
    table = pd.concat([wide, *summaries]).rename(columns={"group": "dataset"}).assign(model_name=model_name)
    return table.sort_values(["model_name", "dataset", "fold"])[COLUMNS].reset_index(drop=True).round(6)
