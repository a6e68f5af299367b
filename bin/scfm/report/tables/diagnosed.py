"""Which embeddings should be diagnosed: those that CHOOSE_EMBEDDINGS has listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scfm.report.tables.load import Collected

STEP = "diagnose"


def expected(found: "Collected") -> set[tuple[str, str]]:
    """Return (data set, embedding) of everything that should be diagnosed.

    Where the choice of a data set is missing, which ones would be chosen is unknown: then that is every embedding with
    scores, so that the missing step shows.
    """
    listed = {(name, e) for name, facts in found.chosen.items() for e in facts["embeddings"]}
    scores = found.tables["scores"].drop_duplicates(["dataset", "embedding"])
    scored = zip(scores["dataset"], scores["embedding"], strict=True)
    return listed | {(dataset, embedding) for dataset, embedding in scored if dataset not in found.chosen}
