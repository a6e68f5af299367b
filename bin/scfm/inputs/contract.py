"""Hold one AnnData file against the input contract, without loading its matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.inputs.contract_keys import Report, check_keys
from scfm.inputs.counts_faults import faults_of
from scfm.inputs.genes import MIN_MAPPED, GeneNames, find_names, normal_organism
from scfm.io.counts import MatrixFacts, find_counts, var_of
from scfm.io.store import Store, open_store
from scfm.registries.messages import message
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def check_file(
    row: Mapping[str, str],
    path: Path,
    *,
    params: Mapping[str, Any],
    embeddings: Mapping[str, str],
    obs_columns: Sequence[str] = (),
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
    report = Report(f"{row.get('dataset', '?')} ({row['h5ad']})")
    report.attempt(_check_open, path, report, row, params=params, embeddings=embeddings, obs_columns=obs_columns)
    for entry in report.warnings:
        entry["dataset"] = row.get("dataset", "")
    return report


def _check_open(
    path: Path,
    report: Report,
    row: Mapping[str, str],
    *,
    params: Mapping[str, Any],
    embeddings: Mapping[str, str],
    obs_columns: Sequence[str],
) -> None:
    """Open the file and run every check on it."""
    with open_store(path, report.name) as store:
        cells = report.attempt(_check_cells, store, report)
        facts = report.attempt(_check_counts, store, report, row, params)
        if facts is not None:
            _check_genes(store, report, row, facts)
            if cells is not None and facts.shape[0] != len(cells):
                report.faults.append(
                    f"{store.name}: {facts.source} has {facts.shape[0]:,} rows and obs {len(cells):,}; the file is"
                    " damaged."
                )
        report.attempt(check_keys, store, report, row, params, obs_columns)
        report.attempt(_check_obsm, store, report, embeddings)


def _check_ids(ids: "np.ndarray", *, name: str, what: str, frame: str) -> list[str]:
    """Return sentences about ids that are empty or occur more than once."""
    import pandas as pd

    series, faults = pd.Series(ids, dtype=object), []
    twice = series[series.duplicated(keep=False)].drop_duplicates()
    if len(twice):
        function = f"{frame.rsplit('/', maxsplit=1)[-1]}_names_make_unique()"
        faults.append(
            f"{name}: {plural(len(twice), f'{what} id')} of the index of {frame} "
            f"{'occurs' if len(twice) == 1 else 'occur'} more than once "
            f"({plural(int(series.duplicated().sum()), 'surplus row')}: {listing(twice)}); ids must be unique. "
            f"anndata's {function} mends it."
        )
    empty = int(series.isin(["", "nan", "None"]).sum())
    if empty:
        faults.append(
            f"{name}: {plural(empty, what)} {'has' if empty == 1 else 'have'} an empty id in the index of "
            f"{frame}; every {what} needs one."
        )
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
        report.warnings.append(
            message(
                "E-IN-01",
                source=facts.source,
                values={"n_fractional": facts.n_fractional, "max_fraction": facts.max_fraction},
            )
        )
    if not row.get("counts_layer") and facts.source != "layers/counts" and "counts" in store.keys("layers"):
        report.warnings.append(message("W-IN-04", source=facts.source))
    return facts


def read_var(store: Store, source: str) -> "pd.DataFrame":
    """Return the genes of the counts: for ``raw`` the frame of raw, with columns of ``var`` that it lacks joined by
    gene id.
    """
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
    report.faults += _check_ids(
        var.index.to_numpy(dtype=object), name=store.name, what="gene", frame=var_of(facts.source)
    )
    if len(var) != facts.shape[1]:
        report.faults.append(
            f"{store.name}: {facts.source} has {facts.shape[1]:,} columns and {var_of(facts.source)} "
            f"{len(var):,} rows; the file is damaged."
        )
        return
    named = {"symbol_column": row.get("gene_symbol_column"), "id_column": row.get("gene_id_column")}
    for column, value in zip(("gene_symbol_column", "gene_id_column"), named.values(), strict=True):
        if value and value not in var.columns:
            report.faults.append(
                f"{store.name}: {var_of(facts.source)} has no column '{value}' (column {column} of the "
                f"samplesheet).{did_you_mean(value, var.columns)} "
                f"Columns: {listing(var.columns, limit=12) or 'none'}."
            )
            return
    names = find_names(var, **named)
    report.facts["genes"] = {
        "symbols_from": names.symbols_from,
        "ids_from": names.ids_from,
        "n_mapped": names.n_mapped,
        "organism": names.organism,
    }
    _judge_genes(store.name, report, row, names, var)


def _judge_genes(name: str, report: Report, row: Mapping[str, str], names: GeneNames, var: "pd.DataFrame") -> None:
    """Say what follows from the number of genes with a usable id, and from the species of the ids."""
    n_mapped, organism = names.n_mapped, names.organism
    share = n_mapped / len(var) if len(var) else 0.0
    if share < MIN_MAPPED:
        report.faults.append(
            f"{name}: {n_mapped:,} of {plural(len(var), 'gene')} have a gene symbol or an Ensembl id (the index of var "
            f"begins {listing(var.index[:3])}); "
            f"at least {MIN_MAPPED:.0%} are needed. Name the var column that holds them in gene_symbol_column or "
            "gene_id_column."
        )
    elif share < 0.9:
        report.warnings.append(
            message(
                "W-IN-05",
                n_unmapped=len(var) - n_mapped,
                values={"n_mapped": n_mapped, "n_genes": len(var)},
                threshold=0.9,
            )
        )
    declared = normal_organism(row.get("organism"))
    if declared and organism and declared != organism:
        report.warnings.append(message("W-IN-06", values={"declared": declared, "found": organism}))


def _check_obsm(store: Store, report: Report, embeddings: Mapping[str, str]) -> None:
    """Check that embeddings named as ``obsm:<key>`` exist."""
    known = store.keys("obsm")
    for place in embeddings.values():
        key = place.removeprefix("obsm:")
        if place.startswith("obsm:") and key not in known:
            report.faults.append(
                f"{store.name}: there is no obsm key '{key}' (column "
                f"embeddings).{did_you_mean(key, known)} Keys: {listing(known, limit=12) or 'none'}."
            )
