"""Small helpers for sentences: suggestions, counts, lists and comma lists of parameters."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` (with a leading blank) for the nearest known word, or an empty text.

    Examples
    --------
    >>> did_you_mean("harmny", ["harmony", "scvi"])
    " Did you mean 'harmony'?"
    >>> did_you_mean("zzz", ["harmony"])
    ''
    """
    by_lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f" Did you mean '{by_lower[close[0]]}'?" if close else ""


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Return a count with its noun: ``1 cell``, ``1,204 cells``."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th ..."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def listing(items: Iterable[Any], *, limit: int = 5) -> str:
    """Return the first items quoted and the number of the rest: ``'a', 'b' and 3 more``."""
    names = [str(item) for item in items]
    shown = ", ".join(f"'{n}'" for n in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def split_list(value: Any, separator: str = ",") -> list[str]:
    """Return the parts of a comma list as Nextflow may hand it over: text, a number, a list or nothing.

    Examples
    --------
    >>> split_list("pca, harmony"), split_list(0), split_list(None), split_list([1, 2])
    (['pca', 'harmony'], ['0'], [], ['1', '2'])
    """
    if value is None:
        return []
    parts: Sequence[Any] = value if isinstance(value, (list, tuple)) else str(value).split(separator)
    return [str(part).strip() for part in parts if str(part).strip()]
