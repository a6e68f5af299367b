"""Who is ranked with whom: embeddings of the same cells, scored with the primary keys, with a total, that are neither
controls nor made with the labels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from scfm.inputs.keys import PAIR_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

#: an embedding with a smaller share of the scored cells is scored but not ranked
MIN_COVERAGE = 0.9
#: columns that :func:`add_ranks` adds to the totals
COLUMNS = ["coverage", "rank_bio", "rank_batch", "rank_total", "rank_reason"]
_KEY = ["dataset", "embedding", *PAIR_COLUMNS, "scaling", "bio_weight"]
_VALUES = ["bio", "batch", "total"]


def coverage_of(scores: "pd.DataFrame", n_scored: Mapping[str, int]) -> "pd.Series":
    """Return the share of the data set's scored cells that every embedding has.

    Parameters
    ----------
    scores
        Rows of ``scores.tsv``.
    n_scored
        ``{data set: scored cells}``; a data set that is not in it has as many as its largest embedding.

    Returns
    -------
    0 to 1, by (data set, embedding).
    """
    cells = scores[scores["group"] == "all"].groupby(["dataset", "embedding"])["n_cells"].max().astype(float)
    largest = cells.groupby("dataset").max()
    known = {d: float(n_scored.get(d) or largest[d]) for d in largest.index}
    return (cells / cells.index.get_level_values("dataset").map(known)).rename("coverage")


def add_ranks(
    totals: "pd.DataFrame",
    coverage: "pd.Series",
    common: "pd.DataFrame | None" = None,
    min_coverage: float = MIN_COVERAGE,
    *,
    scored_again: Collection[str] = (),
    controls: Collection[str] = (),
    other_keys: "Sequence[bool] | pd.Series | None" = None,
    reads_labels: "Sequence[bool] | pd.Series | None" = None,
) -> "pd.DataFrame":
    """Return the totals with the values that ranks and verdicts are based on.

    Parameters
    ----------
    totals
        Those of :func:`scfm.metrics.totals.compute_totals`.
    coverage
        That of :func:`coverage_of`.
    common
        Totals on the cells that all ranked embeddings of a data set have; needed of ``scored_again`` only.
    min_coverage
        Smallest coverage of an embedding that is ranked.
    scored_again
        Data sets whose ranked embeddings differ in cells: their ranks are based on ``common`` only.
    controls
        Methods that are controls beside those of the family ``control``: models with random weights.
    other_keys
        Which rows are of other than the primary keys; none if not given.
    reads_labels
        Which rows are of a method or correction that was given the labels; none if not given.

    Returns
    -------
    ``totals`` and ``COLUMNS``. ``rank_bio``, ``rank_batch``, ``rank_total``: on the common cells, NaN where the
    embedding is not ranked; ``rank_reason``: ``control``, ``other_keys``, ``reads_labels``, ``incomplete``,
    ``batch_is_biology``, ``no_total``, ``no_common_total`` (a total, but none on the common cells) or empty; the first
    that applies.
    """
    import numpy as np

    found = totals.merge(coverage.reset_index(), how="left", on=["dataset", "embedding"])
    values = found[_VALUES].astype(float)
    reason = values["total"].isna().map({True: "no_total", False: ""})
    second = found["dataset"].isin(list(scored_again)).to_numpy()
    if second.any():
        known = totals.iloc[:0] if common is None else common
        joined = found[_KEY].merge(known[[*_KEY, *_VALUES]], how="left", on=_KEY)
        values.loc[second] = joined.loc[second, _VALUES].astype(float)
        reason = reason.mask((reason == "") & values["total"].isna(), "no_common_total")
    reason = reason.mask(found["reason"] == "batch_is_biology", "batch_is_biology")
    reason = reason.mask(found["coverage"] < min_coverage, "incomplete")
    for code, rows in (("reads_labels", reads_labels), ("other_keys", other_keys)):
        if rows is not None:
            reason = reason.mask(np.asarray(rows, dtype=bool), code)
    reason = reason.mask((found["family"] == "control") | found["method"].isin(list(controls)), "control")
    ranked = reason == ""
    for column in _VALUES:
        found[f"rank_{column}"] = values[column].where(ranked).astype(float)
    found["rank_reason"] = reason
    return found[[*totals.columns, *COLUMNS]]
