"""Tables of a comparison of conditions, as COMPARE_CONDITIONS leaves them, without computing one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from scfm.errors import NotApplicable
from scfm.expression.rows import PSEUDOBULK, SCVI, SCVI_ALL_BATCHES, Result, ordered, refused
from scfm.expression.tables import comparison_table, top_genes
from scfm.io.tables import write_json, write_table
from scfm.orthogonal.evidence import undefined
from scfm.orthogonal.table import evidence_table


def gene_table(n: int = 60, *, n_called: int = 12, seed: int = 0) -> pd.DataFrame:
    """Return genes of which the first ``n_called`` differ."""
    rng = np.random.default_rng(seed)
    change = np.where(np.arange(n) < n_called, rng.choice([-2.0, 2.0], n), 0) + 0.1 * rng.standard_normal(n)
    p = np.where(np.arange(n) < n_called, 1e-8, 0.4) * rng.random(n)
    table = pd.DataFrame({"gene": [f"g{i}" for i in range(n)], "mean": 10.0, "log_fold_change": change})
    table = table.assign(standard_error=0.2, statistic=change / 0.2, p_value=p, q_value=p, is_significant=p < 0.01)
    return ordered(table, {g: g.upper() for g in table["gene"]})


def write_de(results: Path, dataset: str) -> None:
    """Write the tables of a nested design: a pseudobulk with its null, scVI, and a label without replicates."""
    about = ("B", "stim", "ctrl")
    facts = {"design": "condition", "relation": "nested", "n_cells_level": 90, "n_cells_reference": 110}
    null = {"null_observed": 14, "null_median": 0.0, "null_max": 1, "n_permutations": 9, "null_reason": ""}
    nested = {"conservation_reason": "not_crossed"}
    more = {"n_level": 3, "n_reference": 3, "n_significant_in_model": 12}
    silent = gene_table(n_called=0, seed=1)
    few = NotApplicable("'stim' has 1 replicate of 10 cells or more; a test needs 2.", "few_replicates")
    found = [
        Result(*about, PSEUDOBULK, gene_table(), facts | null | nested | more),
        Result(*about, SCVI, gene_table(n_called=10), facts | nested | {"model": "scvi.raw.0"}),
        Result(*about, SCVI_ALL_BATCHES, silent, facts | nested | {"model": "scvi.raw.0"}),
        refused("Mono", "stim", "ctrl", PSEUDOBULK, few, **facts),
    ]
    keys = {"dataset": dataset, "batch_key": "batch", "label_key": "cell_type"}
    write_table(comparison_table(found, keys, {"B": "01_B.parquet"}), results / f"{dataset}.de.tsv")
    write_table(top_genes(found, keys, 50), results / f"{dataset}.de_genes.tsv")
    write_json(results / f"{dataset}.de.status.json", status_of_dataset(dataset, "de"))


def write_orthogonal(results: Path, dataset: str) -> None:
    """Write evidence on two labels: batches agree on one, and a clinical field goes with the parts of the other."""
    about = {"status": "ok", "batch": "all"}
    sets = {"evidence": "gene_sets", "feature": "all", "measure": "spearman", "n": 40, "threshold": 0.6, **about}
    rows = [
        {**sets, "label": "B", "value": 0.9, "low": 0.8, "high": 0.95, "agrees": True},
        {**sets, "label": "Mono", "value": 0.3, "low": 0.1, "high": 0.5, "agrees": False},
        {**about, "evidence": "gene_sets", "label": "B", "feature": "BCR", "measure": "activity", "value": 8.0, "n": 2},
        undefined("regulators", NotApplicable("No regulator has 5 genes.", "no_targets")),
    ]
    field = {"evidence": "clinical", "label": "Mono", "feature": "stage", "of_embedding": "harmony.raw.0", **about}
    rows.append({**field, "measure": "theils_u", "value": 0.8, "n": 8, "threshold": 0.5, "agrees": True})
    keys = {"dataset": dataset, "batch_key": "batch", "label_key": "cell_type"}
    write_table(evidence_table(rows, keys), results / f"{dataset}.orthogonal.tsv")
    write_json(results / f"{dataset}.orthogonal.status.json", status_of_dataset(dataset, "orthogonal"))


def write_query(results: Path, dataset: str) -> None:
    """Write new cells mapped in two ways, of which one was not run: a label that transfers, one that is not known."""
    start = {"dataset": dataset, "batch_key": "batch", "label_key": "cell_type", "query": "new.h5ad", "reason": ""}
    whole = {**start, "mapping": "pca", "group_kind": "all", "group": "all", "n_cells": 120, "status": "ok"}
    of_label = {**whole, "group_kind": "label"}
    rows = [
        {**whole, "quantity": "gene_overlap", "value": 0.96},
        {**whole, "quantity": "macro_f1", "value": 0.9},
        {**whole, "quantity": "out_of_reference", "value": 0.1},
        {**of_label, "group": "B", "quantity": "f1", "value": 0.9},
        {**of_label, "group": "new", "quantity": "out_of_reference", "value": 0.85, "n_cells": 20},
        {**of_label, "group": "new", "quantity": "f1", "n_cells": 20}
        | {"value": None, "status": "not_applicable", "reason": "label_not_in_reference"},
        {**whole, "mapping": "harmony", "quantity": "macro_f1"}
        | {"value": None, "status": "not_applicable", "reason": "not_run"},
    ]
    write_table(pd.DataFrame(rows)[[*start, *(c for c in rows[0] if c not in start)]], results / f"{dataset}.query.tsv")
    write_json(results / f"{dataset}.query.status.json", status_of_dataset(dataset, "query"))


def status_of_dataset(dataset: str, step: str) -> dict:
    """Return the status of a step about a whole data set that went well."""
    about = {"dataset": dataset, "embedding": "", "step": step}
    return {**about, "status": "ok", "reason": "", "reason_code": "", "warnings": []}
