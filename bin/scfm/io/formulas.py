"""Texts that a spreadsheet would run as a formula, in the tables that people open with one.

A label or gene of the data is text. A spreadsheet that opens a TSV takes a text that begins with ``=`` for a formula,
and one that begins with ``+``, ``-`` or ``@`` where it looks like a call. Such a text is written with an apostrophe in
front of it, which spreadsheets read as "this is text", and read without it. The conversion is exact: a text that has
such an apostrophe already gets another one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

#: formulas: ``=`` in front, or a sign that is followed by a call, a pipe (DDE) or a reference to another sheet
_FORMULA = r"\s*(?:=|[+\-@].*[(|!])"


def as_text(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table in which no text is a formula; the frame itself where none was.

    Examples
    --------
    >>> import pandas as pd
    >>> as_text(pd.DataFrame({"label": ["=1+1", "+CD4", "@SUM(A1)", "-1"]}))["label"].tolist()
    ["'=1+1", '+CD4', "'@SUM(A1)", '-1']
    """
    return _replaced(frame, rf"(?s)^('*{_FORMULA})", r"'\1")


def as_written(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table with the texts that :func:`as_text` was given.

    Examples
    --------
    >>> import pandas as pd
    >>> as_written(pd.DataFrame({"label": ["'=1+1", "''=1", "'a'"]}))["label"].tolist()
    ['=1+1', "'=1", "'a'"]
    """
    return _replaced(frame, rf"(?s)^'('*{_FORMULA})", r"\1")


def _replaced(frame: "pd.DataFrame", pattern: str, by: str) -> "pd.DataFrame":
    """Return a frame with a pattern replaced in its texts; all other values and columns stay what they are."""
    import pandas as pd

    found = re.compile(pattern)
    changed = {}
    for name, column in frame.items():
        if column.dtype.kind == "O":  # objects, strings and categories
            texts = {value for value in column.unique() if isinstance(value, str) and found.match(value)}
            if texts:
                values = [found.sub(by, value) if value in texts else value for value in column]
                changed[str(name)] = pd.Series(values, index=column.index, dtype=object)
    return frame.assign(**changed) if changed else frame
