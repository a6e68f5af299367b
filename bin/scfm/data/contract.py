"""Hold one AnnData file against the input contract, without loading its matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.data.counts import MatrixFacts, faults_of, find_counts, var_of
from scfm.data.genes import MIN_MAPPED, GeneNames, find_names, normal_organism
from scfm.data.keys import as_text, build_key, level_counts, split_key
from scfm.data.store import Store, open_store
from scfm.errors import ScfmError
from scfm.tables import message
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import numpy as np
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
    faults
        Sentences; any of them stops the run.
    warnings
        Entries made by :func:`scfm.tables.message`.
    facts
        What goes into ``datasets.json``.
    """

    faults: list[str] = field(default_factory=list)
    warnings: list[dict] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def attempt(self, check: Callable[..., Any], *args: Any) -> Any:
        """Run one check; its error becomes one more fault, so that the others still run."""
        try:
            return check(*args)
        except ScfmError as error:
            self.faults.append(str(error))
            return None


def check_file(
    row: Mapping[str, str], path: Path, *, params: Mapping[str, Any], embeddings: Mapping[str, str], obs_columns: Sequence[str] = ()
) -> Report:
    """Check one data set's file.

    Parameters
    ----------
    row
        Row of the samplesheet.
    path
        Where its h5ad or zarr lies.
    params
        All parameters, with defaults.
    embeddings
        Embeddings of the row, by name; ``obsm:<key>`` ones are looked for in the file.
    obs_columns
        More obs columns that the run will read (covariates).

    Returns
    -------
    All faults, warnings and facts.
    """
    report = Report()
    try:
        with open_store(path, f"{row.get('dataset', '?')} ({row['h5ad']})") as store:
            cells = report.attempt(_check_cells, store, report)
            facts = report.attempt(_check_counts, store, report, row, params)
            if facts is not None:
                _check_genes(store, report, row, facts)
                if cells is not None and facts.shape[0] != len(cells):
                    report.faults.append(f"{store.name}: {facts.source} has {facts.shape[0]:,} rows and obs {len(cells):,}; the file is damaged.")
            _check_keys(store, report, row, params, obs_columns)
            _check_obsm(store, report, embeddings)
    except ScfmError as error:
        report.faults.append(str(error))
    for entry in report.warnings:
        entry["dataset"] = row.get("dataset", "")
    return report


def _check_ids(ids: "np.ndarray", *, name: str, what: str, frame: str) -> list[str]:
    """Return sentences about ids that are empty or occur more than once."""
    import pandas as pd

    series, faults = pd.Series(ids, dtype=object), []
    twice = series[series.duplicated(keep=False)].drop_duplicates()
    if len(twice):
        function = f"{frame.rsplit('/', maxsplit=1)[-1]}_names_make_unique()"
        faults.append(
            f"{name}: {plural(len(twice), f'{what} id')} of the index of {frame} {'occurs' if len(twice) == 1 else 'occur'} more than once "
            f"({plural(int(series.duplicated().sum()), 'surplus row')}: {listing(twice)}); ids must be unique. anndata's {function} mends it."
        )
    empty = int(series.isin(["", "nan", "None"]).sum())
    if empty:
        faults.append(f"{name}: {plural(empty, what)} {'has' if empty == 1 else 'have'} an empty id in the index of {frame}; every {what} needs one.")
    return faults


def _check_cells(store: Store, report: Report) -> "np.ndarray":
    """Check the cell ids."""
    ids = store.index("obs")
    report.facts["n_cells"] = len(ids)
    if len(ids) == 0:
        report.faults.append(f"{store.name}: obs has no cells.")
    report.faults += _check_ids(ids, name=store.name, what="cell", frame="obs")
    return ids


def _check_counts(store: Store, report: Report, row: Mapping[str, str], params: Mapping[str, Any]) -> MatrixFacts:
    """Find the counts and judge them."""
    rounding = bool(params.get("round_counts"))
    facts = find_counts(store, row.get("counts_layer"), round_counts=rounding)
    report.faults += faults_of(store.name, facts, round_counts=rounding)
    report.facts.update(counts_source=facts.source, counts_storage=facts.storage, n_genes=facts.shape[1])
    if facts.n_fractional and rounding and not facts.looks_logged:
        report.warnings.append(message(
            "E-IN-01", "warning",
            f"{facts.source} holds {plural(facts.n_fractional, 'fractional value')} (up to {facts.max_fraction:.2g} from a whole number). They are rounded, as --round_counts asks.",
            values={"n_fractional": facts.n_fractional, "max_fraction": facts.max_fraction},
        ))
    if not row.get("counts_layer") and facts.source != "layers/counts" and "counts" in store.keys("layers"):
        report.warnings.append(message(
            "W-IN-04", "warning", f"layers['counts'] holds no raw counts; {facts.source} does and is used. Name another place with counts_layer if that is wrong.",
        ))
    return facts


