"""The part of the input contract that is about genes: ids, symbols, species."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from scfm.inputs.contract_keys import Report
from scfm.inputs.genes import MIN_MAPPED, MIN_SPECIES, GeneNames, find_names, normal_organism, species_shares
from scfm.inputs.left_out import left_out_warnings
from scfm.io.counts import var_of
from scfm.io.facts import MatrixFacts
from scfm.io.store import Store
from scfm.registries.messages import message
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def check_ids(ids: "np.ndarray", *, name: str, what: str, frame: str) -> list[str]:
    """Return sentences about ids that are empty or occur more than once."""
    import pandas as pd

    series, errors = pd.Series(ids, dtype=object), []
    twice = series[series.duplicated(keep=False)].drop_duplicates()
    if len(twice):
        remedy = f"anndata's {frame}_names_make_unique() fixes it."
        if frame == "obs":  # its numbers depend on the order of the rows, so ids made twice may not be the same
            remedy = (
                "Where barcodes repeat between samples, put the sample into the id, in this file and in those of"
                " embeddings; else anndata's obs_names_make_unique() fixes it, once for all of them."
            )
        if frame == "raw/var":  # raw can't be changed in place
            remedy = (
                "Make them unique in a copy of raw and put it back: raw = adata.raw.to_adata(); "
                "raw.var_names_make_unique(); adata.raw = raw."
            )
        errors.append(
            f"{name}: {plural(len(twice), f'{what} id')} of the index of {frame} "
            f"{'occurs' if len(twice) == 1 else 'occur'} more than once "
            f"({plural(int(series.duplicated().sum()), 'surplus row')}: {listing(twice)}); ids must be unique. "
            f"{remedy}"
        )
    empty = int(series.isin(["", "nan", "None"]).sum())
    if empty:
        errors.append(
            f"{name}: {plural(empty, what)} {'has' if empty == 1 else 'have'} an empty id in the index of "
            f"{frame}; every {what} needs one."
        )
    return errors


def read_var(store: Store, source: str) -> "tuple[pd.DataFrame, dict[str, str]]":
    """Return the genes of the counts: for ``raw`` the frame of raw, with columns of ``var`` that it lacks joined by
    gene id; and the columns that were left out, with the reason.
    """
    var, left_out = store.frame(var_of(source))
    if source == "raw" and not var.index.has_duplicates:
        outer, more_out = store.frame("var")
        left_out = more_out | left_out
        more = [c for c in outer.columns if c not in var.columns]
        if more and not outer.index.has_duplicates:
            var = var.join(outer[more])
    return var, left_out


def check_genes(store: Store, report: Report, row: Mapping[str, str], facts: MatrixFacts) -> None:
    """Check gene ids and whether they can be mapped."""
    read = report.attempt(read_var, store, facts.source)
    if read is None:
        return
    var, left_out = read
    report.warnings += left_out_warnings(left_out)
    report.errors += check_ids(
        var.index.to_numpy(dtype=object), name=store.name, what="gene", frame=var_of(facts.source)
    )
    if len(var) != facts.shape[1]:
        report.errors.append(
            f"{store.name}: {facts.source} has {facts.shape[1]:,} columns and {var_of(facts.source)} "
            f"{len(var):,} rows; the file is damaged."
        )
        return
    named = {"symbol_column": row.get("gene_symbol_column"), "id_column": row.get("gene_id_column")}
    for column, value in zip(("gene_symbol_column", "gene_id_column"), named.values(), strict=True):
        if value and value not in var.columns:
            report.errors.append(
                f"{store.name}: {var_of(facts.source)} has no column '{value}' (column {column} of the "
                f"samplesheet).{did_you_mean(value, var.columns)} "
                f"Columns: {listing(var.columns, limit=12) or 'none'}."
            )
            return
    names = find_names(var, **named)
    report.warnings += species_warnings(var.index)
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
    named = row.get("gene_symbol_column") or row.get("gene_id_column")
    if share < MIN_MAPPED and not named:
        report.errors.append(
            f"{name}: {n_mapped:,} of {plural(len(var), 'gene')} have a gene symbol or an Ensembl id (the index of var "
            f"begins {listing(var.index[:3])}); "
            f"at least {MIN_MAPPED:.0%} are needed. Name the var column that holds them in gene_symbol_column or "
            "gene_id_column."
        )
    elif share < 0.9:
        parts: dict[str, Any] = {"n_unmapped": len(var) - n_mapped} | ({"column": named} if named else {})
        numbers = {"n_mapped": n_mapped, "n_genes": len(var)}
        row_id = "W-IN-05/named" if named else "W-IN-05"
        report.warnings.append(message(row_id, values=numbers, threshold=0.9, **parts))
    declared = normal_organism(row.get("organism"))
    if declared and organism and declared != organism:
        report.warnings.append(message("W-IN-06", values={"declared": declared, "found": organism}))


def species_warnings(names: "Iterable[str]") -> list[dict]:
    """Return the message about genes of more than one species, by Ensembl ids or prefixes of reference genomes."""
    shares = species_shares(names)
    mixed = {organism: share for organism, share in shares.items() if share >= MIN_SPECIES}
    if len(mixed) < 2:
        return []
    shown = " and ".join(f"{share:.0%} of {organism}" for organism, share in mixed.items())
    return [message("W-IN-11", shown=shown, values={"shares": mixed}, threshold=MIN_SPECIES)]
