"""Which columns of a user's table are ids, indices and coordinates."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from scfm.errors import ScfmError
from scfm.io.tables import CELL_ID
from scfm.registries.messages import message
from scfm.text import listing

#: names that tools give to an index or to row numbers; such a column is the ids where there are no others, and is
#: never a dimension
_INDEX_NAME = re.compile(
    r"^(|index|level_\d+|row_?(id|number|names?)|Unnamed: \d+(_level_\d+)?|__index_level_\d+__)$", re.I
)
#: names of coordinates: a word and a number (PC_1, dim_0, d3, X12), or a number alone
_DIMENSION = re.compile(r"^(?P<stem>.*?[A-Za-z]?)[\s_.\-]*\d+$")


def is_index(name: str) -> bool:
    """Tell whether a column has a name that tools give to an index or to row numbers."""
    return bool(_INDEX_NAME.match(name))


def check_width(n_columns: int, max_dims: int, path: Path) -> None:
    """Raise where a source has more columns than ``max_dims``; such a table is seldom an embedding."""
    if n_columns > max_dims:
        raise ScfmError(
            f"{path}: has {n_columns:,} columns, more than the {max_dims:,} of --max_embedding_dims. Is it a table "
            "of genes? Reduce it, or raise the limit."
        )


def check_separator(header: list[str], separator: str, path: Path) -> None:
    """Raise where the names of a text table are one field that holds another separator."""
    words = {",": "commas", "\t": "tabs", ";": "semicolons"}
    found = next((mark for mark in words if mark != separator and len(header) == 1 and mark in header[0]), None)
    if found is not None:
        raise ScfmError(
            f"{path}: the header has {words[found]} and no {words[separator]}. Save the table with {words[separator]}"
            " between columns and with points in decimal numbers."
        )


def check_names(names: list[str], path: Path) -> None:
    """Raise where two columns have the same name; columns without one are looked at as indices."""
    twice = sorted({n for n, times in Counter(names).items() if n and times > 1})
    if twice:
        raise ScfmError(f"{path}: {listing(twice)} is the name of more than one column; every dimension needs its own.")


def column_notes(indices: list[str], taken: list[str], path: Path) -> list[dict]:
    """Return messages about index columns that were left out, and about names that may be no coordinates."""
    notes = []
    if indices:
        notes.append(message("W-EMB-02", file=path.name, values={"columns": indices}))
    stems = {found.group("stem") if (found := _DIMENSION.match(c)) else None for c in taken}
    odd = [c for c in taken if not _DIMENSION.match(c)]
    if len(stems) > 1 or (odd and len(taken) == 1):
        doubt = f"; {listing(odd)} may be a column of another kind" if odd else ""
        notes.append(
            message(
                "W-EMB-03",
                file=path.name,
                doubt=doubt,
                columns=taken,
                values={"columns": taken[:100], "odd": odd[:100]},
            )
        )
    return notes


def id_column(columns: list[str], path: Path) -> str:
    """Return the column of cell ids: ``cell_id``, else one without a name of its own."""
    if CELL_ID in columns:
        return CELL_ID
    unnamed = [c for c in columns if _INDEX_NAME.match(c)]
    if len(unnamed) == 1:
        return unnamed[0]
    if unnamed:
        raise ScfmError(
            f"{path}: there is no column '{CELL_ID}', and {listing(unnamed)} could all be the index. Name the column"
            f" with "
            f"the cell ids '{CELL_ID}'."
        )
    raise ScfmError(
        f"{path}: no column '{CELL_ID}' and no unnamed index column; found {listing(columns)}. "
        f"Name the column with the cell ids '{CELL_ID}': rows are never matched by their position."
    )
