"""Residual batch effect by label and pair of batches: is it there, which pair, and what causes it."""

from __future__ import annotations

import logging
from math import isnan
from typing import TYPE_CHECKING, Any

from scfm.diagnosis.causes import MEASURED, Explanation
from scfm.diagnosis.data import Cells, Embedded
from scfm.diagnosis.explanations import PairExplanations
from scfm.diagnosis.graph_test import GraphTest, split_test
from scfm.diagnosis.pairs import VOTES, BatchPair
from scfm.diagnosis.settings import DiagnosisSettings
from scfm.errors import NotApplicable
from scfm.metrics.lisi import cilisi
from scfm.metrics.scoring import group_name
from scfm.neighbors.search import restrict_neighbors
from scfm.neighbors.table import Neighbors

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

log = logging.getLogger(__name__)

#: permutations of the vote over all batches of a label: enough for its 99 % quantile
LABEL_PERMUTATIONS = 200
#: in the columns ``batch_a`` and ``batch_b``: the row is about all batches of the label
ALL = "all"
#: metrics of ``scores.tsv`` that the row of a label repeats
MIXING = ("bras", "cilisi", "batch_kl", "kbet")
COLUMNS = (
    "label",
    "batch_a",
    "batch_b",
    "n_a",
    "n_b",
    "level",
    "within_condition",
    "auroc",
    "null_mean",
    "null_q99",
    "n_permutations",
    "p_value",
    "q_value",
    "significant",
    *MIXING,
    *MEASURED,
    "cause",
    "causes",
    "n_genes",
    "top_genes",
    "shared_genes",
    "flags",
    "status",
    "reason",
)


def residual_rows(
    embedded: Embedded,
    explained: PairExplanations,
    settings: DiagnosisSettings,
    scores: "pd.DataFrame | None" = None,
) -> "pd.DataFrame":
    """Test every label and pair of batches of an embedding.

    Parameters
    ----------
    embedded
        The embedding.
    explained
        Causes of the data set.
    settings
        Thresholds.
    scores
        Rows of ``scores.tsv`` of this embedding with the primary keys, see :func:`mixing_of_labels`.

    Returns
    -------
    ``COLUMNS``: one row per label (``batch_a`` and ``batch_b`` are ``all``), and one per pair of its batches with at
    least ``min_cells`` cells each. Differences are those of ``batch_b`` minus ``batch_a``.
    """
    import numpy as np
    import pandas as pd

    cells = explained.explainer.cells
    tested = [(code, list(explained.finder.of_label(code, embedded.rows))) for code in range(len(cells.labels.names))]
    n_pairs = sum(len(pairs) for _, pairs in tested)
    # as many permutations as let a single difference among all tests pass Benjamini-Hochberg
    n_more = max(0, int(np.ceil(2 * n_pairs / settings.fdr)) - settings.permutations)
    rows: list[dict[str, Any]] = []
    mixing = mixing_of_labels(embedded, cells, scores)
    for code, pairs in tested:
        near = neighbors_in_label(embedded, cells, code)
        row = _label_row(code, embedded, near, cells, settings)
        rows.append(row | mixing[cells.labels.names[code]] | {"shared_genes": explained.shared_genes(code, pairs)})
        for pair in pairs:
            result = _test_pair(pair, embedded, near, settings, n_more)
            rows.append(_pair_row(pair, result, explained.of(pair), cells, settings))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return _judged(table, settings)


def neighbors_in_label(embedded: Embedded, cells: Cells, label: int) -> "tuple[np.ndarray, Neighbors | None]":
    """Return the cells of a label, as positions in the embedding, and their neighbours among each other.

    A few more neighbours than the vote needs, so that those of a pair of batches are mostly among them.
    """
    import numpy as np

    inside = np.flatnonzero(cells.labels.codes[embedded.rows] == label)
    if len(inside) < 2:
        return inside, None
    return inside, restrict_neighbors(embedded.near, embedded.coordinates[inside], inside, k=3 * VOTES + 1)


def _test_pair(
    pair: BatchPair,
    embedded: Embedded,
    near: "tuple[np.ndarray, Neighbors | None]",
    settings: DiagnosisSettings,
    n_more: int,
) -> GraphTest:
    """Test one pair of batches on the neighbours inside label and condition."""
    import numpy as np

    inside, known = near
    assert known is not None  # a pair has cells
    in_label = np.searchsorted(embedded.rows[inside], pair.rows)
    blocks, order = [], []
    for condition in np.unique(pair.conditions):
        here = np.flatnonzero(pair.conditions == condition)
        part = restrict_neighbors(known, embedded.coordinates[inside[in_label[here]]], in_label[here], k=VOTES + 1)
        blocks.append(_without_self(part.indices) + sum(map(len, order)))
        order.append(here)
    width = min(b.shape[1] for b in blocks)
    cells = np.concatenate(order)
    rng = np.random.default_rng([settings.seed, pair.label, pair.first, pair.second])
    return split_test(
        np.concatenate([b[:, :width] for b in blocks]),
        pair.split[cells],
        units=pair.units[cells],
        strata=pair.strata[cells],
        n_draws=settings.permutations,
        n_more=n_more,
        rng=rng,
    )


def _without_self(indices: "np.ndarray") -> "np.ndarray":
    """Return neighbours without the first column, the cell itself."""
    return indices[:, 1:]


