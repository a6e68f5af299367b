"""Whether all embeddings of a data set were made from one preparation of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scfm.embeddings.preparation import PREPARATION
from scfm.registries.messages import message
from scfm.report.tables.names import Names


def made_from(sidecars: Iterable[Mapping[str, Any]], dataset: str) -> dict[str, str]:
    """Return the preparation of every embedding of a data set that names one: ``{embedding: digest}``."""
    mine = (s for s in sidecars if s["dataset"] == dataset and s.get(PREPARATION))
    return {s["embedding"]: s[PREPARATION] for s in mine}


def other_preparations(
    facts: Mapping[str, Mapping[str, Any]], sidecars: Iterable[Mapping[str, Any]], names: Names
) -> list[dict[str, Any]]:
    """E-PREP-01: embeddings that were made from another preparation than that of the run, a message per method.

    Parameters
    ----------
    facts
        ``{data set: facts}`` of the preparation.
    sidecars
        Of all embeddings. Imported ones name no preparation and are not compared.
    names
        Titles for the sentences.
    """
    sidecars = list(sidecars)
    found = []
    for dataset, of_run in sorted(facts.items()):
        expected = of_run.get(PREPARATION)
        others = {e: d for e, d in made_from(sidecars, dataset).items() if d != expected}
        methods = sorted({s["method"] for s in sidecars if s["dataset"] == dataset and s["embedding"] in others})
        for method in methods:
            mine = {e: d for e, d in sorted(others.items()) if e.split(".")[0] == method}
            numbers = {"embeddings": list(mine), "preparations": sorted(set(mine.values())), "expected": expected}
            about = {"dataset": dataset, "method": method}
            found.append(message("E-PREP-01", **about, title=names.method(method), values=numbers))
    return found
