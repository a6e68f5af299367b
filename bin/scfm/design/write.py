"""Write the description of a design."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scfm.io.tables import write_json, write_table

if TYPE_CHECKING:
    from scfm.design.describe import Described

#: endings of what the step writes; of 0 bytes where it failed
OUTPUTS = ("design.tsv", "design.json")


def write_design(described: "Described", outdir: Path) -> None:
    """Write ``<dataset>.design.tsv`` and ``<dataset>.design.json``."""
    stem = described.facts["dataset"]
    write_table(described.table, outdir / f"{stem}.design.tsv")
    write_json(outdir / f"{stem}.design.json", described.facts)
