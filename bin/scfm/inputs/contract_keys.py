"""The part of the input contract that is about obs keys: batch, label and the optional ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.batch_role import role_question
from scfm.inputs.batch_rules import MIN_BATCH, batch_errors
from scfm.inputs.contract_carried import carried_errors, pairing_errors
from scfm.inputs.keys import (
    PAIR_COLUMNS,
    as_text,
    build_key,
    keys_of,
    level_counts,
    placeholders_of,
    primary_pair,
    split_key,
)
from scfm.inputs.levels import placeholder_warnings, spelling_warnings
from scfm.io.store import Store
from scfm.registries.messages import message
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import pandas as pd

#: optional keys of the samplesheet that name obs columns
OPTIONAL_KEYS = ("condition_key", "donor_key", "tissue_key", "sample_key")


@dataclass(slots=True)
class Report:
    """What the check of one data set found.

    Attributes
    ----------
    name
        How messages call the file.
    errors
        Sentences; any of them stops the run.
    warnings
        Entries made by :func:`scfm.registries.messages.message`.
    facts
        What goes into ``datasets.json``.
    """

    name: str
    errors: list[str] = field(default_factory=list)
    warnings: list[dict] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def attempt(self, check: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run one check; its error becomes one more error, so that the others still run."""
        try:
            return check(*args, **kwargs)
        except ScfmError as error:
            self.errors.append(str(error))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  # a broken file makes h5py, zarr, NumPy and pandas raise anything
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self.errors.append(
                f"{self.name}: a part of the file can't be read ({reason}). Copy or write the file anew."
            )
        return None


def _read_key(store: Store, column: str, key: str, placeholders: frozenset[str] = frozenset()) -> "pd.Series":
    """Return the text per cell of a key named in a column of the samplesheet."""
    parts = split_key(key, store.columns("obs"))
    if not all(parts):
        raise ScfmError(f"{store.name}: '{key}' (column {column}) is not a key; expected obs columns joined by '+'.")
    known = store.columns("obs")
    absent = [p for p in parts if p not in known]
    if absent:
        hints = "".join(did_you_mean(p, known) for p in absent)
        raise ScfmError(
            f"{store.name}: obs has no column {listing(absent)} (column {column} of the samplesheet).{hints} "
            f"Columns: {listing(known, limit=12) or 'none'}."
        )
    values = [store.column("obs", p) for p in parts]
    infinite = {p: n for p, v in zip(parts, values, strict=True) if (n := _n_infinite(v))}
    if infinite:
        raise ScfmError(
            f"{store.name}: obs column {listing(infinite)} (column {column} of the samplesheet) holds "
            f"{plural(sum(infinite.values()), 'infinite value')}; a level must be a name or a finite number. Name "
            "another column, or correct the values."
        )
    try:
        return build_key(values, placeholders)
    except ScfmError as error:
        raise ScfmError(f"{store.name}: column {column}: {error}") from error


def _n_infinite(values: "pd.Series") -> int:
    """Return the number of infinite values of a column; 0 where it holds no floating-point numbers."""
    import numpy as np

    return int(np.isinf(values.to_numpy(dtype=np.float64, na_value=np.nan)).sum()) if values.dtype.kind == "f" else 0


def check_keys(
    store: Store, report: Report, row: Mapping[str, str], params: Mapping[str, Any], obs_columns: Sequence[str]
) -> "pd.Series | None":
    """Check every batch key and label key, the optional keys and columns; placeholders of the former count as missing.

    The primary keys must allow integration; the others are only scored with, so small batches are a warning there.

    Returns
    -------
    Primary batch of every cell; None where there is none to read.
    """
    found: dict[str, dict[str, pd.Series]] = {column: {} for column in (*PAIR_COLUMNS, *OPTIONAL_KEYS)}
    placeholders = placeholders_of(params.get("missing_values"))
    for column, keys in found.items():
        gone = placeholders if column in PAIR_COLUMNS else frozenset()
        for key in keys_of(row, column) if column in PAIR_COLUMNS else filter(None, [row.get(column)]):
            values = report.attempt(_read_key, store, column, key, gone)
            if values is not None:
                keys[key] = values
                report.warnings += placeholder_warnings(store, column, key, gone) if gone else []
                report.warnings += _composite(store, column, key, values)
                if column in OPTIONAL_KEYS:
                    report.warnings += _gaps("E-IN-03/optional", key, values, column=column)
    for name in obs_columns:
        report.attempt(store.column, "obs", name)
    report.errors += _repeated_keys(store.name, row)
    limit = int(params.get("min_cells_per_batch") or 0)
    primary_batch, primary_label = primary_pair(row)
    label = found["label_key"].get(primary_label)
    for key, batch in found["batch_key"].items():
        is_primary = key == primary_batch
        _judge_batches(store.name, report, key, batch, is_primary=is_primary)
        if label is not None and len(batch) == len(label):
            _judge_sizes(report, batch, label, limit, other_key="" if is_primary else key)
    for key, values in found["label_key"].items():
        _judge_labels(store.name, report, key, values, is_primary=key == primary_label)
    optional = {column: found[column].get(str(row.get(column))) for column in OPTIONAL_KEYS}
    report.errors += carried_errors(store, row)
    report.errors += pairing_errors(store.name, row, optional["donor_key"], optional["condition_key"])
    report.warnings += role_question(row, optional | {"batch_key": found["batch_key"].get(primary_batch)})
    return found["batch_key"].get(primary_batch)


