"""Rows of ``<dataset>.query.tsv``, and the table of the new cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scfm.errors import NotApplicable
from scfm.metrics.inputs import Groups, MetricInputs
from scfm.metrics.lisi import ilisi
from scfm.neighbors.search import find_neighbors
from scfm.query.transfer import calibration_error

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from scfm.query.reading import Query
    from scfm.query.transfer import Transferred

#: neighbours of the mixing of query and reference, self counted
_K = 90
#: quantities of all cells where a mapping was not run
_WHOLE = (
    "macro_f1",
    "accuracy",
    "calibration_error",
    "out_of_reference",
    "mixing",
    "seconds",
    "reference_seconds",
)


@dataclass(frozen=True)
class Outcome:
    """One mapping of a query.

    Attributes
    ----------
    reference, placed
        Coordinates of reference and query, shape (n, n_dims).
    labels
        Labels of the reference, None where a cell has none.
    found
        Labels transferred and cells outside.
    seconds
        Time of the mapping.
    reference_seconds
        Time of the method on the reference, the least that an integration of all cells takes; None where no method is
        needed.
    facts
        Facts of a training on the new cells; empty where there was none.
    """

    reference: "np.ndarray"
    placed: "np.ndarray"
    labels: "np.ndarray"
    found: "Transferred"
    seconds: float
    reference_seconds: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Undefined:
    """Why a mapping has no result.

    Attributes
    ----------
    status
        ``not_applicable`` or ``failed``.
    reason
        Reason code.
    """

    status: str
    reason: str


def rows_of(about: Mapping[str, Any], query: "Query", outcome: Outcome | Undefined) -> list[dict[str, Any]]:
    """Return the rows of one mapping.

    Parameters
    ----------
    about
        ``dataset, batch_key, label_key, query, mapping``.
    query
        The new cells.
    outcome
        Their mapping, or why there is none.
    """
    start = {**about, "group_kind": "all", "group": "all"}
    overlap = _row(start, "gene_overlap", query.overlap, len(query.cell_ids))
    if isinstance(outcome, Undefined):
        missing = {"status": outcome.status, "reason": outcome.reason}
        return [overlap, *(_row(start, name, None, len(query.cell_ids)) | missing for name in _WHOLE)]
    rows = [overlap, _row(start, "seconds", outcome.seconds, len(query.cell_ids))]
    before = outcome.reference_seconds
    reason = "no_method" if before is None else ""
    rows.append(_row(start, "reference_seconds", before, len(outcome.reference), reason=reason))
    rows.append(_mixing(start, outcome))
    rows += _scores(start, query, outcome)
    return rows


def _row(start: Mapping[str, Any], quantity: str, value: float | None, n_cells: int, *, reason: str = "") -> dict:
    state = "not_applicable" if value is None else "ok"
    return {**start, "quantity": quantity, "value": value, "n_cells": n_cells, "status": state, "reason": reason}


def _mixing(start: Mapping[str, Any], outcome: Outcome) -> dict:
    """Return the row of iLISI with reference and query as the two batches."""
    import numpy as np

    n_reference, n_query = len(outcome.reference), len(outcome.placed)
    values = np.vstack([outcome.reference, outcome.placed]).astype(np.float32)
    ids = np.array([f"r{i:09d}" for i in range(n_reference)] + [f"s{i:09d}" for i in range(n_query)], dtype=object)
    role = Groups.of(np.repeat(["reference", "query"], [n_reference, n_query]))
    data = MetricInputs(ids, Groups.of(np.zeros(len(ids))), role, values, find_neighbors(values, ids, k=_K))
    try:
        value = ilisi(data).overall.value
    except NotApplicable as error:
        return _row(start, "mixing", None, n_query, reason=error.code)
    return _row(start, "mixing", value, n_query)


def _scores(start: Mapping[str, Any], query: "Query", outcome: Outcome) -> Iterator[dict]:
    """Yield the rows about labels and about cells outside: of all cells, by batch and by label."""
    import numpy as np

    found, in_reference = outcome.found, {str(x) for x in outcome.labels if x is not None}
    has_label = np.array([label is not None for label in query.labels])
    is_known = np.array([label in in_reference for label in query.labels])
    everywhere = np.ones(len(query.labels), dtype=bool)
    yield from _of_cells(start, query, found, everywhere, is_known)
    if is_known.any():
        right = found.labels[is_known] == query.labels[is_known]
        error = calibration_error(found.confidence[is_known], right)
        yield _row(start, "calibration_error", error, int(is_known.sum()))
    else:
        yield _row(start, "calibration_error", None, 0, reason="no_known_labels")
    for batch in sorted(set(query.batches)):
        place = {**start, "group_kind": "batch", "group": str(batch)}
        yield from _of_cells(place, query, found, query.batches == batch, is_known)
    for label in sorted({str(x) for x in query.labels[has_label]}):
        place, cells = {**start, "group_kind": "label", "group": label}, query.labels == label
        n = int(cells.sum())
        yield _row(place, "out_of_reference", float(found.is_outside[cells].mean()), n)
        if label not in in_reference:
            yield _row(place, "f1", None, n, reason="label_not_in_reference")
            continue
        hits = int((found.labels[cells] == label).sum())
        claimed = int((found.labels[is_known] == label).sum())
        yield _row(place, "f1", 2 * hits / (n + claimed), n)


def _of_cells(
    place: Mapping[str, Any], query: "Query", found: "Transferred", cells: "np.ndarray", is_known: "np.ndarray"
) -> Iterator[dict]:
    """Yield macro-F1 and accuracy of the cells with a label of the reference, and the share of cells outside."""
    from sklearn.metrics import accuracy_score, f1_score

    yield _row(place, "out_of_reference", float(found.is_outside[cells].mean()), int(cells.sum()))
    chosen = cells & is_known
    if not chosen.any():
        for name in ("macro_f1", "accuracy"):
            yield _row(place, name, None, 0, reason="no_known_labels")
        return
    true, guess = query.labels[chosen].astype(str), found.labels[chosen].astype(str)
    f1 = f1_score(true, guess, labels=sorted(set(true)), average="macro", zero_division=0)
    yield _row(place, "macro_f1", float(f1), int(chosen.sum()))
    yield _row(place, "accuracy", float(accuracy_score(true, guess)), int(chosen.sum()))


def cell_table(mapping: str, query: "Query", found: "Transferred") -> "pd.DataFrame":
    """Return a row per new cell: ``cell_id, mapping, batch, label, predicted, confidence, distance,
    out_of_reference``; the prediction of a cell outside of the reference is withheld.
    """
    import numpy as np
    import pandas as pd

    predicted = np.where(found.is_outside, None, found.labels)
    return pd.DataFrame(
        {
            "cell_id": query.cell_ids,
            "mapping": mapping,
            "batch": query.batches,
            "label": query.labels,
            "predicted": predicted,
            "confidence": found.confidence,
            "distance": found.distances,
            "out_of_reference": found.is_outside,
        }
    )
