"""Obs keys, single or composite (``donor+timepoint``), as text per cell; and the pairs of several keys.

A data set may have several batch keys and several label keys (``donor;assay``). The first of each is the primary one:
methods correct it and everything that is ranked uses it. Every step after the preparation finds the keys in the obs
table, where ``batch:<key>`` and ``label:<key>`` hold each of them, and ``batch`` and ``label`` the primary ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.text import split_list

if TYPE_CHECKING:
    import pandas as pd

#: names in ``<dataset>.obs.parquet`` -> columns of the samplesheet that name the obs column behind them
KEYS = {
    "batch": "batch_key",
    "label": "label_key",
    "condition": "condition_key",
    "donor": "donor_key",
    "tissue": "tissue_key",
    "sample": "sample_key",
}
#: what makes a sample where ``sample_key`` is not given: every combination of these keys that occurs
SAMPLE_PARTS = ("batch", "donor", "condition", "tissue")
#: columns carried along as ``<name>:<key>`` in ``<dataset>.obs.parquet``: name -> column of the samplesheet
CARRIED = {"clinical": "clinical_keys", "modality": "modality_keys"}
#: keys that the samplesheet may list several of
LISTED = ("batch", "label")
#: columns that every table of results has, in this order
PAIR_COLUMNS = ("batch_key", "label_key")
#: text that means "no value" in obs columns that went through CSV or R
MISSING_TEXT = frozenset({"", "nan", "NaN", "NAN", "None", "<NA>", "NA", "N/A", "null"})


def split_key(key: str, columns: Sequence[str]) -> list[str]:
    """Return the columns of a key; a column that is itself called ``a+b`` is one column.

    Examples
    --------
    >>> split_key("donor + time", ["donor", "time"]), split_key("a+b", ["a+b"])
    (['donor', 'time'], ['a+b'])
    """
    if key in columns or "+" not in key:
        return [key]
    return [part.strip() for part in key.split("+")]


def placeholders_of(value: Any) -> frozenset[str]:
    """Return the texts of ``--missing_values`` that stand for a missing batch or label, case-folded; ``none`` is none.

    Examples
    --------
    >>> sorted(placeholders_of("Unknown, unassigned")), placeholders_of("none"), placeholders_of(None)
    (['unassigned', 'unknown'], frozenset(), frozenset())
    """
    names = split_list(value)
    return frozenset() if names == ["none"] else frozenset(n.casefold() for n in names)


def as_text(values: "pd.Series") -> "pd.Series":
    """Return a column as text; missing values (NaN, None, empty text, 'nan', 'NA' ...) become NA.

    Whole floats lose their ``.0`` (a number column with missing values is read as float), also as categories.
    """
    import numpy as np
    import pandas as pd

    if isinstance(values.dtype, pd.CategoricalDtype):
        names = [*as_text(pd.Series(values.cat.categories)), None]  # the code of a missing value is -1
        found = np.array(names, dtype=object)[values.cat.codes.to_numpy()]
        return pd.Series(found, index=values.index, name=values.name, dtype=object)
    if pd.api.types.is_float_dtype(values.dtype):
        known = values.dropna().to_numpy(dtype=np.float64)
        if (np.isfinite(known) & (known == np.rint(known)) & (np.abs(known) < 2**53)).all():
            values = values.astype("Int64")
    text = values.astype(object).where(values.notna(), None)
    text = text.map(lambda v: None if v is None else str(v).strip())
    return text.map(lambda v: None if v is None or v in MISSING_TEXT else v).astype(object)


def build_key(parts: "Sequence[pd.Series]", placeholders: frozenset[str] = frozenset()) -> "pd.Series":
    """Paste columns to one key: levels joined by ``+``, missing where any part is missing.

    Parameters
    ----------
    parts
        Columns of the same index.
    placeholders
        Texts that stand for a missing value, case-folded, from :func:`placeholders_of`.

    Returns
    -------
    Text per cell, None for missing.

    Raises
    ------
    ScfmError
        Two different combinations of levels paste to the same text.
    """
    import pandas as pd

    texts = [as_text(p).reset_index(drop=True) for p in parts]
    texts = [t.where(~t.map(lambda v: v is not None and v.casefold() in placeholders), None) for t in texts]
    if len(texts) == 1:
        return texts[0]
    table = pd.concat(texts, axis=1, keys=range(len(texts)))
    whole = table.notna().all(axis=1)
    pasted = table[whole].agg("+".join, axis=1) if whole.any() else pd.Series(dtype=object)
    if len(table[whole].drop_duplicates()) != pasted.nunique():
        names = "+".join(str(p.name) for p in parts)
        raise ScfmError(
            f"The composite key '{names}' is ambiguous: different levels paste to the same text because levels "
            "hold '+' themselves. Rename them."
        )
    return pasted.reindex(range(len(table))).astype(object).where(whole, None)


def default_sample(keys: "pd.DataFrame") -> "pd.Series":
    """Return the sample of every cell where none is named: the combination of its batch, donor, condition and tissue.

    Parameters
    ----------
    keys
        Columns of :data:`SAMPLE_PARTS` that are declared, text. A column that splits no cells further adds nothing to
        the name. Where several are joined, a ``+`` inside a level is written ``\\+``, so that no two combinations share
        a name.

    Returns
    -------
    Text per cell, None where a part of the name is missing.
    """
    parts: list[str] = []
    n_groups = 0
    for name in keys:
        finer = keys.groupby([*parts, name], dropna=False, sort=False).ngroups
        if finer > n_groups or not parts:
            parts, n_groups = [*parts, name], finer
    if len(parts) == 1:
        return build_key([keys[parts[0]]])
    return build_key([keys[p].map(lambda t: t and t.replace("\\", "\\\\").replace("+", "\\+")) for p in parts])


def level_counts(values: "pd.Series") -> dict[str, int]:
    """Return the number of cells per level, levels sorted by name, missing left out."""
    counts = values.dropna().value_counts()
    return {str(level): int(counts[level]) for level in sorted(counts.index)}


def keys_of(row: Mapping[str, Any], column: str) -> list[str]:
    """Return the keys that a row of the samplesheet lists in ``batch_key`` or ``label_key``, the primary one first.

    Examples
    --------
    >>> keys_of({"batch_key": "donor; assay+site"}, "batch_key"), keys_of({}, "label_key")
    (['donor', 'assay+site'], [])
    """
    return split_list(row.get(column), ";")


def primary_pair(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the primary batch key and label key of a row of the samplesheet; empty text where there is none."""
    batch, label = (next(iter(keys_of(row, column)), "") for column in PAIR_COLUMNS)
    return batch, label


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A batch key and a label key that embeddings are scored with.

    Attributes
    ----------
    batch_key, label_key
        Keys as in the samplesheet.
    is_primary
        Whether both are the first of their list.
    """

    batch_key: str
    label_key: str
    is_primary: bool

    @property
    def names(self) -> dict[str, str]:
        """The columns of this pair in every table of results."""
        return dict(zip(PAIR_COLUMNS, (self.batch_key, self.label_key), strict=True))

    def view(self, obs: "pd.DataFrame") -> "pd.DataFrame":
        """Return an obs table in which ``batch``, ``label`` and ``scored`` are those of this pair.

        A cell is scored with a pair if it is scored with the primary pair and has both keys of this one. The primary
        pair gives the table itself.
        """
        if self.is_primary:
            return obs
        batch, label = (
            obs[key_column(name, key)] if key_column(name, key) in obs else obs[name]
            for name, key in zip(LISTED, (self.batch_key, self.label_key), strict=True)
        )
        return obs.assign(batch=batch, label=label, scored=obs["scored"].astype(bool) & batch.notna() & label.notna())


def key_column(name: str, key: str) -> str:
    """Return the column of the obs table that holds a key: ``batch:<key>`` or ``label:<key>``."""
    return f"{name}:{key}"


def key_pairs(columns: Collection[str]) -> list[KeyPair]:
    """Return every pair of a batch key and a label key of an obs table, the primary pair first.

    Parameters
    ----------
    columns
        Its columns. One without ``batch:<key>`` (or ``label:<key>``) has one such key, named like its column.

    Examples
    --------
    >>> [p.names for p in key_pairs(["batch", "label", "batch:donor", "batch:assay"])]
    [{'batch_key': 'donor', 'label_key': 'label'}, {'batch_key': 'assay', 'label_key': 'label'}]
    """
    found = {
        name: [c.removeprefix(f"{name}:") for c in columns if c.startswith(f"{name}:")] or [name] for name in LISTED
    }
    return [
        KeyPair(batch, label, i == j == 0)
        for i, batch in enumerate(found["batch"])
        for j, label in enumerate(found["label"])
    ]