def _repeated_keys(name: str, row: Mapping[str, str]) -> list[str]:
    """Return sentences about keys that are listed twice, or as batch and as label."""
    listed = {column: keys_of(row, column) for column in PAIR_COLUMNS}
    errors = [
        f"{name}: {column} lists '{key}' {keys.count(key)} times; list every key once."
        for column, keys in listed.items()
        for key in dict.fromkeys(keys)
        if keys.count(key) > 1
    ]
    both = [key for key in dict.fromkeys(listed["batch_key"]) if key in listed["label_key"]]
    return errors + [
        f"{name}: '{k}' is listed in batch_key and in label_key; the batch can't be the label." for k in both
    ]


def _composite(store: Store, column: str, key: str, pasted: "pd.Series") -> list[dict]:
    """Return the message that reports the levels of a composite key, before and after pasting."""
    parts = split_key(key, store.columns("obs"))
    if len(parts) == 1:
        return []
    before = {p: int(as_text(store.column("obs", p)).nunique()) for p in parts}
    after = level_counts(pasted)
    text = ", ".join(f"'{p}' has {plural(n, 'level')}" for p, n in before.items())
    return [
        message(
            "I-KEY-01",
            column=column,
            key=key,
            parts=text,
            n_levels=len(after),
            levels=list(after),
            values={"parts": before, "levels": after},
        )
    ]


def _gaps(code: str, key: str, values: "pd.Series", **named: str) -> list[dict]:
    """Return the message ``code`` about cells without a value in a key."""
    missing = int(values.isna().sum())
    found = {"n_missing": missing, "key": key, **named}
    return [message(code, n_cells=len(values), values=found)] if missing else []


def _judge_batches(name: str, report: Report, key: str, batch: "pd.Series", *, is_primary: bool) -> None:
    """Check levels and gaps of a batch key."""
    levels = level_counts(batch)
    if is_primary:
        report.facts["batches"] = levels
    errors = batch_errors(name, key, levels, len(batch), is_primary=is_primary)
    report.errors += errors
    report.warnings += spelling_warnings("batch_key", key, levels) if not errors else []
    if len(levels) > 1:
        report.warnings += _gaps("E-IN-03/batch" if is_primary else "E-IN-03/other_batch", key, batch)


def _judge_labels(name: str, report: Report, key: str, label: "pd.Series", *, is_primary: bool) -> None:
    """Check levels and gaps of a label key."""
    levels = level_counts(label)
    if is_primary:
        report.facts["labels"] = levels
    if not levels:
        report.errors.append(
            f"{name}: obs column '{key}' (label_key) is empty for all {plural(len(label), 'cell')}; "
            "nothing can be scored without labels. Name another label_key."
        )
        return
    if len(levels) > 1 and max(levels.values()) == 1:
        report.errors.append(
            f"{name}: obs column '{key}' (label_key) has a label of its own for every cell ({len(levels):,} labels, as"
            " in a column of cell ids); labels are groups of cells. Name another label_key."
        )
        return
    report.warnings += spelling_warnings("label_key", key, levels)
    report.warnings += _gaps("E-IN-03/label" if is_primary else "E-IN-03/other_label", key, label)
    if len(levels) == 1:
        report.warnings.append(
            message("W-MET-02/one_label", key=key, label=next(iter(levels)), values={"labels": levels})
        )


def _judge_sizes(report: Report, batch: "pd.Series", label: "pd.Series", limit: int, *, other_key: str = "") -> None:
    """Warn of batches with few labelled cells; ``other_key`` names a batch key that is not the primary one."""
    sizes = level_counts(batch)
    if len(sizes) < 2:
        return
    scored = level_counts(batch[label.notna()])
    small = {b: scored.get(b, 0) for b in sizes if (other_key or sizes[b] >= MIN_BATCH) and scored.get(b, 0) < limit}
    if small:
        named: dict[str, Any] = {"key": other_key} if other_key else {}
        row = "W-BATCH-01/other" if other_key else "W-BATCH-01"
        report.warnings.append(message(row, n_batches=len(small), sizes=small, **named, values=small, threshold=limit))
