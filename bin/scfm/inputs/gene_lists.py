"""Lists of genes that a user gives: read them, and find them among the genes of a data set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.inputs.ensembl import without_version

if TYPE_CHECKING:
    import numpy as np


def read_gene_list(path: Path | str) -> list[str]:
    """Read a file of genes, one a line; empty lines and what follows ``#`` are skipped."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScfmError(
            f"{path}: the gene list can't be read ({error}); expected a text file with one gene a line."
        ) from error
    return list(dict.fromkeys(text for line in lines if (text := line.split("#")[0].strip())))


def match_genes(wanted: Iterable[str], *columns: "np.ndarray | None") -> tuple["np.ndarray", list[str]]:
    """Find genes by index, symbol or Ensembl id (with or without version).

    Returns
    -------
    Mask, shape (n_genes,); names that were not found.
    """
    import numpy as np

    wanted = list(wanted)
    present = [np.asarray(c, dtype=object) for c in columns if c is not None]
    names = {w for w in wanted} | {without_version(w) for w in wanted}
    mask = np.zeros(len(present[0]), dtype=bool)
    known: set[str] = set()
    for column in present:
        plain = np.asarray([without_version(v) for v in column], dtype=object)
        mask |= np.isin(column, list(names)) | np.isin(plain, list(names))
        known |= set(column) | set(plain)
    return mask, [w for w in wanted if w not in known and without_version(w) not in known]
