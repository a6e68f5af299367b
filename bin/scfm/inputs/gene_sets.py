"""Sets of genes that ``--hvg_exclude_sets`` leaves out of the variable genes by name (``assets/gene_sets.tsv``)."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from scfm import registries
from scfm.errors import ScfmError
from scfm.text import did_you_mean

if TYPE_CHECKING:
    import numpy as np

_FOLDER = Path(registries.__file__).parent


def _rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a registry that lies beside the code."""
    with (_FOLDER / name).open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))


@lru_cache(maxsize=1)
def gene_sets() -> dict[str, tuple["re.Pattern[str] | None", frozenset[str]]]:
    """Return every set by name: the pattern that its symbols begin with, or None, and its listed genes in upper
    case.
    """
    listed: dict[str, set[str]] = {}
    for row in _rows("programmes.tsv"):
        listed.setdefault(row["programme"], set()).add(row["gene"].upper())
    found = {}
    for row in _rows("gene_sets.tsv"):
        pattern = re.compile(row["pattern"]) if row["pattern"] else None
        found[row["name"]] = (pattern, frozenset(listed.get(row["programme"], ())))
    return found


def in_gene_sets(names: Iterable[str], symbols: "np.ndarray") -> "dict[str, np.ndarray]":
    """Return which genes are in each of some sets.

    Parameters
    ----------
    names
        Names of sets.
    symbols
        Symbols of the genes, shape (n_genes,); upper and lower case are the same, so that mouse symbols are found too.

    Returns
    -------
    ``{name: mask}``, each of shape (n_genes,), bool.

    Raises
    ------
    ScfmError
        There is no set of a name.
    """
    import numpy as np

    known, upper = gene_sets(), [str(symbol).upper() for symbol in symbols]
    masks = {}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, list(known))
            raise ScfmError(f"--hvg_exclude_sets: there is no gene set '{name}'.{hint} There are: {', '.join(known)}.")
        pattern, listed = known[name]
        masks[name] = np.array([s in listed or bool(pattern and pattern.match(s)) for s in upper], dtype=bool)
    return masks
