"""Controls: whether each has the scores that are known in advance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scfm.report.page.html import number
from scfm.report.page.mqc import Section
from scfm.report.page.tables import table
from scfm.report.page.templates import render
from scfm.report.tables.totals import Limits
from scfm.report.view.summary import summarise

if TYPE_CHECKING:
    import pandas as pd

    from scfm.report.view.data import ReportData

#: controls whose labels are gone, and the one whose labels are the embedding
_FLOOR, _CEILING = ("random", "shuffled", "shuffled_within_batch"), "label_onehot"
#: the control that keeps the batch effect, and the one without it
_KEPT, _REMOVED = "shuffled_within_batch", "shuffled_within_label"
_HEAD = ["Control", "Known in advance", "Bio", "Batch", "As expected"]


def control_sections(data: "ReportData", dataset: str) -> list[Section]:
    """Return the controls of a data set with what is known of them; nothing where none has scores."""
    rows = summarise(data, dataset)
    rows = rows[rows["bio"].notna() | rows["batch"].notna()]
    controls = rows[rows["is_control"]]
    if controls.empty:
        return []
    found = expectations(rows, Limits.of(data.params).tie)
    missed = [data.names.method(method) for method, (_, met) in found.items() if met is False]
    said = (
        f"Not as expected: {', '.join(missed)}. Find out why before you use any score."
        if missed
        else "Every control that could be judged is where it is expected."
    )
    words = {True: "yes", False: "no", None: "not judged"}
    body = [
        [r.title, found[r.method][0], number(r.bio), number(r.batch), words[found[r.method][1]]]
        for r in controls.itertuples()
        if r.method in found
    ]
    # where all is well the sentence is enough: the table unfolds from it
    shown = render("said_table.html.j2", sentences=[said] if missed else [], table=table(_HEAD, body))
    return [
        Section(
            "controls",
            "Are the controls where they must be",
            "html",
            shown if missed else render("folded.html.j2", summary=said, body=shown),
            description=(
                "The scores of a control follow from how it is made, whatever the data. If one is elsewhere, look at"
                " labels, batches and metrics before any method. Differences within the tolerance don't count."
            ),
        )
    ]


def expectations(rows: "pd.DataFrame", tolerance: float) -> dict[str, tuple[str, bool | None]]:
    """Return what is known of every control of a run and whether it holds.

    Parameters
    ----------
    rows
        ``method, correction, is_control, bio, batch``, as :func:`~scfm.report.view.summary.summarise` returns them.
    tolerance
        Differences up to this are no difference.

    Returns
    -------
    Control -> the expectation in words, and whether it holds: None where a value is not defined.
    """
    raw = rows[rows["correction"] == "raw"].set_index("method")
    bio, batch, control = raw["bio"], raw["batch"], raw["is_control"].astype(bool)
    known: dict[str, tuple[str, bool | None]] = {}
    best = float(bio[~control].max())
    for name in _FLOOR:
        if name in raw.index:
            known[name] = ("labels are lost: bio below that of the best method", _holds(bio[name] + tolerance, best))
    if _CEILING in raw.index:
        highest = _holds(float(rows["bio"].max()), bio[_CEILING] + tolerance)
        known[_CEILING] = ("labels are apart: no embedding has a higher bio", highest)
    if _REMOVED in raw.index:
        uncorrected = float(batch.reindex([_KEPT, "pca"]).max())
        mixed = _holds(uncorrected, batch[_REMOVED] + tolerance)
        known[_REMOVED] = ("batches are mixed within labels: batch not below uncorrected PCA", mixed)
    return known


def _holds(low: float, high: float) -> bool | None:
    """Return whether a value is at most another one; None where one of them is not defined."""
    return None if math.isnan(low) or math.isnan(high) else bool(low <= high)
