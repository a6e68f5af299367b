"""``orthogonal.tsv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: columns behind data set and keys
COLUMNS = (
    "evidence",
    "label",
    "feature",
    "batch",
    "of_embedding",
    "measure",
    "value",
    "low",
    "high",
    "p_value",
    "q_value",
    "n",
    "threshold",
    "agrees",
    "status",
    "reason",
    "explanation",
)
#: columns of text, empty where there is nothing to say
TEXTS = ("label", "feature", "batch", "of_embedding", "measure", "reason", "explanation")


def evidence_table(rows: Sequence[Mapping[str, Any]], about: Mapping[str, str]) -> "pd.DataFrame":
    """Return the table.

    Parameters
    ----------
    rows
        Evidence, see :mod:`scfm.orthogonal.evidence`.
    about
        Data set and keys.
    """
    import pandas as pd

    table = pd.DataFrame([{**about, **row} for row in rows]).reindex(columns=[*about, *COLUMNS])
    return table.assign(**{column: table[column].fillna("") for column in TEXTS})
