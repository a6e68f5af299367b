"""The obs frame of the result: columns of the chosen rows, renamed, added, and joined over sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.keys import build_key
from scfm.io.store import Store
from scfm.recipes.recipe import Recipe, Source, value_text
from scfm.recipes.rows import read_values
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SOURCE_ID = "source_cell_id"


def read_obs(store: Store, spec: Source, rows: "np.ndarray") -> tuple["pd.DataFrame", dict[str, str]]:
    """Read the chosen rows of obs and make the columns of the recipe.

    A column that can't be read is left out, unless the recipe renames or pastes it.

    Parameters
    ----------
    store
        Open file.
    spec
        Source of the recipe: ``rename``, then ``set``, then ``paste``.
    rows
        Positions, ascending.

    Returns
    -------
    Frame with the file's own cell ids as index; column that was left out to the reason.
    """
    import pandas as pd

    known = store.columns("obs")
    for column in spec.rename:
        _require(column, known, f"{store.name}: rename")
    clash = [new for old, new in spec.rename.items() if new in known and new not in spec.rename]
    if clash:
        raise ScfmError(
            f"{store.name}: rename: the column {listing(clash)} exists already; rename that one, too, or choose another"
            " name."
        )
    # one column at a time, so that only the chosen rows of the others are in memory
    used = {*spec.rename, *(part for parts in spec.paste.values() for part in parts)}
    columns: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for c in known:
        try:
            columns[spec.rename.get(c, c)] = read_values(store, c, rows)
        except ScfmError as error:
            if c in used:
                raise
            left_out[c] = str(error)
    for column, value in spec.set.items():
        columns[column] = (
            pd.Series(pd.Categorical([value_text(value)] * len(rows)))
            if isinstance(value, str)
            else pd.Series([value] * len(rows))
        )
    for column, parts in spec.paste.items():
        for part in parts:
            _require(part, list(columns), f"{store.name}: paste")
        columns[column] = pd.Series(pd.Categorical(build_key([columns[p].rename(p) for p in parts])))
    frame = pd.DataFrame(columns, index=range(len(rows)))
    return frame.set_index(pd.Index(read_values(store, "_index", rows).to_numpy(dtype=object), dtype=object)), left_out


def _require(column: str, known: Sequence[str], where: str) -> None:
    if column not in known:
        raise ScfmError(
            f"{where}: there is no column '{column}'.{did_you_mean(column, known)} Columns: {listing(known, limit=12)}."
        )


def join_obs(frames: Mapping[str, "pd.DataFrame"]) -> "pd.DataFrame":
    """Join the cells of several sources: all columns of any, missing where a source lacks one.

    Columns that are categorical in every source that has them stay categorical. Columns of different kinds become text.
    """
    import pandas as pd

    names = list(dict.fromkeys(c for frame in frames.values() for c in frame.columns))
    columns = {name: _join_column([f[name] if name in f else len(f) for f in frames.values()]) for name in names}
    index = pd.Index([i for f in frames.values() for i in f.index], dtype=object)
    return pd.DataFrame(columns, index=range(len(index))).set_index(index)


def _join_column(parts: "Sequence[pd.Series | int]") -> "pd.Series":
    """Join a column; a number stands for so many missing values."""
    import pandas as pd

    given = [p for p in parts if not isinstance(p, int)]
    if all(isinstance(p.dtype, pd.CategoricalDtype) for p in given):
        names = list(dict.fromkeys(c for p in given for c in p.cat.categories))
        if not all(p.cat.ordered and list(p.cat.categories) == names for p in given):
            names = sorted(names, key=str)
        kind = pd.CategoricalDtype(names, ordered=all(p.cat.ordered and list(p.cat.categories) == names for p in given))
        empty = kind
    else:
        kinds = {_kind(p) for p in given}
        kind = object if len(kinds) > 1 or "text" in kinds else None
        empty = object if kind is object else {"bool": "boolean", "number": "float64"}.get(kinds.pop(), object)
    filled = [pd.Series([None] * p, dtype=empty) if isinstance(p, int) else _typed(p, kind) for p in parts]
    return pd.concat(filled, ignore_index=True) if len(filled) > 1 else filled[0].reset_index(drop=True)


def _kind(values: "pd.Series") -> str:
    """Return ``bool``, ``number`` or ``text``."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(values.dtype):
        return "bool"
    return "number" if pd.api.types.is_numeric_dtype(values.dtype) else "text"


def _typed(values: "pd.Series", kind: Any) -> "pd.Series":
    """Return a column as the joined one is stored; numbers and truth values become text beside text."""
    from scfm.inputs.keys import as_text

    if kind is None:
        return values
    if kind is object:
        return values.astype(object) if _kind(values) == "text" and str(values.dtype) != "category" else as_text(values)
    return values.astype(kind)


def finish_obs(obs: "pd.DataFrame", recipe: Recipe, order: Sequence[str]) -> tuple["pd.DataFrame", list[str]]:
    """Number the cells, drop columns, and drop categories that no cell has.

    Parameters
    ----------
    obs
        The cells of the result; index: their ids in the files.
    recipe
        ``prefix`` and ``drop_columns``.
    order
        Source of each cell, for messages.

    Returns
    -------
    The frame; the columns that were dropped.

    Raises
    ------
    ScfmError
        Ids of the files are kept and not unique.
    """
    import pandas as pd

    dropped = [c for c in recipe.drop_columns if c in obs]
    obs = obs.drop(columns=dropped)
    for column in obs.columns:
        if isinstance(obs[column].dtype, pd.CategoricalDtype):
            obs[column] = obs[column].cat.remove_unused_categories()
    if recipe.prefix:
        obs[SOURCE_ID] = obs.index
        return obs.set_index(pd.Index([f"{recipe.prefix}{i}" for i in range(len(obs))], dtype=object)), dropped
    twins = obs.index[obs.index.duplicated()].unique()
    if len(twins):
        raise ScfmError(
            f"{recipe.path.name}: {plural(len(twins), 'cell id')} of {listing(dict.fromkeys(order))} occur more than"
            f" once ({listing(twins, limit=3)}). Number the cells with 'cell_ids: {{prefix: cell_}}'."
        )
    return obs, dropped
