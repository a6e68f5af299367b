"""One row per method and correction: everything that the overview figure, the trade-off and the method cards show."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scfm.report.tables.totals import Limits, default_total
from scfm.report.view.probes import Probe, batch_probes
from scfm.report.view.summary import FLOOR_CONTROLS, summarise

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: a label with fewer scored cells is never called the weakest one
MIN_LABEL_CELLS = 20
RANKED, NOT_RANKED, NO_SCORES, CONTROL = "ranked", "not_ranked", "no_scores", "control"
#: metrics of batch mixing that have values by label, the one that every profile has first
LABEL_METRICS = ("bras", "kbet", "ilisi", "cilisi")
_SHOWN = ("error", "warning")


@dataclass(frozen=True)
class Spread:
    """A mean over seeds with the lowest and the highest seed (0 to 1, higher is better); NaN without a value."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.mean)

    @property
    def varies(self) -> bool:
        """Whether more than one seed was run, so that there is an interval to show."""
        return self.known and self.n > 1


NOTHING = Spread(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True)
class Weakest:
    """The label with the lowest value of a metric, its cells, the metric, and how many labels can't be told from it."""

    label: str
    value: float
    n_cells: int
    metric: str
    ties: int = 0


@dataclass(frozen=True)
class EmbeddingRow:
    """One method and correction on one data set.

    Attributes
    ----------
    group
        ``ranked``, ``not_ranked`` (scored, with ``note`` saying why it is not ranked), ``no_scores`` or ``control``.
    note
        What became of it, empty where there is nothing to say.
    total, bio, batch
        The first total of ``--total_weights`` and its parts.
    probe, weakest
        None where there is none.
    metrics, reasons
        ``{metric: mean over seeds}`` and ``{metric: reason code}`` of those without a value.
    warnings
        Sentences of the messages about it; a seed is named where the message has one.
    role
        ``floor`` or ``ceiling`` for the two controls that mark the ends of the scale of bio.
    """

    method: str
    correction: str
    title: str
    family: str
    group: str
    note: str = ""
    total: Spread = NOTHING
    bio: Spread = NOTHING
    batch: Spread = NOTHING
    probe: Probe | None = None
    weakest: Weakest | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    role: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Method and correction."""
        return self.method, self.correction


def embedding_rows(data: "ReportData", dataset: str) -> list[EmbeddingRow]:
    """Return a row per planned method and correction of a data set, highest first total first.

    Ranked embeddings come first, then those that are scored and not ranked (incomplete, bio no better than the floor,
    made with the labels, no total), those without scores, and the controls. Without any total (a biological batch) the
    order is by bio.
    """
    return list(data.remembered("rows", dataset, lambda: _embedding_rows(data, dataset)))


def _embedding_rows(data: "ReportData", dataset: str) -> list[EmbeddingRow]:
    """Make the rows of :func:`embedding_rows`."""
    table = summarise(data, dataset)
    spreads = _spreads(data, dataset)
    metrics, reasons = _metrics(data, dataset)
    probes, weakest = batch_probes(data, dataset), weakest_labels(data, dataset)
    ends = _ends(table)
    rows = []
    for place, record in enumerate(table.to_dict("records")):
        key = (record["method"], record["correction"])
        group, note = _group(record, has_metrics=any(map(math.isfinite, metrics.get(key, {}).values())))
        rows.append(
            EmbeddingRow(
                *key,
                title=record["title"],
                family=record["family"],
                group=group,
                note=note,
                **spreads.get(key, {}),
                probe=probes.get(key),
                weakest=weakest.get(key),
                metrics=metrics.get(key, {}),
                reasons=reasons.get(key, {}),
                warnings=tuple(warnings_of(data, dataset, *key)),
                role=ends.get(place, ""),
            )
        )
    order = (RANKED, NOT_RANKED, NO_SCORES, CONTROL)
    return sorted(rows, key=lambda r: (order.index(r.group), _low(r.total), _low(r.bio)))


def _low(value: Spread) -> float:
    return -value.mean if value.known else math.inf


def _group(row: dict[str, Any], *, has_metrics: bool) -> tuple[str, str]:
    """Return the group of a row of :func:`summarise`, and why it is not ranked; a graph has metrics and no means."""
    if row["is_control"]:
        return CONTROL, "" if row["outcome"] == "ok" else row["outcome"]
    if math.isnan(row["bio"]) and math.isnan(row["batch"]):
        return NOT_RANKED if has_metrics else NO_SCORES, row["outcome"]
    if row["at_floor"]:
        return NOT_RANKED, "bio no better than the floor"
    if row["reads_labels"]:
        return NOT_RANKED, "made with the labels that score it" if row["outcome"] == "ok" else row["outcome"]
    if row["outcome"] != "ok":
        return NOT_RANKED, row["outcome"].removesuffix(": not ranked")
    return (NOT_RANKED, "no total") if math.isnan(row["rank_total"]) else (RANKED, "")


def _ends(table: "pd.DataFrame") -> dict[int, str]:
    """Return which controls are the floor and the ceiling of bio, by the number of their row; the random twins of
    models are neither.
    """
    controls = table[table["is_control"] & (table["family"] == "control") & table["bio"].notna()]
    unrelated = controls[controls["method"].isin(FLOOR_CONTROLS)]
    rest = controls.drop(unrelated.index)
    found = {int(unrelated["bio"].idxmax()): "floor"} if len(unrelated) else {}
    return found | ({int(rest["bio"].idxmax()): "ceiling"} if len(rest) else {})


def _spreads(data: "ReportData", dataset: str) -> dict[tuple[str, str], dict[str, Spread]]:
    """Return total, bio and batch over the seeds of every method and correction."""
    totals = default_total(data.of("totals", dataset), data.params)
    found: dict[tuple[str, str], dict[str, Spread]] = {}
    for key, part in totals.groupby(["method", "correction"]):
        values = {c: part[c].astype(float).dropna() for c in ("total", "bio", "batch")}
        found[key] = {c: Spread(v.mean(), v.min(), v.max(), len(v)) for c, v in values.items() if len(v)}
    return found


def _metrics(data: "ReportData", dataset: str) -> tuple[dict, dict]:
    """Return ``{(method, correction): {metric: value}}`` over all cells, and the reasons of those without a value."""
    scores = data.of("scores", dataset)
    whole = scores[scores["group"] == "all"]
    found: tuple[dict, dict] = ({}, {})
    for kept, made in zip(found, values_and_reasons(whole, "metric"), strict=True):
        for (metric, key), value in made.items():
            kept.setdefault(key, {})[metric] = value
    return found


def values_and_reasons(rows: "pd.DataFrame", by: str) -> tuple[dict, dict]:
    """Return means over seeds, and the reasons of what has no value.

    Parameters
    ----------
    rows
        Rows with ``method, correction, value, reason``.
    by
        Column of the first part of a key.

    Returns
    -------
    ``{(value of by, (method, correction)): mean}`` and ``{(value of by, (method, correction)): reason code}``.
    """
    values, reasons = {}, {}
    for (name, *key), part in rows.groupby([by, "method", "correction"]):
        known = part["value"].astype(float).dropna()
        if len(known):
            values[name, tuple(key)] = float(known.mean())
        else:
            reasons[name, tuple(key)] = str(part["reason"].iloc[0]) or "not_defined"
    return values, reasons


def label_metric(scores: "pd.DataFrame") -> str:
    """Return the metric of batch mixing by which labels are compared: the first that has values by label."""
    parts = scores[(scores["group"] != "all") & (scores["status"] == "ok")]
    return next((m for m in LABEL_METRICS if (parts["metric"] == m).any()), "")


def weakest_labels(data: "ReportData", dataset: str) -> dict[tuple[str, str], Weakest]:
    """Return the label whose batches mix worst, by method and correction, among labels of at least 20 scored cells.

    A single such label is not the weakest of anything, and gives none. Labels within ``--tie_tolerance`` of the lowest
    are counted as ties.
    """
    scores, tie = data.of("scores", dataset), Limits.of(data.params).tie
    metric = label_metric(scores)
    parts = scores[(scores["metric"] == metric) & (scores["group"] != "all") & (scores["status"] == "ok")]
    parts = parts[parts["n_cells"] >= MIN_LABEL_CELLS].astype({"value": float})
    found = {}
    for key, rows in parts.groupby(["method", "correction"]):
        means = rows.groupby("group")["value"].mean()
        if len(means) > 1:
            label = str(means.idxmin())
            cells = int(rows.loc[rows["group"] == label, "n_cells"].max())
            ties = int((means <= means.min() + tie).sum()) - 1
            found[key] = Weakest(label, float(means.min()), cells, metric, ties)
    return found


def warnings_of(data: "ReportData", dataset: str, method: str, correction: str) -> Iterable[str]:
    """Return the errors and warnings about one method and correction, errors first, the same sentence once.

    A message that names no embedding is about the method, and so about what was corrected from it too.
    """
    said: dict[str, None] = {}
    for severity in _SHOWN:
        for entry in data.messages:
            if entry["severity"] == severity and _is_about(entry, dataset, method, correction):
                seed = entry["seed"]
                named = "" if seed is None or f"eed {seed}" in entry["text"] else f" (seed {seed})"
                said[f"{entry['code']}{named}: {entry['text']} {entry['advice']}".rstrip()] = None
    return said


def _is_about(entry: dict[str, Any], dataset: str, method: str, correction: str) -> bool:
    """Tell whether a message is about a method and correction: by its embedding, its values or its method."""
    if entry["dataset"] != dataset or entry["method"] != method:
        return False
    values = entry["values"] or {}
    named = [entry["embedding"]] if entry["embedding"] else values.get("embeddings") or []
    if named:
        return f"{method}.{correction}" in {str(n).rsplit(".", 1)[0] for n in named}
    return values.get("correction", correction) == correction
