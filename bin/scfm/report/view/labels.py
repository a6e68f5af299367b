"""Values by label: how well the batches of a label mix, and whether a probe recognises the label in a new batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scfm.report.tables.totals import TIE_TOLERANCE, Limits
from scfm.report.view.rows import MIN_LABEL_CELLS, values_and_reasons

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

Key = tuple[str, str]
_RECALL = "recall"


@dataclass(frozen=True)
class Grid:
    """One number per row (label) and column, with what is not shown and why.

    Attributes
    ----------
    name, title, group
        Of the metric; ``group`` is ``bio`` or ``batch``.
    cells
        ``{label: cells}``, largest first.
    numbers
        ``{(label, column): mean over seeds}``, 0 to 1, higher is better.
    reasons
        ``{(label, column): reason code}`` where there is no value.
    few
        Labels with fewer than 20 scored cells: shown in grey, never called the weakest.
    tie
        Differences up to this are called no difference.
    """

    name: str
    title: str
    group: str
    cells: dict[str, int]
    numbers: dict[tuple[str, Key], float]
    reasons: dict[tuple[str, Key], str] = field(default_factory=dict)
    tie: float = TIE_TOLERANCE

    @property
    def few(self) -> set[str]:
        """Labels with too few cells to be judged."""
        return {label for label, n in self.cells.items() if n < MIN_LABEL_CELLS}

    def weakest(self, column: Key) -> str:
        """Return the label with the lowest value in a column, among those with enough cells; empty if it is alone, or
        if another one can't be told from it.
        """
        known = sorted((v, x) for (x, c), v in self.numbers.items() if c == column and x not in self.few)
        return known[0][1] if len(known) > 1 and known[1][0] - known[0][0] > self.tie else ""


def metric_grids(data: "ReportData", dataset: str) -> list[Grid]:
    """Return a grid per metric in the total that has values by label: batch metrics first."""
    scores = data.of("scores", dataset)
    parts = scores[scores["group"] != "all"]
    chosen = data.metrics[data.metrics["name"].isin(parts["metric"]) & data.metrics["in_total"].astype(bool)]
    order, tie = sorted(chosen.to_dict("records"), key=lambda m: m["group"] != "batch"), Limits.of(data.params).tie
    grids = []
    for metric in order:
        rows = parts[parts["metric"] == metric["name"]]
        values, reasons = values_and_reasons(rows, "group")
        if values:
            cells = rows.groupby("group")["n_cells"].max()
            grids.append(Grid(metric["name"], metric["title"], metric["group"], _by_size(cells), values, reasons, tie))
    return grids


def recall_grid(data: "ReportData", dataset: str) -> Grid | None:
    """Return the recall of every label by nearest neighbours in a batch that was held out, mean over batches and seeds;
    None where no batch was held out.
    """
    rows = held_out_recall(data, dataset)
    rows = rows[rows["fold"] == "mean"]
    values, reasons = values_and_reasons(rows, "group")
    if not values:
        return None
    sizes = data.facts(dataset).get("labels", {})
    cells = rows.groupby("group")["n_test"].max()
    known = {label: int(sizes.get(label, n)) for label, n in cells.items()}
    tie = Limits.of(data.params).tie
    return Grid("held_out_recall", "Recall in a held-out batch", "bio", _by_size(known), values, reasons, tie)


def held_out_recall(data: "ReportData", dataset: str) -> "pd.DataFrame":
    """Return the rows of ``probing.tsv`` with the recall by label of nearest neighbours, one batch held out."""
    probing = data.of("probing", dataset)
    return probing[
        (probing["target"] == "label")
        & (probing["scheme"] == "leave_one_batch_out")
        & (probing["classifier"] == "knn")
        & (probing["metric"] == _RECALL)
        & (probing["group"] != "all")
    ]


def batch_pairs(data: "ReportData", dataset: str, columns: list[Key]) -> "pd.DataFrame":
    """Return the recall of every label in every held-out batch: mean, lowest and highest over the given embeddings.

    Returns
    -------
    Columns ``label, batch, mean, low, high, n_test``, without pairs that no embedding has.
    """
    import pandas as pd

    rows = held_out_recall(data, dataset)
    chosen = pd.MultiIndex.from_frame(rows[["method", "correction"]]).isin(columns)
    rows = rows[chosen & ~rows["fold"].isin(["mean", "sd"]) & (rows["status"] == "ok")]
    seeds = rows.astype({"value": float}).groupby(["group", "fold", "method", "correction"])["value"].mean()
    found = seeds.groupby(["group", "fold"]).agg(["mean", "min", "max"]).reset_index()
    found.columns = ["label", "batch", "mean", "low", "high"]
    sizes = rows.groupby(["group", "fold"])["n_test"].max().rename("n_test").reset_index()
    return found.merge(sizes.rename(columns={"group": "label", "fold": "batch"}), on=["label", "batch"])


def _by_size(cells: "pd.Series | dict[str, int]") -> dict[str, int]:
    return {str(x): int(n) for x, n in sorted(dict(cells).items(), key=lambda item: (-item[1], str(item[0])))}
