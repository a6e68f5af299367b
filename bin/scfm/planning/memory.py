"""What methods need of memory, compared with ``--max_memory`` before anything starts."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.registries.messages import message
from scfm.registries.reader import ASSETS

if TYPE_CHECKING:
    from scfm.registries.methods import Method

_UNITS = {"": 2**0, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Need:
    """Memory of a process: ``mb + kb_per_cell x cells + bytes_per_value x values`` (``assets/resources.tsv``)."""

    mb: float
    kb_per_cell: float
    bytes_per_value: float

    def of(self, n_cells: int, n_genes: int) -> float:
        """Return the bytes for a data set."""
        return self.mb * 2**20 + (self.kb_per_cell * 2**10 + self.bytes_per_value * n_genes) * n_cells


def read_needs(path: Path | None = None) -> dict[str, Need]:
    """Return the rows of ``assets/resources.tsv`` (of this checkout by default) by process."""
    with (path or ASSETS / "resources.tsv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    return {
        row["process"]: Need(float(row["mb"]), float(row["kb_per_cell"]), float(row["bytes_per_value"])) for row in rows
    }


def bytes_of(text: str) -> float:
    """Return the bytes of a memory as Nextflow writes it.

    Examples
    --------
    >>> bytes_of("1.5 GB") == bytes_of("1536.MB") == 1.5 * 2**30
    True
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*\.?\s*([KMGT]?)B", text.strip())
    if found is None:
        raise ScfmError(f"--max_memory is '{text}'; expected a number with a unit, as in 128.GB.")
    return float(found[1]) * _UNITS[found[2]]


def memory_warnings(
    dataset: Mapping[str, Any],
    planned: Sequence[str],
    methods: Mapping[str, "Method"],
    *,
    limit: str,
    needs: Mapping[str, Need],
) -> list[dict]:
    """Return W-COST-01 for every planned method that is expected to need more memory than a task may have.

    Parameters
    ----------
    dataset
        Row of ``datasets.json``: ``dataset``, ``n_cells``, ``n_genes``.
    planned
        Methods that will run on it.
    methods
        The methods table.
    limit
        ``--max_memory``.
    needs
        From :func:`read_needs`.
    """
    allowed, found = bytes_of(limit), []
    n_cells, n_genes = int(dataset["n_cells"]), int(dataset["n_genes"])
    for name in dict.fromkeys(n for n in planned if n in methods):
        process = "CONTROL" if methods[name].is_control else name.upper()
        need = needs.get(process, needs["default"]).of(n_cells, n_genes)
        if need > allowed:
            values = {"n_cells": n_cells, "n_genes": n_genes, "needed_gb": need / 2**30}
            found.append(
                message(
                    "W-COST-01",
                    dataset=dataset["dataset"],
                    method=name,
                    title=methods[name].title,
                    values=values,
                    threshold=limit,
                )
            )
    return found
