"""Where a source of a recipe has its counts, what is wrong with them, and writing counts row by row."""

from __future__ import annotations

from scfm.errors import ScfmError
from scfm.io.facts import MatrixFacts
from scfm.io.matrix import Matrix, key_of, open_matrix
from scfm.io.store import Store
from scfm.text import did_you_mean, listing, plural


def pick_source(store: Store, wanted: str, *, where: str) -> str:
    """Return where the counts are: what the recipe names, else ``raw`` where there is one, else ``X``.

    Raises
    ------
    ScfmError
        There is no such matrix.
    """
    layers = store.keys("layers")
    if wanted and wanted not in {"raw", "X"}:
        if wanted not in layers:
            raise ScfmError(
                f"{where}: there is no layer '{wanted}' (key 'counts').{did_you_mean(wanted, layers)} Layers: "
                f"{listing(layers) or 'none'}; 'raw' and 'X' can be named, too."
            )
        return f"layers/{wanted}"
    there = [
        s
        for s in ("raw", "X")
        if key_of(s) in store.root and store.root[key_of(s)].attrs.get("encoding-type") != "null"
    ]
    if wanted and wanted not in there:
        raise ScfmError(
            f"{where}: the recipe asks for counts in '{wanted}', and the file has none there. It has "
            f"{listing([*there, *layers]) or 'no matrix at all'}."
        )
    if not there:
        raise ScfmError(
            f"{where}: there are no counts: neither raw.X nor X exists. Layers: {listing(layers) or 'none'}; name one"
            " with the key 'counts'."
        )
    return wanted or there[0]


def counts_errors(facts: MatrixFacts, *, where: str) -> list[str]:
    """Return a sentence if the chosen values are no raw counts.

    Parameters
    ----------
    facts
        Tally of the values that were read.
    where
        How messages call source and file.
    """
    kinds = {
        "missing value (NaN)": facts.n_nan,
        "infinite value": facts.n_infinite,
        "negative value": facts.n_negative,
        "fractional value": facts.n_fractional,
        "value above 16,777,216, which single precision can't hold exactly,": facts.n_large,
    }
    found = [plural(n, kind, kind.replace("value", "values", 1)) for kind, n in kinds.items() if n]
    if found:
        what = f"holds {', '.join(found)} of {facts.n_stored:,} in the chosen rows"
    elif facts.maximum <= 0:
        what = "holds no value above zero in the chosen rows"
    else:
        return []
    hint = (
        " They look log-transformed."
        if facts.looks_logged and not (facts.n_nan or facts.n_infinite or facts.n_negative)
        else ""
    )
    return [
        f"{where}: '{facts.source}' {what}; raw counts are whole, non-negative and finite.{hint} Name the place of the"
        " raw counts with the key 'counts' of the source (raw, X, or a layer)."
    ]


def matrix_of(store: Store, wanted: str, *, where: str) -> Matrix:
    """Return the matrix that holds the counts, its structure checked."""
    return open_matrix(store, pick_source(store, wanted, where=where))
