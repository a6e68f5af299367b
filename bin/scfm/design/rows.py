"""The rows of ``design.tsv``, one per quantity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scfm.design.balance import Balance
from scfm.design.confounding import Pair
from scfm.design.limits import DesignLimits

if TYPE_CHECKING:
    import pandas as pd

    from scfm.design.strength import Strength

#: what a row is about
PLACES = ("batch", "condition", "donor", "tissue", "label")
COLUMNS = (
    "dataset",
    "batch_key",
    "part",
    "column",
    *PLACES,
    "component",
    "quantity",
    "value",
    "text",
    "threshold",
    "reason",
)
#: reason code of a coefficient that too few samples can't support
FEW_SAMPLES = "few_samples"


def cell_rows(batch_key: str, view: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return cells and samples of every combination of batch, condition, donor, tissue and label that occurs, and of
    the batch with each of the others, for a sample with several labels counts once in both.
    """
    found = _counts(batch_key, "cells", view, PLACES)
    for column in PLACES[1:]:
        known = view[view[column].notna()]
        found += [{**row, "column": column} for row in _counts(batch_key, "samples", known, ("batch", column))]
    return found


def _counts(batch_key: str, part: str, view: "pd.DataFrame", columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the cells and samples of every combination of some columns."""
    found: list[dict[str, Any]] = []
    if view.empty:
        return found
    groups = view[[*columns, "sample"]].groupby(list(columns), dropna=False, sort=True)["sample"]
    for quantity, counts in (("n_cells", groups.size()), ("n_samples", groups.nunique())):
        for levels, n in counts.items():
            places = {name: level for name, level in zip(columns, levels, strict=True) if isinstance(level, str)}
            found.append({"batch_key": batch_key, "part": part, **places, "quantity": quantity, "value": float(n)})
    return found


def pair_rows(pairs: Sequence[Pair], limits: DesignLimits) -> list[dict[str, Any]]:
    """Return relation, estimability and coefficients of every pair of the batch and a column."""
    found = []
    for pair in pairs:
        about: dict[str, Any] = {"batch_key": pair.batch_key, "part": "confounding", "column": pair.column}
        found.append({**about, "quantity": "relation", "text": pair.relation})
        if pair.relation in {"not_declared", "single"}:
            continue
        found += [
            {**about, "quantity": "estimable", "value": float(pair.estimable)},
            {**about, "quantity": "components", "value": float(pair.components)},
            {**about, "quantity": "n_samples", "value": float(pair.n_samples), "threshold": float(limits.min_samples)},
        ]
        coefficients = {
            "theils_u_column_given_batch": pair.u_column,
            "theils_u_batch_given_column": pair.u_batch,
            "cramers_v": pair.cramers_v,
        }
        found += [
            {**about, "quantity": name, "value": value, "text": limits.association(value), "threshold": limits.strong}
            if value is not None
            else {**about, "quantity": name, "threshold": limits.strong, "reason": FEW_SAMPLES}
            for name, value in coefficients.items()
        ]
    return found


def balance_rows(batch_key: str, balance: Balance, limits: DesignLimits) -> list[dict[str, Any]]:
    """Return the balance of the batches, over all labels and per label."""
    about: dict[str, Any] = {"batch_key": batch_key, "part": "balance"}
    overall = (
        ("size_ratio", balance.size_ratio, limits.max_size_ratio),
        ("effective_share", balance.effective, limits.min_effective),
        ("js_distance", balance.js_distance, limits.max_js),
    )
    found = [{**about, "quantity": name, "value": value, "threshold": limit} for name, value, limit in overall]
    for label, share in balance.effective_by_label.items():
        of = {**about, "label": label}
        found.append({**of, "quantity": "effective_share", "value": share, "threshold": limits.min_effective})
        found.append({**of, "quantity": "n_batches", "value": float(balance.batches_by_label[label])})
    return found


def strength_rows(batch_key: str, strength: "Strength", limits: DesignLimits) -> list[dict[str, Any]]:
    """Return what covariates explain of the principal components: together, alone, and per component."""
    about: dict[str, Any] = {"batch_key": batch_key, "part": "strength"}
    found: list[dict[str, Any]] = []
    for name, share in strength.pcr.items():
        judged: dict[str, Any] = (
            {"text": limits.strength(share), "threshold": limits.negligible} if name == "batch" else {}
        )
        found.append({**about, "column": name, "quantity": "pcr", "value": share, **judged})
        found.append({**about, "column": name, "quantity": "n_cells", "value": float(strength.n_cells[name])})
        found += [
            {**about, "column": name, "component": j, "quantity": "r2", "value": float(value)}
            for j, value in enumerate(strength.r2[name], start=1)
        ]
    if strength.full is not None:
        found.append({**about, "quantity": "full", "value": strength.full})
        found.append({**about, "quantity": "n_cells", "value": float(strength.n_cells["full"])})
    for quantity, shares in (("unique", strength.unique), ("shared_with_batch", strength.shared_with_batch)):
        found += [{**about, "column": name, "quantity": quantity, "value": share} for name, share in shares.items()]
    return found


def design_table(dataset: str, rows: Sequence[dict[str, Any]]) -> "pd.DataFrame":
    """Return the rows as the table, texts empty and numbers missing where a row has none."""
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(list(rows)).reindex(columns=list(COLUMNS))
    frame["dataset"] = dataset
    numbers = ("value", "threshold")
    for name in COLUMNS:
        if name in numbers:
            frame[name] = frame[name].astype(float)
        elif name == "component":
            frame[name] = frame[name].fillna(0).astype(np.int64)
        else:
            frame[name] = frame[name].fillna("").astype(str)
    return frame