def read_var(store: Store, source: str) -> "pd.DataFrame":
    """Return the genes of the counts: for ``raw`` the frame of raw, with columns of ``var`` that it lacks joined by gene id."""
    var = store.frame(var_of(source))
    if source == "raw" and not var.index.has_duplicates:
        outer = store.frame("var")
        more = [c for c in outer.columns if c not in var.columns]
        if more and not outer.index.has_duplicates:
            var = var.join(outer[more])
    return var


def _check_genes(store: Store, report: Report, row: Mapping[str, str], facts: MatrixFacts) -> None:
    """Check gene ids and whether they can be mapped."""
    var = report.attempt(read_var, store, facts.source)
    if var is None:
        return
    report.faults += _check_ids(var.index.to_numpy(dtype=object), name=store.name, what="gene", frame=var_of(facts.source))
    if len(var) != facts.shape[1]:
        report.faults.append(f"{store.name}: {facts.source} has {facts.shape[1]:,} columns and {var_of(facts.source)} {len(var):,} rows; the file is damaged.")
        return
    named = {"symbol_column": row.get("gene_symbol_column"), "id_column": row.get("gene_id_column")}
    for column, value in zip(("gene_symbol_column", "gene_id_column"), named.values(), strict=True):
        if value and value not in var.columns:
            report.faults.append(
                f"{store.name}: {var_of(facts.source)} has no column '{value}' (column {column} of the samplesheet).{did_you_mean(value, var.columns)} "
                f"Columns: {listing(var.columns, limit=12) or 'none'}."
            )
            return
    names = find_names(var, **named)
    report.facts["genes"] = {"symbols_from": names.symbols_from, "ids_from": names.ids_from, "n_mapped": names.n_mapped, "organism": names.organism}
    _judge_genes(store.name, report, row, names, var)


def _judge_genes(name: str, report: Report, row: Mapping[str, str], names: GeneNames, var: "pd.DataFrame") -> None:
    """Say what follows from the number of genes with a usable id, and from the species of the ids."""
    n_mapped, organism = names.n_mapped, names.organism
    share = n_mapped / len(var) if len(var) else 0.0
    if share < MIN_MAPPED:
        report.faults.append(
            f"{name}: {n_mapped:,} of {plural(len(var), 'gene')} have a gene symbol or an Ensembl id (the index of var begins {listing(var.index[:3])}); "
            f"at least {MIN_MAPPED:.0%} are needed. Name the var column that holds them in gene_symbol_column or gene_id_column."
        )
    elif share < 0.9:
        report.warnings.append(message(
            "W-IN-05", "warning", f"{len(var) - n_mapped:,} of {plural(len(var), 'gene')} have neither a gene symbol nor an Ensembl id; models that map genes leave them out.",
            values={"n_mapped": n_mapped, "n_genes": len(var)}, threshold=0.9,
        ))
    declared = normal_organism(row.get("organism"))
    if declared and organism and declared != organism:
        report.warnings.append(message(
            "W-IN-06", "warning", f"The samplesheet says organism '{row['organism']}', and the Ensembl ids are of {organism}. Correct one of them before running models that are trained on one species.",
            values={"declared": declared, "found": organism},
        ))


def _read_key(store: Store, column: str, key: str) -> "pd.Series":
    """Return the text per cell of a key named in a column of the samplesheet."""
    parts = split_key(key, store.columns("obs"))
    if not all(parts):
        raise ScfmError(f"{store.name}: '{key}' (column {column}) is not a key; expected obs columns joined by '+'.")
    known = store.columns("obs")
    absent = [p for p in parts if p not in known]
    if absent:
        hints = "".join(did_you_mean(p, known) for p in absent)
        raise ScfmError(f"{store.name}: obs has no column {listing(absent)} (column {column} of the samplesheet).{hints} Columns: {listing(known, limit=12) or 'none'}.")
    try:
        return build_key([store.column("obs", p) for p in parts])
    except ScfmError as error:
        raise ScfmError(f"{store.name}: column {column}: {error}") from error


