"""Check one AnnData file against the input contract, without loading its matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.inputs.contract_counts import check_counts
from scfm.inputs.contract_genes import check_genes, check_ids
from scfm.inputs.contract_keys import Report, check_keys
from scfm.inputs.left_out import left_out_warnings, needed_columns, unreadable
from scfm.io.store import Store, open_store
from scfm.text import did_you_mean, listing

if TYPE_CHECKING:
    import numpy as np


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
    All errors, warnings and facts.
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
        store.check_frame("obs")  # nothing else that could be said of an old frame would be true
        cells = report.attempt(_check_cells, store, report)
        batch = report.attempt(check_keys, store, report, row, params, obs_columns)
        facts = report.attempt(check_counts, store, report, row, params, batch)
        if facts is not None:
            check_genes(store, report, row, facts)
            if cells is not None and facts.shape[0] != len(cells):
                report.errors.append(
                    f"{store.name}: {facts.source} has {facts.shape[0]:,} rows and obs {len(cells):,}; the file is"
                    " damaged."
                )
        needed = needed_columns(row, obs_columns, store.columns("obs"))
        report.warnings += left_out_warnings(unreadable(store, "obs", needed))
        report.attempt(_check_obsm, store, report, embeddings)


def _check_cells(store: Store, report: Report) -> "np.ndarray":
    """Check the cell ids."""
    ids = store.index("obs")
    report.facts["n_cells"] = len(ids)
    if len(ids) == 0:
        report.errors.append(f"{store.name}: obs has no cells.")
    report.errors += check_ids(ids, name=store.name, what="cell", frame="obs")
    return ids


def _check_obsm(store: Store, report: Report, embeddings: Mapping[str, str]) -> None:
    """Check that embeddings named as ``obsm:<key>`` exist."""
    known = store.keys("obsm")
    for place in embeddings.values():
        key = place.removeprefix("obsm:")
        if place.startswith("obsm:") and key not in known:
            report.errors.append(
                f"{store.name}: there is no obsm key '{key}' (column "
                f"embeddings).{did_you_mean(key, known)} Keys: {listing(known, limit=12) or 'none'}."
            )
