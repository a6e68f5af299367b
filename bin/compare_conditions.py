#!/usr/bin/env python3
"""Compare conditions inside every label of a data set: pseudobulk, scVI, and whether they agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.io.tables import read_json
from scfm.task.cli import add_step_arguments, make_parser, run
from scfm.task.steps import step


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and compare the conditions of one data set."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--dataset", required=True, help="name of the data set")
    parser.add_argument("--prepared", type=Path, required=True, help="<dataset>.prepared.h5ad")
    parser.add_argument("--obs", type=Path, required=True, help="<dataset>.obs.parquet")
    parser.add_argument("--design", type=Path, required=True, help="<dataset>.design.json of DESCRIBE_DESIGN")
    parser.add_argument("--model", type=Path, help="folder of a scVI model trained on this data set")
    parser.add_argument("--sidecar", type=Path, help="sidecar of the model's embedding")
    parser.add_argument("--params", type=Path, required=True, help="JSON with the pipeline's parameters (de_*, seeds)")
    parser.add_argument("--cpus", type=int, default=1, help="processes of the pseudobulk test")
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    if (args.model is None) != (args.sidecar is None):
        parser.error("--model and --sidecar are given together.")

    args.outdir.mkdir(parents=True, exist_ok=True)
    (args.outdir / f"{args.dataset}.de").mkdir(exist_ok=True)  # empty where the step fails
    with step("de", dataset=args.dataset, embedding="", outdir=args.outdir, on_error=args.on_error) as status:
        from scfm.expression.run import ComparisonFiles, compare_files

        files = ComparisonFiles(args.dataset, args.prepared, args.obs, args.design, args.model, args.sidecar)
        status.update(compare_files(files, read_json(args.params), cpus=args.cpus, outdir=args.outdir))


if __name__ == "__main__":
    run(main)
