#!/usr/bin/env python3
"""Prepare a data set: keys, filters, QC, log data, variable genes, PCA, probing splits."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from scfm.io.tables import read_json
from scfm.task.cli import make_parser, run

log = logging.getLogger("prepare_dataset")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the prepared h5ad, the obs, PCA and splits tables, the facts, the list of dropped cells and the status."""
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", required=True, help="name of the data set in datasets.json")
    parser.add_argument("--datasets", type=Path, required=True, help="datasets.json of CHECK_INPUTS")
    parser.add_argument("--h5ad", type=Path, required=True, help="h5ad file or zarr folder")
    parser.add_argument("--params", type=Path, required=True, help="JSON file of all Nextflow parameters")
    parser.add_argument("--schema", type=Path, help="nextflow_schema.json, for parameters that are not in --params")
    parser.add_argument("--hvg_exclude", type=Path, help="genes that are never variable genes, one a line")
    parser.add_argument("--hvg_force", type=Path, help="genes that are always taken, one a line")
    parser.add_argument(
        "--on_error", choices=["continue", "stop"], default="stop", help="what a data set that fails does to the run"
    )
    parser.add_argument("--outdir", type=Path, default=Path(), help="folder to write to")
    args = parser.parse_args(argv)

    from scfm.preparation.write import EMPTY_OUTPUTS, write_empty
    from scfm.task.steps import step

    args.outdir.mkdir(parents=True, exist_ok=True)
    with step("prepare", dataset=args.dataset, embedding="", outdir=args.outdir, on_error=args.on_error) as status:
        _prepare(args)
    if status["status"] != "ok":  # Nextflow wants every output of a task; empty ones go no further
        write_empty(args.outdir, args.dataset, EMPTY_OUTPUTS)
    return 0


def _prepare(args: argparse.Namespace) -> None:
    """Prepare the data set and write its files."""
    from scfm.inputs.contract_genes import read_var
    from scfm.inputs.datasets import row_of
    from scfm.inputs.gene_lists import read_gene_list
    from scfm.inputs.left_out import left_out_warnings, needed_columns, unreadable
    from scfm.inputs.params import with_defaults
    from scfm.io.checksums import describe_file
    from scfm.io.store import open_store
    from scfm.preparation.counts import open_counts
    from scfm.preparation.prepare import prepare, require
    from scfm.preparation.write import write_prepared
    from scfm.probing.splits import small_classes_of_keys, split_pairs

    row, params = row_of(args.datasets, args.dataset), read_json(args.params)
    if args.schema:
        params = with_defaults(params, read_json(args.schema))
    require(params)
    with open_store(args.h5ad, row["h5ad"]) as store:
        obs, left_out = store.frame("obs")
        var, _ = read_var(store, row["counts_source"])
        reported = unreadable(store, "obs", needed_columns(row, [], list(obs.columns)))  # by the check of the inputs
    prepared = prepare(
        open_counts(args.h5ad, row["counts_source"], round_counts=bool(params["round_counts"]), folder=args.outdir),
        obs,
        var,
        row=row,
        params=params,
        exclude=read_gene_list(args.hvg_exclude) if args.hvg_exclude else None,
        force=read_gene_list(args.hvg_force) if args.hvg_force else None,
    )
    notes = left_out_warnings({c: why for c, why in left_out.items() if c not in reported})
    notes += small_classes_of_keys(prepared.obs, n_folds=int(params["probe_folds"]))
    prepared.facts["warnings"] += [{**w, "dataset": args.dataset} for w in notes]
    prepared.facts["input"] = describe_file(args.h5ad, row["h5ad"])
    splits = split_pairs(prepared.obs, n_folds=int(params["probe_folds"]), seed=int(params["probe_seed"]))
    write_prepared(prepared, splits, args.outdir)
    log.info(
        "%s: %d cells (%d scored), %d genes, %d variable",
        args.dataset,
        *(prepared.facts[k] for k in ("n_cells", "n_scored", "n_genes", "n_hvg")),
    )


if __name__ == "__main__":
    run(main)
