"""Choose rows of obs by filters, and read columns of the chosen rows only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.keys import as_text
from scfm.io.frames import index_key
from scfm.io.store import Store
from scfm.recipes.recipe import Filter
from scfm.registries.messages import message
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: rows of a column of text that are in memory at a time
BLOCK_ROWS = 200_000


def levels(values: "pd.Series") -> tuple["np.ndarray", list[str]]:
    """Return a column as codes and texts.

    Parameters
    ----------
    values
        Column of any type. Missing is what :func:`scfm.inputs.keys.as_text` takes for missing.

    Returns
    -------
    Codes, shape (n,), -1 for missing; the text of each code, each once.
    """
    import numpy as np
    import pandas as pd

    if isinstance(values.dtype, pd.CategoricalDtype):
        codes = values.cat.codes.to_numpy()
        texts = as_text(pd.Series(values.cat.categories))
        numbers, names = pd.factorize(texts.to_numpy(dtype=object))
        found = np.append(numbers, -1)[codes]  # the last one answers to code -1
        used = np.unique(found[found >= 0])  # categories that no row has are no levels
        place = np.full(len(names) + 1, -1)
        place[used] = np.arange(len(used))
        return place[found], [str(names[i]) for i in used]
    numbers, names = pd.factorize(as_text(values).to_numpy(dtype=object))
    return numbers, [str(n) for n in names]


def read_values(store: Store, column: str, rows: "np.ndarray | None") -> "pd.Series":
    """Return one obs column of the chosen rows; columns of text are read block by block.

    Parameters
    ----------
    store
        Open file.
    column
        obs column, or ``_index`` for the index.
    rows
        Positions, ascending; None for all.
    """
    import pandas as pd

    if column == "_index":
        store.check_frame("obs")
        element = store.root["obs"].get(index_key(store.root["obs"]))
        if rows is None or element is None or not _is_text(element):
            values = store.index("obs")
            return pd.Series(values if rows is None else values[rows], dtype=object)
        return _text_rows(element, rows)
    element = store.root["obs"].get(column) if column in store.columns("obs") else None
    if rows is not None and element is not None and _is_text(element) and element.shape[0] == store.n_rows("obs"):
        return _text_rows(element, rows)
    values = store.column("obs", column)
    return (values if rows is None else values.iloc[rows]).reset_index(drop=True)


def _is_text(element: Any) -> bool:
    """Tell whether an element is a plain one-dimensional array of text in an HDF5 file."""
    return (
        hasattr(element, "asstr")
        and str(element.attrs.get("encoding-type", "")) == "string-array"
        and len(element.shape) == 1
    )


def _text_rows(element: Any, rows: "np.ndarray") -> "pd.Series":
    """Read the chosen rows of an array of text."""
    import numpy as np
    import pandas as pd

    text, parts = element.asstr(), []
    for start in range(0, element.shape[0], BLOCK_ROWS):
        low, high = np.searchsorted(rows, [start, start + BLOCK_ROWS])
        if high > low:
            parts.append(text[start : start + BLOCK_ROWS][rows[low:high] - start])
    return pd.Series(np.concatenate(parts) if parts else np.empty(0), dtype=object)


def holds(condition: Filter, codes: "np.ndarray", names: Sequence[str]) -> "np.ndarray":
    """Return where a condition holds, shape (n,), bool; ``codes`` and ``names`` from :func:`levels`."""
    import numpy as np

    if condition.operator == "missing":
        return (codes < 0) == condition.wants_missing
    wanted = np.append(
        np.isin(np.asarray(names, dtype=object), list(condition.wanted)), False
    )  # the last one answers to -1
    return wanted[codes] if condition.operator in {"equals", "in"} else ~wanted[codes]


def apply_filters(
    n_rows: int, conditions: Iterable[Filter], read: "Callable[[str], pd.Series]", *, name: str
) -> tuple["np.ndarray", list[dict[str, Any]], list[dict[str, Any]]]:
    """Apply filters to rows, one after the other.

    Parameters
    ----------
    n_rows
        Rows there are.
    conditions
        Filters; all must hold.
    read
        Returns a whole column by its name.
    name
        How messages call the rows: a file, or the joined cells.

    Returns
    -------
    Positions of the rows that are kept, ascending; per filter ``{rule, dropped}``, a row is counted for the first
    filter that drops it; warnings about values that no row has.

    Raises
    ------
    ScfmError
        A column does not exist, or nothing is left.
    """
    import numpy as np

    kept = np.ones(n_rows, dtype=bool)
    report, warnings = [], []
    for condition in conditions:
        codes, names = levels(read(condition.column))
        now = kept & holds(condition, codes, names)
        if not now.any():
            raise ScfmError(_nothing_left(condition, name, int(kept.sum()), names))
        report.append({"rule": condition.rule, "dropped": int(kept.sum() - now.sum())})
        absent = [v for v in condition.wanted if v not in set(names)]
        if absent:
            warnings.append(
                absent_values(
                    f"{name}: the filter '{condition.rule}'", {condition.column: absent}, {condition.column: names}
                )
            )
        kept = now
    return np.flatnonzero(kept), report, warnings


def _nothing_left(condition: Filter, name: str, before: int, names: Sequence[str]) -> str:
    """Return the sentence about a filter that keeps no row."""
    hint = next((h for v in condition.wanted if v not in names and (h := did_you_mean(v, names))), "")
    return (
        f"{name}: the filter '{condition.rule}' drops all of the {plural(before, 'row')} that were left.{hint} Values"
        f" of '{condition.column}' in the file: {listing(sorted(names), limit=12) or 'none, all are missing'}."
    )


def absent_values(
    what: str, absent: Mapping[str, Sequence[str]], present: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return the message about values that a recipe names and no row has.

    Parameters
    ----------
    what
        Who names them.
    absent
        Column to values.
    present
        Column to the values that rows have, to suggest the nearest.
    """
    said = []
    for column, values in absent.items():
        said += [
            f"'{v}' ({column}){did_you_mean(v, present[column]).rstrip('?').replace(' Did you mean', ', nearest:')}"
            for v in values
        ]
    values = {column: list(names) for column, names in absent.items()}
    return message("W-REC-01", what=what, n_values=len(said), listed="; ".join(said), values=values)
