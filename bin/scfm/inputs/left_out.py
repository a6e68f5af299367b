"""Columns of obs and var that can't be read or written: they are left out with a warning, unless a key needs them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from scfm.errors import ScfmError
from scfm.inputs.keys import CARRIED, KEYS, keys_of, split_key
from scfm.io.frames import RESERVED, column_names, is_compound
from scfm.io.store import Store
from scfm.registries.messages import message

#: encodings of columns that anndata reads
_KNOWN = frozenset(
    {"", "array", "string-array", "categorical", "nullable-integer", "nullable-boolean", "nullable-string-array"}
)


def needed_columns(row: Mapping[str, Any], obs_columns: Iterable[str], known: Sequence[str]) -> set[str]:
    """Return the obs columns that a run reads: those of the samplesheet's keys, and more named by parameters."""
    keys = [row[column] for column in KEYS.values() if row.get(column)]
    carried = {key for column in CARRIED.values() for key in keys_of(row, column)}
    return {part for key in keys for part in split_key(key, known)} | carried | set(obs_columns)


def unreadable(store: Store, frame: str, needed: Collection[str] = ()) -> dict[str, str]:
    """Return the columns of a frame that will be left out, with the reason, without reading all values.

    Columns that are needed are not among them: a key that can't be read is an error. Length and encoding are looked at;
    what only reading shows is found by :meth:`scfm.io.store.Store.frame`.
    """
    root = store.root[frame]
    if is_compound(root):
        return {}
    found, n_rows = {}, store.n_rows(frame)
    for name in column_names(root):
        if name in needed:
            continue
        element = root.get(name)
        encoding = str(element.attrs.get("encoding-type", "")) if element is not None else ""
        shape = getattr(element, "shape", None)
        if name in RESERVED:
            found[name] = f"{store.name}: {frame} has a column '{name}', a name that anndata keeps for itself."
        elif element is None or encoding not in _KNOWN or (shape is not None and tuple(shape) != (n_rows,)):
            try:
                store.column(frame, name)
            except ScfmError as error:
                found[name] = str(error)
    return found


def left_out_warnings(left_out: Mapping[str, str]) -> list[dict]:
    """Return the message about columns that are left out; none where there are none."""
    if not left_out:
        return []
    reasons = " ".join(list(left_out.values())[:3])
    return [message("W-IN-07", n_columns=len(left_out), reasons=reasons, values={"columns": list(left_out)})]
