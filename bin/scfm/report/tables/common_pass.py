"""The further scoring passes in the tables: which data sets need them, what they should leave, and what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.metrics.common_cells import COMMON, HELD_OUT, has_seen_labels, lacks_cells
from scfm.registries.messages import message
from scfm.report.tables.names import Names
from scfm.text import listing

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.tables.load import Collected

#: pass -> its step
STEPS = {COMMON: "score_common", HELD_OUT: "score_held_out"}


def datasets_scored_again(found: "Collected") -> set[str]:
    """Return the data sets whose ranks are based on common cells: those whose ranked embeddings differ in cells.

    Where an embedding lacks cells and the list of the common cells is missing, whether they differ is unknown: such a
    data set counts, so that nothing is ranked on cells that may not be the same.
    """
    unknown = {s["dataset"] for s in found.sidecars if lacks_cells(s)} - set(found.common)
    return unknown | {name for name, facts in found.common.items() if facts["differ"]}


def expected(found: "Collected") -> dict[str, set[tuple[str, str]]]:
    """Return by step (data set, embedding) of everything that the further passes should score.

    Where the list of the cells of a pass is missing, that is every embedding that passed the validation gate.
    """
    wanted = {
        COMMON: (datasets_scored_again(found), found.common),
        HELD_OUT: ({s["dataset"] for s in found.sidecars if has_seen_labels(s)}, found.held_out),
    }
    steps = {}
    for kind, (datasets, lists) in wanted.items():
        listed = {(name, e) for name in datasets & set(lists) for e in lists[name]["embeddings"]}
        unlisted = datasets - set(lists)
        every = {(s["dataset"], s["embedding"]) for s in found.sidecars if s["dataset"] in unlisted}
        steps[STEPS[kind]] = listed | every
    return steps


def common_messages(found: "Collected", totals: "pd.DataFrame", names: Names) -> list[dict[str, Any]]:
    """I-RANK-01: the number of cells behind the ranks. W-RANK-02: embeddings without a total on these cells.

    Parameters
    ----------
    totals
        Those of the primary keys, with ranks.
    """
    told = []
    for dataset in sorted(datasets_scored_again(found)):
        facts = found.common.get(dataset)
        if facts:
            numbers = {key: facts[key] for key in ("n_common", "n_scored")} | {"n_ranked": len(facts["ranked"])}
            share = facts["n_common"] / facts["n_scored"]
            told.append(message("I-RANK-01", share=share, dataset=dataset, values=numbers))
        rows = totals[(totals["dataset"] == dataset) & (totals["rank_reason"] == "no_common_total")]
        without = sorted({names.method(r.method, r.correction) for r in rows.itertuples()})
        if without:
            told.append(
                message(
                    "W-RANK-02",
                    shown=listing(without),
                    dataset=dataset,
                    values={"embeddings": sorted(rows["embedding"].unique())},
                )
            )
    return told
