#!/usr/bin/env python3
"""Describe the design of a data set before any correction: confounding, balance, strength of the batch."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run

log = logging.getLogger("describe_design")


def main(argv: Sequence[str] | None = None) -> int:
    """Write ``<dataset>.design.tsv``, ``<dataset>.design.json`` and the status; both empty where the step fails."""
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", required=True, help="name of the data set in datasets.json")
    parser.add_argument("--datasets", type=Path, required=True, help="datasets.json of CHECK_INPUTS")
    parser.add_argument("--prepared", type=Path, required=True, help="<dataset>.prepared.h5ad")
    parser.add_argument("--obs", type=Path, required=True, help="<dataset>.obs.parquet")
    parser.add_argument("--pca", type=Path, required=True, help="<dataset>.pca.parquet")
    parser.add_argument("--params", type=Path, required=True, help="JSON file of the parameters (design_*)")
    parser.add_argument(
        "--on_error", choices=["continue", "stop"], default="stop", help="what a data set that fails does to the run"
    )
    parser.add_argument("--outdir", type=Path, default=Path(), help="folder to write to")
    args = parser.parse_args(argv)

    from scfm.design.write import OUTPUTS
    from scfm.task.steps import step

    args.outdir.mkdir(parents=True, exist_ok=True)
    with step("design", dataset=args.dataset, embedding="", outdir=args.outdir, on_error=args.on_error) as status:
        _describe(args)
    if status["status"] != "ok":
        for ending in OUTPUTS:
            (args.outdir / f"{args.dataset}.{ending}").write_bytes(b"")
    return 0


def _describe(args: argparse.Namespace) -> None:
    """Read the prepared data set, describe its design and write the files."""
    from scfm.design.describe import describe_design
    from scfm.design.limits import DesignLimits
    from scfm.design.read import read_prepared
    from scfm.design.write import write_design
    from scfm.inputs.datasets import row_of
    from scfm.io.tables import read_json

    row = row_of(args.datasets, args.dataset)
    data = read_prepared(args.prepared, args.obs, args.pca, paired=str(row.get("paired") or ""))
    described = describe_design(
        data.obs,
        data.scores,
        row=row,
        limits=DesignLimits.of(read_json(args.params)),
        mito_share=data.mito_share,
        fields=data.fields,
    )
    write_design(described, args.outdir)
    log.info("%s: %d rows, %d messages", args.dataset, len(described.table), len(described.facts["warnings"]))


if __name__ == "__main__":
    run(main)
