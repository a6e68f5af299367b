"""Does a batch column look like a biological condition? Then the user is asked to declare its role."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scfm.inputs.keys import primary_pair
from scfm.registries.messages import message

if TYPE_CHECKING:
    import pandas as pd

_CONDITION_WORDS = (
    "control ctrl ctl stim stimulated unstim unstimulated treated untreated treatment vehicle mock infected uninfected"
    " disease diseased healthy normal tumor tumour cancer adjacent case patient wt wildtype ko knockout mutant pre post"
    " before after baseline day0 responder nonresponder"
)
_TISSUE_WORDS = (
    "blood pbmc bonemarrow marrow lung liver kidney heart brain skin spleen thymus pancreas colon ileum intestine"
    " breast prostate ovary retina muscle adipose tissue lymphnode tonsil stomach bladder"
)
#: words of levels that name what was done to a sample, or what it is
CONDITIONS = frozenset(_CONDITION_WORDS.split())
#: words of levels that name a part of the body
TISSUES = frozenset(_TISSUE_WORDS.split())
#: share of the levels that must be such words
_MIN_SHARE = 0.5


def looks_like_conditions(
    batch: "pd.Series", donor: "pd.Series | None" = None, condition: "pd.Series | None" = None
) -> list[str]:
    """Return the signs that the levels of the batch are conditions or tissues; empty where there are none.

    Parameters
    ----------
    batch
        Batch of every cell, missing values allowed.
    donor, condition
        The same cells' donors and conditions, where such keys are named.
    """
    import pandas as pd

    signs = []
    levels = [str(v) for v in batch.dropna().unique()]
    for what, words in (("conditions", CONDITIONS), ("tissues", TISSUES)):
        named = sorted(v for v in levels if _words(v) & words)
        if len(named) >= 2 and len(named) >= _MIN_SHARE * len(levels):
            signs.append(f"its levels are named like {what} ({', '.join(named[:6])})")
    if donor is not None:
        table = pd.crosstab(donor.astype(object), batch.astype(object)).to_numpy()
        if min(table.shape, default=0) > 1 and (table > 0).all():
            signs.append(f"all {table.shape[0]} donors are in every level")
    if condition is not None and same_split(batch, condition):
        signs.append("condition_key splits the cells in the same way")
    return signs


def _words(level: str) -> set[str]:
    """Return the words of a level in lower case, and all of them as one."""
    parts = re.findall(r"[a-z]+|\d+", level.lower())
    return {*parts, "".join(parts)}


def same_split(first: "pd.Series", second: "pd.Series") -> bool:
    """Return whether two columns split the cells that have both in the same way, into two levels or more."""
    import pandas as pd

    table = pd.crosstab(first.astype(object), second.astype(object)).to_numpy() > 0
    return min(table.shape, default=0) > 1 and bool((table.sum(0) == 1).all() and (table.sum(1) == 1).all())


def role_question(row: Mapping[str, str], keys: Mapping[str, Any]) -> list[dict]:
    """Return W-CONF-04 where no ``batch_role`` is declared and the batch looks like a condition.

    Parameters
    ----------
    row
        Row of the samplesheet.
    keys
        ``{column of the samplesheet: values per cell}`` of the primary batch key and the optional keys; None for a key
        that could not be read.
    """
    batch = keys.get("batch_key")
    if row.get("batch_role") or batch is None:
        return []
    signs = looks_like_conditions(batch, keys.get("donor_key"), keys.get("condition_key"))
    if not signs:
        return []
    signs_text = "; ".join(signs)
    return [message("W-CONF-04", batch_key=primary_pair(row)[0], signs_text=signs_text, values={"signs": signs})]