def _check_keys(store: Store, report: Report, row: Mapping[str, str], params: Mapping[str, Any], obs_columns: Sequence[str]) -> None:
    """Check batch, label and the optional keys."""
    keys: dict[str, Any] = {}
    for column in ("batch_key", "label_key", *OPTIONAL_KEYS):
        if row.get(column):
            keys[column] = report.attempt(_read_key, store, column, row[column])
            if keys[column] is not None and "+" in row[column]:
                report.warnings += _composite(store, column, row[column], keys[column])
    for name in obs_columns:
        report.attempt(store.column, "obs", name)
    batch, label = keys.get("batch_key"), keys.get("label_key")
    if row.get("batch_key") and row.get("batch_key") == row.get("label_key"):
        report.faults.append(f"{store.name}: batch_key and label_key are both '{row['batch_key']}'; the batch can't be the label.")
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
    return [message(
        "I-KEY-01", "info", f"{column} '{key}' is composite: {text}; pasted they make {plural(len(after), 'level')}: {listing(after, limit=12)}.",
        values={"parts": before, "levels": after},
    )]


def _judge_batches(name: str, report: Report, row: Mapping[str, str], batch: "pd.Series") -> None:
    """Check levels and gaps of the batch key."""
    levels, missing = level_counts(batch), int(batch.isna().sum())
    report.facts["batches"] = levels
    key = row["batch_key"]
    if not levels:
        report.faults.append(f"{name}: obs column '{key}' (batch_key) is empty for all {plural(len(batch), 'cell')}; every cell needs its batch.")
    elif len(levels) == 1:
        report.faults.append(f"{name}: obs column '{key}' (batch_key) has one batch only ('{next(iter(levels))}'); at least two are needed to ask for a batch effect. Name another batch_key.")
    elif missing:
        report.warnings.append(message(
            "E-IN-03", "warning", f"{plural(missing, 'cell')} of {len(batch):,} {'has' if missing == 1 else 'have'} no batch in '{key}'. They can't be integrated, are left out, and are listed in the dropped cells.",
            values={"n_missing": missing, "key": key},
        ))


def _judge_labels(name: str, report: Report, row: Mapping[str, str], label: "pd.Series") -> None:
    """Check levels and gaps of the label key."""
    levels, missing = level_counts(label), int(label.isna().sum())
    report.facts["labels"] = levels
    key = row["label_key"]
    if not levels:
        report.faults.append(f"{name}: obs column '{key}' (label_key) is empty for all {plural(len(label), 'cell')}; nothing can be scored without labels. Name another label_key.")
        return
    if missing:
        report.warnings.append(message(
            "E-IN-03", "warning", f"{plural(missing, 'cell')} of {len(label):,} {'has' if missing == 1 else 'have'} no label in '{key}'. They are integrated, dropped from scoring, and listed in the dropped cells.",
            values={"n_missing": missing, "key": key},
        ))
    if len(levels) == 1:
        report.warnings.append(message(
            "W-MET-02", "warning", f"'{key}' has one label only ('{next(iter(levels))}'). Metrics that compare labels are not defined and are given as NA.", values={"labels": levels},
        ))


def _judge_sizes(name: str, report: Report, batch: "pd.Series", label: "pd.Series", limit: int) -> None:
    """Check the number of cells per batch."""
    sizes = level_counts(batch)
    if len(sizes) < 2:
        return
    tiny = {b: n for b, n in sizes.items() if n < MIN_BATCH}
    if tiny:
        shown = listing([f"{b}: {n}" for b, n in tiny.items()], limit=10)
        report.faults.append(f"{name}: {plural(len(tiny), 'batch has', 'batches have')} fewer than {MIN_BATCH} cells ({shown}). Remove these cells or merge the batches.")
    scored = level_counts(batch[label.notna()])
    small = {b: scored.get(b, 0) for b in sizes if b not in tiny and scored.get(b, 0) < limit}
    if small:
        shown = listing([f"{b}: {n}" for b, n in small.items()], limit=10)
        report.warnings.append(message(
            "W-BATCH-01", "warning", f"{plural(len(small), 'batch has', 'batches have')} fewer than {limit} labelled cells ({shown}). Their numbers are unstable.",
            values=small, threshold=limit,
        ))


def _check_obsm(store: Store, report: Report, embeddings: Mapping[str, str]) -> None:
    """Check that embeddings named as ``obsm:<key>`` exist."""
    known = store.keys("obsm")
    for place in embeddings.values():
        key = place.removeprefix("obsm:")
        if place.startswith("obsm:") and key not in known:
            report.faults.append(f"{store.name}: there is no obsm key '{key}' (column embeddings).{did_you_mean(key, known)} Keys: {listing(known, limit=12) or 'none'}.")


