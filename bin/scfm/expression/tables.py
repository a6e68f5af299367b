"""Results as tables: ``de.tsv``, ``de_genes.tsv`` and all genes of every label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.expression.rows import COLUMNS, GENE_COLUMNS, TEXTS, Result
from scfm.io.tables import write_table

if TYPE_CHECKING:
    import pandas as pd

#: Arrow types of the full tables; all other columns are numbers
_TYPES = dict.fromkeys(("level", "reference", "analysis", "gene", "symbol"), "string") | {"is_significant": "bool"}


def comparison_table(results: Sequence[Result], about: Mapping[str, str], files: Mapping[str, str]) -> "pd.DataFrame":
    """Return ``de.tsv``.

    Parameters
    ----------
    results
        What was compared.
    about
        Data set and keys.
    files
        ``{label: name of its full table}``.
    """
    import pandas as pd

    rows = [{**about, "file": files.get(r.label, ""), **r.row} for r in results]
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    return table.assign(**{column: table[column].fillna("") for column in TEXTS})


def top_genes(results: Sequence[Result], about: Mapping[str, str], top: int) -> "pd.DataFrame":
    """Return ``de_genes.tsv``: the strongest genes of every result."""
    import pandas as pd

    parts = []
    for r in results:
        if r.genes is not None:
            first = r.genes.head(top)
            what = {"label": r.label, "level": r.level, "reference": r.reference, "analysis": r.analysis}
            parts.append(first.assign(**about, **what, rank=range(1, len(first) + 1)))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return table.reindex(columns=list(GENE_COLUMNS))


def write_label_tables(results: Sequence[Result], folder: Path) -> dict[str, str]:
    """Write the genes of every label, all contrasts and analyses in one parquet file; return the files by label."""
    import pandas as pd

    names: dict[str, str] = {}
    for number, label in enumerate(sorted({r.label for r in results if r.genes is not None}), start=1):
        parts = [
            r.genes.assign(level=r.level, reference=r.reference, analysis=r.analysis)
            for r in results
            if r.label == label and r.genes is not None
        ]
        columns = ("level", "reference", "analysis", *(c for c in GENE_COLUMNS if c in parts[0].columns[:-3]))
        plain = re.sub(r"[^A-Za-z0-9]+", "_", label)[:60].strip("_")
        names[label] = f"{number:02d}_{plain}.parquet"
        types = {column: _TYPES.get(column, "double") for column in columns}
        write_table(pd.concat(parts, ignore_index=True), folder / names[label], types=types)
    return names
