"""Tables that a data set brings along beside its cells: marker genes, gene sets and a network of regulators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.samplesheet import Located
from scfm.text import listing, plural

if TYPE_CHECKING:
    import pandas as pd


def _read_columns(path: Path, what: str, required: tuple[str, ...]) -> "pd.DataFrame":
    """Return a TSV or CSV as text without empty rows; raise if it can't be read, lacks a column or has gaps in one."""
    import pandas as pd

    separator = "," if path.name.endswith(".csv") else "\t"
    marks = "commas" if separator == "," else "tabs"
    expected = f"expected a table with the columns {listing(required)}, separated by {marks}"
    try:
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ScfmError(f"{path.name}: the {what} can't be read ({reason}); {expected}.") from error
    table = table.rename(columns=str.strip).apply(lambda column: column.str.strip())
    absent = [c for c in required if c not in table]
    if absent:
        raise ScfmError(f"{path.name}: the {what} has no column {listing(absent)}; {expected}.")
    table = table[(table != "").any(axis=1)]
    for column in required:
        gaps = int((table[column] == "").sum())
        if gaps:
            raise ScfmError(
                f"{path.name}: {plural(gaps, 'row')} of the {what} have no value in '{column}'; fill or remove them."
            )
    if table.empty:
        raise ScfmError(f"{path.name}: the {what} has no rows; {expected}.")
    return table.reset_index(drop=True)


def read_markers(path: Path) -> dict[str, list[str]]:
    """Return the marker genes of every label, in the order of the file, each once.

    Parameters
    ----------
    path
        TSV or CSV with the columns ``label`` and ``gene``.

    Raises
    ------
    ScfmError
        The table can't be read, lacks a column, or is empty.
    """
    table = _read_columns(path, "table of markers", ("label", "gene"))
    return {str(label): list(dict.fromkeys(rows)) for label, rows in table.groupby("label", sort=False)["gene"]}


def read_gmt(path: Path) -> dict[str, list[str]]:
    """Return the genes of every set of a GMT file, in the order of the file, each once.

    Parameters
    ----------
    path
        A set a line: name, description and genes, separated by tabs.

    Raises
    ------
    ScfmError
        The file can't be read, a line has no genes, a name is a duplicate, or there is no set.
    """
    expected = "expected a set a line: name, description and genes, separated by tabs"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScfmError(f"{path.name}: the gene sets can't be read ({error}); {expected}.") from error
    found: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *rest = (part.strip() for part in line.split("\t"))
        genes = list(dict.fromkeys(g for g in rest[1:] if g))  # the first is the description
        if not name or not genes:
            raise ScfmError(f"{path.name}: line {number} has {'no genes' if name else 'no name'}; {expected}.")
        if name in found:
            raise ScfmError(f"{path.name}: line {number}: the set '{name}' is a duplicate; names must be unique.")
        found[name] = genes
    if not found:
        raise ScfmError(f"{path.name}: there are no gene sets in it; {expected}.")
    return found


def read_network(path: Path) -> "pd.DataFrame":
    """Return a network of regulators as ``source, target, weight``.

    Parameters
    ----------
    path
        TSV or CSV with the columns ``source`` and ``target``, and ``weight`` (1 where there is no such column).

    Raises
    ------
    ScfmError
        The table can't be read, lacks a column, is empty, lists an edge twice, or has a weight that is no number.
    """
    import numpy as np
    import pandas as pd

    table = _read_columns(path, "network", ("source", "target"))
    weights = pd.to_numeric(table["weight"], errors="coerce") if "weight" in table else pd.Series(1.0, table.index)
    wrong = ~np.isfinite(weights.to_numpy(dtype=float))
    if wrong.any():
        raise ScfmError(
            f"{path.name}: {plural(int(wrong.sum()), 'weight')} of the network are no finite numbers, the first "
            f"'{table['weight'][wrong].iloc[0]}'; correct or remove these rows."
        )
    result = table[["source", "target"]].assign(weight=weights.astype(float))
    twice = int(result.duplicated(["source", "target"]).sum())
    if twice:
        raise ScfmError(f"{path.name}: {plural(twice, 'row')} of the network repeat an edge; list every edge once.")
    return result


#: columns of the samplesheet that name such a table -> its reader
SIDE_FILES: Mapping[str, Callable[[Path], Any]] = {"markers": read_markers, "gmt": read_gmt, "network": read_network}


def side_file_errors(row: Mapping[str, str], located: Located, where: str) -> list[str]:
    """Return a sentence per table of a row that does not exist or can't be read.

    Parameters
    ----------
    row
        Row of the samplesheet.
    located
        Where files lie.
    where
        How messages call the row.
    """
    errors = []
    for column, read in SIDE_FILES.items():
        text = row.get(column)
        if not text:
            continue
        path = located.find(text)
        if path is None:
            errors.append(located.not_found(where, column, text))
            continue
        try:
            read(path)
        except ScfmError as error:
            errors.append(f"{where}, column '{column}': {error}")
    return errors
