"""Describe the design of one data set: the table ``design.tsv``, the facts ``design.json`` and their messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scfm.design.balance import balance_messages, measure_balance
from scfm.design.confounding import BIOLOGICAL, describe_pair
from scfm.design.de import choose_de_design
from scfm.design.limits import DesignLimits
from scfm.design.messages import absence_messages, confounding_messages, label_messages, strength_messages
from scfm.design.reuse import reuse_messages
from scfm.design.rows import balance_rows, cell_rows, design_table, pair_rows, strength_rows
from scfm.design.strength import measure_strength
from scfm.inputs.keys import KEYS, key_pairs, primary_pair
from scfm.preparation.design import crossing
from scfm.registries.messages import about_keys

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(slots=True)
class Described:
    """The design of a data set.

    Attributes
    ----------
    table
        ``design.tsv`` (``assets/schema_design.json``).
    facts
        ``design.json``: ``pairs``, ``de``, ``limits`` and ``warnings``.
    """

    table: "pd.DataFrame"
    facts: dict[str, Any]


def describe_design(
    obs: "pd.DataFrame",
    scores: "np.ndarray",
    *,
    row: Mapping[str, Any],
    limits: DesignLimits,
    mito_share: "np.ndarray | None" = None,
    fields: "pd.DataFrame | None" = None,
) -> Described:
    """Describe the design of a data set.

    Parameters
    ----------
    obs
        ``<dataset>.obs.parquet``.
    scores
        Uncorrected principal components, shape (n_cells, n_components), rows of ``obs``.
    row
        Row of the samplesheet.
    limits
        What values are judged by.
    mito_share
        Share of mitochondrial counts per cell; None where no gene is known to be mitochondrial.
    fields
        Columns of the user's obs that say what a subject is, rows of ``obs``; None without them.
    """
    import pandas as pd

    batch_key, label_key = primary_pair(row)
    names = {name: str(row.get(column) or "") for name, column in KEYS.items()} | {
        "batch": batch_key,
        "label": label_key,
    }
    fields = pd.DataFrame(index=obs.index) if fields is None else fields
    warnings, reused = reuse_messages(obs, fields, keys=names, paired=str(row.get("paired") or ""))
    warnings += absence_messages(names) + label_messages(str(row.get("labels_from") or ""))
    donor_columns = set() if reused else {c for c in ("condition", "tissue") if _is_crossed(obs["donor"], obs[c])}
    rows, pairs = [], []
    for keys in (pair for pair in key_pairs(list(obs.columns)) if pair.label_key == label_key):
        view = keys.view(obs)
        found = [describe_pair(view, keys.batch_key, column, limits) for column in BIOLOGICAL]
        scored = view[view["scored"]]
        balance = measure_balance(scored["batch"], scored["label"])
        strength = measure_strength(scores, _covariates(view, mito_share))
        told = confounding_messages(found, names, limits, donor_columns=donor_columns) + strength_messages(
            strength, keys.batch_key, names, limits
        )
        if balance is not None:
            told += [
                m if keys.is_primary else about_keys(m, keys.batch_key, label_key)
                for m in balance_messages(balance, limits)
            ]
            rows += balance_rows(keys.batch_key, balance, limits)
        rows += (
            cell_rows(keys.batch_key, view) + pair_rows(found, limits) + strength_rows(keys.batch_key, strength, limits)
        )
        pairs += found
        warnings += told
    primary = next(p for p in pairs if p.batch_key == batch_key and p.column == "condition")
    de = choose_de_design(obs, primary, paired=str(row.get("paired") or ""), reused=reused)
    for entry in warnings:
        entry["dataset"] = row["dataset"]
    facts = {
        "dataset": row["dataset"],
        "keys": names,
        "paired": str(row.get("paired") or ""),
        "pairs": [pair.facts() for pair in pairs],
        "de": de.facts(),
        "warnings": warnings,
    }
    return Described(design_table(row["dataset"], rows), facts)


def _is_crossed(first: "pd.Series", second: "pd.Series") -> bool:
    """Return whether every combination of two columns occurs."""
    found = crossing(first, second)
    return found is not None and found["relation"] == "crossed"


def _covariates(view: "pd.DataFrame", mito_share: "np.ndarray | None") -> "dict[str, pd.Series]":
    """Return the covariates of the principal components: keys, depth and, where known, the mitochondrial share."""
    import numpy as np
    import pandas as pd

    found = {name: view[name] for name in ("batch", "condition", "label", "donor", "tissue")}
    found["depth"] = np.log1p(view["n_counts"].astype(float))
    if mito_share is not None:
        found["mito_share"] = pd.Series(mito_share, index=view.index)
    return found
