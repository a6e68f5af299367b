"""Cheap facts about the design of a data set: role of the batch, what is confounded with it, measures of balance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from scfm.registries.messages import message

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: an obs column with more levels is no design variable
MAX_LEVELS = 50


def effective_share(counts: "np.ndarray") -> float:
    """Return exp(entropy) of the counts divided by their number: 1 = all equal, 1/n = one holds everything."""
    import numpy as np

    counts = np.asarray(counts, dtype=float)
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()) / len(counts))


def composition_distance(table: "np.ndarray") -> float:
    """Return the mean pairwise Jensen-Shannon distance (base 2, 0 to 1) of the rows' proportions; 0 = same composition.

    Parameters
    ----------
    table
        Cells per batch (rows) and label (columns); rows without cells are left out.
    """
    import numpy as np
    from scipy.spatial.distance import jensenshannon

    table = np.asarray(table, dtype=float)
    shares = table[table.sum(axis=1) > 0]
    shares = shares / shares.sum(axis=1, keepdims=True)
    pairs = [jensenshannon(shares[i], shares[j], base=2) for i in range(len(shares)) for j in range(i)]
    return float(np.nan_to_num(pairs).mean()) if pairs else 0.0


def design_warnings(batch: "pd.Series", label: "pd.Series", *, batch_role: str, batch_key: str) -> list[dict]:
    """Return warnings about the role of the batch (W-CONF-03) and labels in one batch (W-MET-02).

    Parameters
    ----------
    batch, label
        Of the scored cells, no missing values.
    batch_role
        ``technical``, ``biological`` or ``mixed``, as the samplesheet says; empty where it does not.
    batch_key
        Name of the key, for the text.
    """
    import pandas as pd

    found: list[dict] = []
    if batch_role not in {"", "technical"}:
        found.append(message("W-CONF-03", batch_key=batch_key, values={"batch_role": batch_role}))
    if batch.empty:
        return found
    table = pd.crosstab(batch.astype(str), label.astype(str))
    if len(table) > 1:
        single = [str(name) for name in table.columns if int((table[name] > 0).sum()) == 1]
        if single:
            found.append(message("W-MET-02/one_batch", n_labels=len(single), values={"labels": single}))
    return found


def crossing(batch: "pd.Series", other: "pd.Series") -> dict[str, Any] | None:
    """Return how a column lies to the batches, over the cells that have both.

    Parameters
    ----------
    batch, other
        Same length; missing values allowed.

    Returns
    -------
    ``levels`` and ``n_cells``; ``cramers_v``, Cramer's V with bias correction, 0 (independent) to 1 (one tells the
    other); ``relation``: ``one_to_one``, ``batch_in_column`` (every batch has one level of the column),
    ``column_in_batch`` (every level occurs in one batch), ``crossed`` (every combination occurs) or ``partial``. None
    with fewer than two batches or levels.
    """
    import pandas as pd

    both = (batch.notna() & other.notna()).to_numpy()
    table = pd.crosstab(pd.factorize(batch[both])[0], pd.factorize(other[both])[0]).to_numpy()
    if min(table.shape, default=0) < 2:
        return None
    one_level, one_batch = ((table > 0).sum(axis=1) == 1).all(), ((table > 0).sum(axis=0) == 1).all()
    relation = (
        "one_to_one"
        if one_level and one_batch
        else (
            "batch_in_column"
            if one_level
            else "column_in_batch"
            if one_batch
            else "crossed"
            if (table > 0).all()
            else "partial"
        )
    )
    return {
        "levels": table.shape[1],
        "n_cells": int(table.sum()),
        "relation": relation,
        "cramers_v": corrected_cramers_v(table),
    }


def corrected_cramers_v(table: "np.ndarray") -> float:
    """Return Cramer's V with the bias correction of Bergsma (2013), doi 10.1016/j.jkss.2012.10.002.

    Without it, independent columns of many levels on few cells look associated.

    Parameters
    ----------
    table
        Counts, at least two rows and two columns, none of them empty.

    Returns
    -------
    0 (no more than chance) to 1 (one tells the other).
    """
    from scipy.stats.contingency import association

    n, rows, columns = table.sum(), table.shape[0] - 1, table.shape[1] - 1
    phi = association(table, method="cramer") ** 2 * min(rows, columns) - rows * columns / (n - 1)
    levels = min(rows - rows**2 / (n - 1), columns - columns**2 / (n - 1))
    return float(min(1.0, max(0.0, phi) / levels) ** 0.5) if levels > 0 else 0.0


def confounding(
    obs: "pd.DataFrame", user_obs: "pd.DataFrame", *, keys: Mapping[str, str], skip: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Return how the keys and every categorical column of the user's obs lie to the batches, strongest first.

    Parameters
    ----------
    obs
        ``batch`` and the columns of the other keys.
    user_obs
        The user's columns, same rows; those that are text, categories or booleans with 2 to 50 levels are looked at.
    keys
        ``{key: column of the samplesheet}``, ``batch`` among them.
    skip
        Columns of the user's that are left out: those that make up the batch itself.

    Returns
    -------
    One entry per column: ``column``, ``key`` (empty for other obs columns), those of :func:`crossing`, and ``same_as``:
    further columns that split the cells in the same way, such as a name and its ontology id.
    """
    import pandas as pd

    seen: dict[bytes, dict[str, Any]] = {}
    named = {
        name: keys.get(name) or name
        for name in ("label", "condition", "donor", "tissue")
        if name in obs and obs[name].notna().any()
    }
    columns = [(title, name, obs[name]) for name, title in named.items()]
    left_out = {*skip, *named.values()}
    columns += [
        (str(c), "", user_obs[c]) for c in user_obs.columns if c not in left_out and _is_categorical(user_obs[c])
    ]
    batch = obs["batch"].reset_index(drop=True)
    for title, key, values in columns:
        codes = pd.factorize(values)[0]
        if not key and not 2 <= codes.max(initial=-1) + 1 <= MAX_LEVELS:
            continue
        mark = codes.tobytes()
        if mark in seen:
            seen[mark]["same_as"].append(title)
            continue
        found = crossing(batch, pd.Series(values.to_numpy(dtype=object)))
        if found:
            seen[mark] = {"column": title, "key": key, **found, "same_as": []}
    return sorted(seen.values(), key=lambda e: (-round(e["cramers_v"], 2), e["key"] == "", e["column"]))


def _is_categorical(values: "pd.Series") -> bool:
    import pandas as pd

    return (
        isinstance(values.dtype, pd.CategoricalDtype)
        or pd.api.types.is_object_dtype(values)
        or pd.api.types.is_string_dtype(values)
        or pd.api.types.is_bool_dtype(values)
    )
