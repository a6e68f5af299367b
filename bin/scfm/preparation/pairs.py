"""Facts and warnings about every pair of a batch key and a label key of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.inputs.keys import key_pairs, level_counts
from scfm.preparation.design import design_warnings
from scfm.registries.messages import about_keys

if TYPE_CHECKING:
    import pandas as pd


def describe_pairs(obs: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return the facts of every pair of keys, the primary one first: its scored cells, their batches and labels."""
    found = []
    for pair in key_pairs(list(obs.columns)):
        view = pair.view(obs)
        scored = view[view["scored"]]
        found.append(
            {
                **pair.names,
                "is_primary": pair.is_primary,
                "n_scored": len(scored),
                "batches": level_counts(scored["batch"]),
                "labels": level_counts(scored["label"]),
            }
        )
    return found


def other_designs(obs: "pd.DataFrame") -> list[dict]:
    """Return the design warnings of the pairs that are not the primary one; their text names the keys."""
    found = []
    for pair in key_pairs(list(obs.columns))[1:]:
        view = pair.view(obs)
        scored = view[view["scored"]]
        for entry in design_warnings(
            scored["batch"], scored["label"], batch_role="technical", batch_key=pair.batch_key
        ):
            found.append(about_keys(entry, pair.batch_key, pair.label_key))
    return found
