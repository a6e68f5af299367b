"""The part of the input contract that is about obs keys: batch, label and the optional ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.batch_role import role_question
from scfm.inputs.keys import as_text, build_key, level_counts, split_key
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
    """Check batch, label and the optional keys."""
    keys: dict[str, Any] = {}
    for column in ("batch_key", "label_key", *OPTIONAL_KEYS):
        if row.get(column):
            keys[column] = report.attempt(_read_key, store, column, row[column])
            if keys[column] is not None and "+" in row[column]:
                report.warnings += _composite(store, column, row[column], keys[column])
    for name in obs_columns:
        report.attempt(store.column, "obs", name)
    report.warnings += role_question(row, keys)
    batch, label = keys.get("batch_key"), keys.get("label_key")
    if row.get("batch_key") and row.get("batch_key") == row.get("label_key"):
        report.faults.append(
            f"{store.name}: batch_key and label_key are both '{row['batch_key']}'; the batch can't be the label."
        )
    if batch is not None:
        _judge_batches(store.name, report, row, batch)
    if label is not None:
        _judge_labels(store.name, report, row, label)
    if batch is not None and label is not None and len(batch) == len(label):
        _judge_sizes(store.name, report, batch, label, int(params.get("min_cells_per_batch") or 0))


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


def _judge_batches(name: str, report: Report, row: Mapping[str, str], batch: "pd.Series") -> None:
    """Check levels and gaps of the batch key."""
    levels, missing = level_counts(batch), int(batch.isna().sum())
    report.facts["batches"] = levels
    key = row["batch_key"]
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
        report.warnings.append(message("E-IN-03/batch", n_cells=len(batch), values=gaps))


def _judge_labels(name: str, report: Report, row: Mapping[str, str], label: "pd.Series") -> None:
    """Check levels and gaps of the label key."""
    levels, missing = level_counts(label), int(label.isna().sum())
    report.facts["labels"] = levels
    key = row["label_key"]
    if not levels:
        report.faults.append(
            f"{name}: obs column '{key}' (label_key) is empty for all {plural(len(label), 'cell')}; "
            "nothing can be scored without labels. Name another label_key."
        )
        return
    if missing:
        gaps = {"n_missing": missing, "key": key}
        report.warnings.append(message("E-IN-03/label", n_cells=len(label), values=gaps))
    if len(levels) == 1:
        report.warnings.append(
            message("W-MET-02/one_label", key=key, label=next(iter(levels)), values={"labels": levels})
        )


def _judge_sizes(name: str, report: Report, batch: "pd.Series", label: "pd.Series", limit: int) -> None:
    """Check the number of cells per batch."""
    sizes = level_counts(batch)
    if len(sizes) < 2:
        return
    tiny = {b: n for b, n in sizes.items() if n < MIN_BATCH}
    if tiny:
        shown = listing([f"{b}: {n}" for b, n in tiny.items()], limit=10)
        report.faults.append(
            f"{name}: {plural(len(tiny), 'batch has', 'batches have')} fewer than {MIN_BATCH} cells "
            f"({shown}). Remove these cells or merge the batches."
        )
    scored = level_counts(batch[label.notna()])
    small = {b: scored.get(b, 0) for b in sizes if b not in tiny and scored.get(b, 0) < limit}
    if small:
        report.warnings.append(message("W-BATCH-01", n_batches=len(small), sizes=small, values=small, threshold=limit))
