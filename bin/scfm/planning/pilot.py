"""A pilot in place of the whole data: every data set becomes three, of a quarter, half and all of ``--pilot`` cells.

Each is a data set like any other: planned, prepared, integrated, scored, reported. From the three sizes the cost of the
whole is predicted (:mod:`scfm.report.tables.cost`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: parts of ``--pilot`` that the pilots have
PARTS = (0.25, 0.5, 1.0)


def pilot_error(n_cells: int | None, params: Mapping[str, Any], where: str) -> str:
    """Return the sentence about a data set that is no larger than its pilot; empty where there is none."""
    size = params.get("pilot")
    if not size or n_cells is None or size < n_cells:
        return ""
    return (
        f"{where}: --pilot is {size:,}, and the data set has {n_cells:,} cells; a pilot draws some of them. Give a"
        " smaller number, or run the whole data set without --pilot."
    )


def with_pilots(
    row: Mapping[str, Any], facts: Mapping[str, Any], params: Mapping[str, Any]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return a data set's row of the samplesheet with its facts; with ``--pilot``, those of its three pilots.

    A pilot has the columns ``pilot_of``, the name of the data set, ``pilot_cells``, the cells it draws, and
    ``full_cells``, those of the data set. It has no imported embeddings: they cost nothing, and hold other cells.
    """
    size, n_cells = params.get("pilot"), facts.get("n_cells")
    if not size or n_cells is None:
        return [(dict(row), dict(facts))]
    found = []
    for part in PARTS:
        cells = round(size * part)
        about = {"pilot_of": row["dataset"], "pilot_cells": cells, "full_cells": n_cells}
        name = f"{row['dataset']}_pilot_{cells}"
        found.append((dict(row) | {"dataset": name} | about, dict(facts) | {"n_cells": cells}))
    return found