def _pair_row(
    pair: BatchPair, test: GraphTest, why: Explanation, cells: Cells, settings: DiagnosisSettings
) -> dict[str, Any]:
    """Return the row of a pair; whether it is significant is known when all are tested."""
    return {
        "label": cells.labels.names[pair.label],
        "batch_a": cells.batches.names[pair.first],
        "batch_b": cells.batches.names[pair.second],
        "n_a": int((~pair.split).sum()),
        "n_b": int(pair.split.sum()),
        "level": pair.level,
        "within_condition": pair.within_condition,
        "auroc": test.auroc,
        "null_mean": test.null_mean,
        "null_q99": test.null_q99,
        "n_permutations": test.n_permutations,
        "p_value": test.p_value,
        **why.measured,
        "cause": why.cause(settings.genes),
        "causes": ",".join(why.causes),
        "n_genes": why.n_genes,
        "top_genes": ",".join(why.genes),
        "flags": "",
        "status": "ok",
        "reason": "",
    }


def _label_row(
    code: int,
    embedded: Embedded,
    near: "tuple[np.ndarray, Neighbors | None]",
    cells: Cells,
    settings: DiagnosisSettings,
) -> dict[str, Any]:
    """Return the row of a label: the vote over all its batches, mean of one against the rest."""
    import numpy as np

    inside, known = near
    name = cells.labels.names[code]
    row: dict[str, Any] = {
        "label": name,
        "batch_a": ALL,
        "batch_b": ALL,
        "n_a": len(inside),
        "level": "",
        "flags": "",
        "cause": "",
        "causes": "",
        "top_genes": "",
        **dict.fromkeys(MIXING, float("nan")),
    }
    batches = cells.batches.codes[embedded.rows[inside]]
    sizes = np.bincount(batches, minlength=len(cells.batches.names))
    large = np.flatnonzero(sizes >= settings.min_cells)
    if len(large) < 2:
        reason = "label_in_one_batch" if (sizes > 0).sum() < 2 else "too_few_cells"
        return row | {"status": "not_applicable", "reason": reason}
    chosen = np.flatnonzero(np.isin(batches, large))
    part = restrict_neighbors(known, embedded.coordinates[inside[chosen]], chosen, k=VOTES + 1)
    rng = np.random.default_rng([settings.seed, code])
    tests = [
        split_test(
            _without_self(part.indices),
            batches[chosen] == batch,
            units=np.arange(len(chosen)),
            strata=np.zeros(len(chosen), dtype=int),
            n_draws=LABEL_PERMUTATIONS,
            rng=rng,
        )
        for batch in large
    ]
    means = {f: float(np.mean([getattr(t, f) for t in tests])) for f in ("auroc", "null_mean", "null_q99")}
    return row | means | {"n_permutations": LABEL_PERMUTATIONS, "status": "ok", "reason": ""}


def mixing_of_labels(embedded: Embedded, cells: Cells, scores: "pd.DataFrame | None") -> "dict[str, dict[str, float]]":
    """Return the mixing metrics of every label: those in ``scores.tsv``, and CiLISI, which few profiles have.

    Returns
    -------
    ``{label: {metric: value}}``; NaN where a metric has no value.
    """
    found = {name: dict.fromkeys(MIXING, float("nan")) for name in cells.labels.names}
    label_of = {group_name(name): name for name in found}
    if scores is not None:
        for row in scores[(scores["status"] == "ok") & scores["metric"].isin(MIXING)].itertuples():
            if row.group in label_of:
                found[label_of[row.group]][row.metric] = float(row.value)
    if all(isnan(values["cilisi"]) for values in found.values()):
        try:
            labels = cilisi(embedded.metric_inputs(cells)).by_label
        except NotApplicable as error:
            log.info("no CiLISI: %s", error)
            return found
        for name, score in labels.items():
            found[name]["cilisi"] = float("nan") if score.value is None else score.value
    return found


def _judged(table: "pd.DataFrame", settings: DiagnosisSettings) -> "pd.DataFrame":
    """Add what needs all rows: q-values and flags of labels; a pair that is not significant has no cause."""
    import numpy as np
    from scipy.stats import false_discovery_control

    table = table.copy()
    pairs = table.index[(table["batch_a"] != ALL) | (table["batch_b"] != ALL)]
    table["significant"] = table["significant"].astype("boolean")
    if len(pairs):
        table.loc[pairs, "q_value"] = false_discovery_control(table.loc[pairs, "p_value"].to_numpy(dtype=float))
        significant = table.loc[pairs, "q_value"].astype(float) <= settings.fdr
        table.loc[pairs, "significant"] = significant.astype("boolean")
        table.loc[pairs[~significant.to_numpy()], "cause"] = ""
    labels = table.index.difference(pairs)
    strong = table.loc[pairs]
    strong = strong[strong["significant"].fillna(value=False).astype(bool) & (strong["auroc"] > settings.auroc)]
    tested = labels[(table.loc[labels, "status"] == "ok").to_numpy()]  # the others have too few cells to be judged
    cilisi = table.loc[tested, "cilisi"].astype(float)
    spread = 1.4826 * (cilisi - cilisi.median()).abs().median()
    for i in tested:
        row, flags = table.loc[i], []
        if row["auroc"] > settings.auroc and row["auroc"] > row["null_q99"]:
            flags.append("auroc")
        if (strong["label"] == row["label"]).any():
            flags.append("pair")
        if np.isfinite(cilisi[i]) and cilisi[i] < settings.cilisi:
            flags.append("cilisi")
        if np.isfinite(cilisi[i]) and cilisi[i] < cilisi.median() - 2 * spread:
            flags.append("below_other_labels")
        table.loc[i, "flags"] = ",".join(flags)
    return table
