"""Prepare a data set: keys, filters, QC, log data, variable genes, PCA. Cells are sorted by id from here on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scfm.embeddings.preparation import PREPARATION, preparation_digest
from scfm.errors import ScfmError
from scfm.inputs.gene_lists import match_genes
from scfm.inputs.gene_sets import in_gene_sets
from scfm.inputs.genes import find_names
from scfm.inputs.keys import KEYS, level_counts, primary_pair, split_key
from scfm.preparation.design import confounding, design_warnings
from scfm.preparation.filters import filter_data
from scfm.preparation.held_out import COLUMN, held_out_cells
from scfm.preparation.hvg import Selection, select_genes
from scfm.preparation.normalize import log_cp10k, qc
from scfm.preparation.pairs import describe_pairs, other_designs
from scfm.preparation.pca import Components, chunked_components, principal_components
from scfm.registries.messages import message
from scfm.text import listing, split_list

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from scfm.preparation.counts import Counts

log = logging.getLogger(__name__)

#: parameters that preparation reads
PARAMS = (
    "round_counts",
    "missing_values",
    "shared_genes",
    "min_genes_per_cell",
    "min_cells_per_gene",
    "min_cells_per_batch",
    "n_hvg",
    "hvg_flavor",
    "n_pcs",
    "probe_folds",
    "probe_seed",
    "held_out_share",
)


@dataclass(slots=True)
class Prepared:
    """A prepared data set.

    Attributes
    ----------
    counts
        Shape (n_cells, n_genes); rows sorted by cell id. Log data are computed from them where they are needed.
    obs
        ``cell_id, batch, label, condition, donor, tissue, sample, n_counts, n_genes, scored, held_out``, every key
        as ``batch:<key>`` or ``label:<key>``, and the columns carried along as ``clinical:<key>`` and
        ``modality:<key>``.
    user_obs
        The user's columns, same rows.
    var
        The user's columns, ``gene_symbol``, ``gene_id``, ``highly_variable``, ranking and QC.
    pca
        Components on the variable genes; ``loadings`` has a row per variable gene.
    dropped
        ``cell_id, reason, detail``: cells left out, and cells kept but not scored.
    facts
        For ``facts.json``.
    """

    counts: "Counts"
    obs: "pd.DataFrame"
    user_obs: "pd.DataFrame"
    var: "pd.DataFrame"
    pca: Components
    dropped: "pd.DataFrame"
    facts: dict[str, Any] = field(default_factory=dict)


def require(params: Mapping[str, Any]) -> None:
    """Raise :class:`~scfm.errors.ScfmError` if a parameter that preparation reads is not given."""
    absent = [name for name in PARAMS if params.get(name) is None]
    if absent:
        raise ScfmError(
            f"The parameters lack {listing(absent, limit=20)}; give them in --params, "
            f"or --schema nextflow_schema.json for the defaults."
        )


def _annotate_genes(var: "pd.DataFrame", row: Mapping[str, Any]) -> "pd.DataFrame":
    """Return var with ``gene_symbol`` and ``gene_id`` where they are known (empty text for single genes without)."""
    names = find_names(var, symbol_column=row.get("gene_symbol_column"), id_column=row.get("gene_id_column"))
    var = var.copy()
    if names.symbols is not None:
        var["gene_symbol"] = names.symbols
    if names.ids is not None:
        var["gene_id"] = names.ids
    return var


def _gene_lists(
    var: "pd.DataFrame", exclude: list[str], force: list[str]
) -> tuple["np.ndarray", "np.ndarray", list[dict]]:
    """Return the masks of excluded and forced genes, and warnings about names that were not found."""
    columns = [
        var.index.to_numpy(dtype=object),
        *(var[c].to_numpy(dtype=object) for c in ("gene_symbol", "gene_id") if c in var),
    ]
    masks, notes = [], []
    for param, wanted in (("hvg_exclude", exclude), ("hvg_force", force)):
        mask, absent = match_genes(wanted, *columns)
        masks.append(mask)
        if absent:
            notes.append(
                message(
                    "W-HVG-03",
                    param=param,
                    n_absent=len(absent),
                    n_wanted=len(wanted),
                    values={"absent": absent},
                )
            )
    return masks[0], masks[1], notes


def prepare(
    counts: "Counts",
    obs: "pd.DataFrame",
    var: "pd.DataFrame",
    *,
    row: Mapping[str, Any],
    params: Mapping[str, Any],
    exclude: list[str] | None = None,
    force: list[str] | None = None,
) -> Prepared:
    """Prepare one data set.

    Parameters
    ----------
    counts
        Shape (n_cells, n_genes).
    obs, var
        The user's frames, indexed by cell id and gene id.
    row
        Row of the samplesheet.
    params
        All parameters, with defaults.
    exclude, force
        Genes that are never, and always, variable genes.

    Returns
    -------
    Everything that is written. The order of the input's rows has no influence: cells are sorted by id first.

    Raises
    ------
    ScfmError
        A key is missing, or too few cells or genes are left.
    """
    kept = filter_data(counts, obs, row, params)
    table, counts = kept.table, kept.counts
    var = _annotate_genes(var, row)[kept.genes].copy()
    of_cells, of_genes = qc(counts)
    table["n_counts"], table["n_genes"] = of_cells["total_counts"], of_cells["n_genes_by_counts"]
    table["scored"] = table["label"].notna()
    table[COLUMN] = held_out_cells(table, float(params["held_out_share"]), int(params["probe_seed"]))
    for name, values in of_genes.items():
        var[name] = values

    excluded, forced, more = _gene_lists(var, exclude or [], force or [])
    sets = in_gene_sets(split_list(params.get("hvg_exclude_sets")), var.get("gene_symbol", var.index.to_series()))
    more += [message("W-HVG-06", values={"name": name}) for name, mask in sets.items() if not mask.any()]
    for mask in sets.values():
        excluded |= mask
    chosen = select_genes(
        counts,
        table["batch"].to_numpy(dtype=str),
        var.index.to_numpy(dtype=object),
        n_hvg=int(params["n_hvg"]),
        flavor=params["hvg_flavor"],
        min_cells=int(params["min_cells_per_batch"]),
        exclude=excluded,
        force=forced,
    )
    var["highly_variable"], var["highly_variable_rank"], var["highly_variable_nbatches"] = (
        chosen.mask,
        chosen.rank,
        chosen.n_batches,
    )
    pca = _components(counts, chosen.mask, int(params["n_pcs"]))
    notes = [*kept.notes, *more, *chosen.warnings, *_size_notes(table, pca, int(params["n_pcs"]))]
    prepared = Prepared(counts, table, kept.obs, var, pca, kept.dropped)
    prepared.facts = _facts(prepared, row, chosen, n_dropped_genes=kept.n_dropped_genes, notes=notes)
    prepared.facts[PREPARATION] = preparation_digest(table, var[[*of_genes, "highly_variable"]], pca.scores)
    return prepared


def _components(counts: "Counts", genes: "np.ndarray", n_pcs: int) -> Components:
    """Return the principal components of the log data of the variable genes."""
    if counts.is_held:
        return principal_components(log_cp10k(counts.whole())[:, genes], n_pcs)
    return chunked_components(counts, genes, n_pcs)


def _size_notes(table: "pd.DataFrame", pca: Components, wanted: int) -> list[dict]:
    """Return warnings about empty cells and fewer components than asked for."""
    found = []
    empty = int((table["n_counts"] == 0).sum())
    if empty:
        found.append(message("W-QC-01", values={"n_empty": empty}))
    n_pcs = pca.scores.shape[1]
    if n_pcs < wanted:
        found.append(message("W-PCA-01", values={"n_pcs": n_pcs}, threshold=wanted))
    return found


def _facts(
    prepared: Prepared,
    row: Mapping[str, Any],
    chosen: Selection,
    *,
    n_dropped_genes: Mapping[str, int],
    notes: list[dict],
) -> dict[str, Any]:
    """Return the facts of the data set for ``facts.json``, with every warning."""
    obs = prepared.obs
    scored = obs[obs["scored"]]
    role = row.get("batch_role") or ""
    batch_key, label_key = primary_pair(row)
    keys = {name: row.get(column) or "" for name, column in KEYS.items()} | {"batch": batch_key, "label": label_key}
    notes = notes + design_warnings(scored["batch"], scored["label"], batch_role=role, batch_key=batch_key)
    notes += other_designs(obs)
    for entry in notes:
        entry["dataset"] = row["dataset"]
        log.log(
            logging.INFO if entry["severity"] == "info" else logging.WARNING, "%s: %s", entry["code"], entry["text"]
        )
    dropped = {str(k): int(v) for k, v in prepared.dropped["reason"].value_counts().sort_index().items()}
    dropped |= n_dropped_genes
    return {
        "dataset": row["dataset"],
        "n_cells": len(obs),
        "n_genes": prepared.counts.shape[1],
        "n_scored": len(scored),
        "n_held_out": int(obs[COLUMN].sum()),
        "n_hvg": int(chosen.mask.sum()),
        "n_pcs": prepared.pca.scores.shape[1],
        "organism": row.get("organism") or "",
        "batches": level_counts(obs["batch"]),
        "labels": level_counts(scored["label"]),
        "batch_role": role,
        "keys": keys,
        "key_pairs": describe_pairs(obs),
        "labels_from": row.get("labels_from") or "",
        "counts_source": row.get("counts_source") or "",
        "dropped": dropped,
        "warnings": notes,
        "confounding": confounding(
            obs,
            prepared.user_obs,
            keys=keys,
            skip=split_key(batch_key, list(prepared.user_obs.columns)),
        ),
    }
