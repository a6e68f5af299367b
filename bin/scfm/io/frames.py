"""Columns of obs and var in every encoding that anndata and its relatives have used.

Current files (encoding 0.2.0) are read by anndata. Older ones keep a column's categories beside the frame, in
``__categories/<column>``: anndata 0.7 with a reference to them, converters from Seurat objects without one and with R's
missing integer among the codes. There, and for h5Seurat's groups of ``levels`` and ``values``, anndata would return the
codes, so those columns are read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.text import plural

if TYPE_CHECKING:
    import pandas as pd

#: group of categories beside the columns of an old frame
CATEGORIES = "__categories"
#: names that anndata can't write as columns
RESERVED = frozenset({"_index", CATEGORIES})


def is_compound(frame: Any) -> bool:
    """Tell whether a frame is one array of records, as anndata wrote it before 0.7."""
    return not hasattr(frame, "keys")


def index_key(frame: Any) -> str:
    """Return the name of the array that holds the index."""
    return str(_text(frame.attrs.get("_index", "_index")))


def column_names(frame: Any) -> list[str]:
    """Return the columns of a frame in their order, each once, without the index; a file without an order gives the
    names of its arrays, sorted.
    """
    order = frame.attrs.get("column-order")
    if order is None:
        order = sorted(k for k in frame if k not in {index_key(frame), CATEGORIES})
    return list(dict.fromkeys(str(_text(c)) for c in order))


def read_column(frame: Any, name: str) -> Any:
    """Return the values of a column: an array, or a categorical where the file has categories.

    Raises
    ------
    ScfmError
        What is wrong with it, without the file's name.
    """
    from anndata.io import read_elem

    if name not in frame:
        raise ScfmError("it is named in the order of columns, and the file has no values for it")
    element = frame[name]
    if CATEGORIES in frame and name in frame[CATEGORIES] and hasattr(element, "dtype"):
        categories = frame[CATEGORIES][name]
        return _factor(element[:], categories[:], ordered=bool(categories.attrs.get("ordered", False)))
    if hasattr(element, "keys") and {"levels", "values"} <= set(element.keys()):
        codes = element["values"][:]
        return _factor(codes - (codes > 0) - (codes == 0), element["levels"][:], ordered=False)
    if len(getattr(element, "shape", (0,))) != 1 or (hasattr(element, "dtype") and element.dtype.kind == "V"):
        raise ScfmError(f"it is an array of shape {element.shape} and kind {element.dtype}, expected one value per row")
    values = read_elem(element)
    if not hasattr(values, "dtype"):
        raise ScfmError(
            f"it is stored as '{element.attrs.get('encoding-type', 'a group')}', expected one value per row"
        )
    return [_text(v) for v in values] if values.dtype.kind == "S" else values


def _factor(codes: Any, categories: Any, *, ordered: bool) -> "pd.Categorical":
    """Return codes with their names; negative codes (-1, R's missing integer) are missing values."""
    import numpy as np
    import pandas as pd

    names = np.asarray(
        [_text(c) for c in categories], dtype=categories.dtype if categories.dtype.kind in "biuf" else object
    )
    if codes.dtype.kind not in "iu":
        known = np.isfinite(codes) if codes.dtype.kind == "f" else None
        if known is None or not (codes[known] == np.rint(codes[known])).all():
            raise ScfmError(f"its codes are {codes.dtype} values, expected whole numbers")
        codes = np.where(known, codes, -1)
    codes = np.where(codes < 0, -1, codes.astype(np.int64))
    beyond = int((codes >= len(names)).sum())
    if beyond:
        raise ScfmError(f"{plural(beyond, 'code')} point beyond its {plural(len(names), 'category', 'categories')}")
    places, unique = pd.factorize(names)  # the same name twice is one category
    return pd.Categorical.from_codes(np.append(places, -1)[codes], categories=unique, ordered=ordered)


def _text(value: Any) -> Any:
    """Return bytes as text, other values as they are."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
