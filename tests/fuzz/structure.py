"""Changes of an h5ad file's structure: what is chosen is up to the caller, so that a fuzzer can steer it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

#: return a number from 0 to ``n - 1``
Pick = Callable[[int], int]

TEXTS = ["", "a", "batch", "_index", "nan", "../x", "=1+1", "-1", "\u00e9", "x" * 300, "categorical", "csr_matrix"]
NUMBERS = [0, -1, 1, 2**31, -(2**62), 10**12, 60, 40]
ENCODINGS = [
    *("array", "string-array", "categorical", "csr_matrix", "csc_matrix", "dataframe", "dict", "anndata", "null"),
    *("nullable-integer", "nullable-boolean", "nullable-string-array", "numeric-scalar", "string", "rec-array", "no"),
]
SHAPES = [(), (0,), (1,), (3,), (60,), (61,), (40,), (60, 2), (60, 40), (2, 3, 4), (0, 0)]
KINDS = ["f4", "f8", "f2", "i1", "i4", "i8", "u8", "?", "c8", "S3", "V4", "text", "records", "enum"]


def values_of(pick: Pick) -> Any:
    """Return an array of any kind and shape, or nothing but a kind."""
    kind, shape = KINDS[pick(len(KINDS))], SHAPES[pick(len(SHAPES))]
    if pick(12) == 0:
        return h5py.Empty("f4")
    number = int(np.prod(shape, dtype=int))
    if kind == "text":
        return np.array([TEXTS[(pick(len(TEXTS)) + i) % len(TEXTS)] for i in range(number)], dtype=object).reshape(
            shape
        )
    if kind == "records":
        return np.zeros(shape, dtype=[("index", "S3"), ("n", "i4")])
    if kind == "enum":
        return np.zeros(shape, dtype=h5py.enum_dtype({"FALSE": 0, "TRUE": 1}, basetype="i1"))
    if kind in {"V4", "S3"}:
        return np.zeros(shape, dtype=kind)
    odd = [0, 1, -1, 2, 0.5, np.nan, np.inf, 1e300, 2**53][pick(9)]
    with np.errstate(all="ignore"):
        return np.full(shape, odd).astype(kind)


def _put(file: h5py.File, key: str, values: Any) -> None:
    """Replace an object by an array; its attributes stay."""
    attributes = dict(file[key].attrs)
    del file[key]
    if isinstance(values, np.ndarray) and values.dtype.kind == "O":
        file.create_dataset(key, data=values, dtype=h5py.string_dtype())
    else:
        file[key] = values
    for name, value in attributes.items():
        file[key].attrs[name] = value


def _attribute(file: h5py.File, key: str, pick: Pick) -> None:
    """Change, add or delete an attribute."""
    attrs = file[key].attrs
    names = ["encoding-type", "encoding-version", "shape", "column-order", "_index", *attrs]
    name = names[pick(len(names))]
    what = pick(5)
    if what == 0:
        attrs.pop(name, None)
    elif what == 1:
        attrs[name] = ENCODINGS[pick(len(ENCODINGS))]
    elif what == 2:
        attrs[name] = np.array([NUMBERS[pick(len(NUMBERS))] for _ in range(pick(4))], dtype=np.int64)
    elif what == 3:
        attrs[name] = TEXTS[pick(len(TEXTS))]
    else:
        attrs[name] = h5py.Empty("f4")


def _reshape(file: h5py.File, key: str, pick: Pick) -> None:
    """Cut, repeat or change single values of an array."""
    if not isinstance(file[key], h5py.Dataset) or not file[key].shape:
        return
    values = file[key][...]
    what = pick(4)
    if what == 0:
        _put(file, key, values[: pick(len(values) + 1)])
    elif what == 1:
        _put(file, key, np.concatenate([values, values]))
    elif what == 2 and values.size and values.dtype.kind in "iuf":
        with np.errstate(all="ignore"):
            values.flat[pick(values.size)] = np.array(NUMBERS[pick(len(NUMBERS))]).astype(values.dtype)
        _put(file, key, values)
    elif what == 3 and values.size and values.dtype.kind == "f":
        values.flat[pick(values.size)] = [np.nan, np.inf, -1, 0.5][pick(4)]
        _put(file, key, values)


def _link(file: h5py.File, key: str, pick: Pick) -> None:
    """Replace an object by a link: to another, to itself, to nothing, to another file."""
    others = ["/X", "/obs", "/", key, "/nothing"]
    target = others[pick(len(others))]
    del file[key]
    file[key] = h5py.ExternalLink("/etc/hostname", "/X") if pick(4) == 0 else h5py.SoftLink(target)


def _keys(file: h5py.File) -> list[str]:
    """Return every object below the root, in a fixed order."""
    found: list[str] = []
    file.visit(found.append)
    return sorted(found)


def change_structure(file: h5py.File, pick: Pick, most: int = 4) -> None:
    """Change a file in one to ``most`` places.

    Parameters
    ----------
    file
        Open for writing, a valid AnnData file.
    pick
        Chooses every place, kind and value.
    most
        Most changes.
    """
    for _ in range(1 + pick(most)):
        keys = _keys(file)
        if not keys:
            return
        key = keys[pick(len(keys))]
        what = pick(6)
        if what == 0:
            del file[key]
        elif what == 1:
            _put(file, key, values_of(pick))
        elif what == 2:
            _attribute(file, key, pick)
        elif what == 3:
            _reshape(file, key, pick)
        elif what == 4:
            _link(file, key, pick)
        else:
            del file[key]
            file.create_group(key)
