"""The rows of ``datasets.json``, as the steps about one data set read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.io.tables import read_json
from scfm.text import did_you_mean


def row_of(datasets: Path, dataset: str) -> dict[str, Any]:
    """Return the row of a data set in ``datasets.json``; raise :class:`ScfmError` if there is none."""
    rows = {row["dataset"]: row for row in read_json(datasets)}
    if dataset not in rows:
        raise ScfmError(f"{datasets}: no data set '{dataset}'.{did_you_mean(dataset, rows)} Known: {', '.join(rows)}.")
    return rows[dataset]
