"""The part of the input contract that is about obs keys: batch, label and the optional ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.keys import PAIR_COLUMNS, as_text, build_key, keys_of, level_counts, primary_pair, split_key
from scfm.io.store import Store
from scfm.registries.messages import message
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import pandas as pd

#: fewer cells than this in a batch and nothing can be said about it
MIN_BATCH = 3
#: optional keys of the samplesheet that name obs columns
OPTIONAL_KEYS = ("condition_key", "donor_key", "tissue_key")


@dataclass(slots=True)
class Report:
    """What the check of one data set found.

    Attributes
    ----------
    name
        How messages call the file.
    faults
        Sentences; any of them stops the run.
    warnings
        Entries made by :func:`scfm.registries.messages.message`.
    facts
        What goes into ``datasets.json``.
    """

    name: str
    faults: list[str] = field(default_factory=list)
    warnings: list[dict] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def attempt(self, check: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run one check; its error becomes one more fault, so that the others still run."""
        try:
            return check(*args, **kwargs)
        except ScfmError as error:
            self.faults.append(str(error))
        except (OSError, KeyError, ValueError, RuntimeError) as error:  # what h5py and zarr raise on a damaged part
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self.faults.append(
                f"{self.name}: a part of the file can't be read ({reason}). Copy or write the file anew."
            )
        return None


def _read_key(store: Store, column: str, key: str) -> "pd.Series":
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
    try:
        return build_key([store.column("obs", p) for p in parts])
    except ScfmError as error:
        raise ScfmError(f"{store.name}: column {column}: {error}") from error


def check_keys(
    store: Store, report: Report, row: Mapping[str, str], params: Mapping[str, Any], obs_columns: Sequence[str]
) -> None:
    """Check every batch key and label key, and the optional keys.

    The primary keys must allow integration; the others are only scored with, so small batches are a warning there.
    """
    found: dict[str, dict[str, pd.Series]] = {column: {} for column in (*PAIR_COLUMNS, *OPTIONAL_KEYS)}
    for column, keys in found.items():
        for key in keys_of(row, column) if column in PAIR_COLUMNS else filter(None, [row.get(column)]):
            values = report.attempt(_read_key, store, column, key)
            if values is not None:
                keys[key] = values
                report.warnings += _composite(store, column, key, values)
    for name in obs_columns:
        report.attempt(store.column, "obs", name)
    report.faults += _repeated_keys(store.name, row)
    limit = int(params.get("min_cells_per_batch") or 0)
    primary_batch, primary_label = primary_pair(row)
    label = found["label_key"].get(primary_label)
    for key, batch in found["batch_key"].items():
        is_primary = key == primary_batch
        _judge_batches(store.name, report, key, batch, is_primary=is_primary)
        if label is not None and len(batch) == len(label):
            _judge_sizes(store.name, report, batch, label, limit, other_key="" if is_primary else key)
    for key, values in found["label_key"].items():
        _judge_labels(store.name, report, key, values, is_primary=key == primary_label)


def _repeated_keys(name: str, row: Mapping[str, str]) -> list[str]:
    """Return sentences about keys that are listed twice, or as batch and as label."""
    listed = {column: keys_of(row, column) for column in PAIR_COLUMNS}
    faults = [
        f"{name}: {column} lists '{key}' {keys.count(key)} times; list every key once."
        for column, keys in listed.items()
        for key in dict.fromkeys(keys)
        if keys.count(key) > 1
    ]
    both = [key for key in dict.fromkeys(listed["batch_key"]) if key in listed["label_key"]]
    return faults + [
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


def _judge_batches(name: str, report: Report, key: str, batch: "pd.Series", *, is_primary: bool) -> None:
    """Check levels and gaps of a batch key."""
    levels, missing = level_counts(batch), int(batch.isna().sum())
    if is_primary:
        report.facts["batches"] = levels
    if not levels:
        report.faults.append(
            f"{name}: obs column '{key}' (batch_key) is empty for all {plural(len(batch), 'cell')}; "
            "every cell needs its batch."
        )
    elif len(levels) == 1:
        report.faults.append(
            f"{name}: obs column '{key}' (batch_key) has one batch only ('{next(iter(levels))}'); "
            "at least two are needed to ask for a batch effect. Name another batch_key."
        )
    elif missing:
        gaps = {"n_missing": missing, "key": key}
        row = "E-IN-03/batch" if is_primary else "E-IN-03/other_batch"
        report.warnings.append(message(row, n_cells=len(batch), values=gaps))


def _judge_labels(name: str, report: Report, key: str, label: "pd.Series", *, is_primary: bool) -> None:
    """Check levels and gaps of a label key."""
    levels, missing = level_counts(label), int(label.isna().sum())
    if is_primary:
        report.facts["labels"] = levels
    if not levels:
        report.faults.append(
            f"{name}: obs column '{key}' (label_key) is empty for all {plural(len(label), 'cell')}; "
            "nothing can be scored without labels. Name another label_key."
        )
        return
    if missing:
        gaps = {"n_missing": missing, "key": key}
        row = "E-IN-03/label" if is_primary else "E-IN-03/other_label"
        report.warnings.append(message(row, n_cells=len(label), values=gaps))
    if len(levels) == 1:
        report.warnings.append(
            message("W-MET-02/one_label", key=key, label=next(iter(levels)), values={"labels": levels})
        )


def _judge_sizes(
    name: str, report: Report, batch: "pd.Series", label: "pd.Series", limit: int, *, other_key: str = ""
) -> None:
    """Check the number of cells per batch; ``other_key`` is the name of a batch key that is not the primary one."""
    sizes = level_counts(batch)
    if len(sizes) < 2:
        return
    tiny = {} if other_key else {b: n for b, n in sizes.items() if n < MIN_BATCH}
    if tiny:
        shown = listing([f"{b}: {n}" for b, n in tiny.items()], limit=10)
        report.faults.append(
            f"{name}: {plural(len(tiny), 'batch has', 'batches have')} fewer than {MIN_BATCH} cells "
            f"({shown}). Remove these cells or merge the batches."
        )
    scored = level_counts(batch[label.notna()])
    small = {b: scored.get(b, 0) for b in sizes if b not in tiny and scored.get(b, 0) < limit}
    if small:
        named: dict[str, Any] = {"key": other_key} if other_key else {}
        row = "W-BATCH-01/other" if other_key else "W-BATCH-01"
        report.warnings.append(message(row, n_batches=len(small), sizes=small, **named, values=small, threshold=limit))
