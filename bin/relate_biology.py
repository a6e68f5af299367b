#!/usr/bin/env python3
"""Relate a data set to evidence from outside: gene sets, regulators, a second modality, clinical fields."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.io.tables import read_json
from scfm.task.cli import add_step_arguments, make_parser, run
from scfm.task.steps import step


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and write the evidence on one data set."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--dataset", required=True, help="name of the data set")
    parser.add_argument("--prepared", type=Path, required=True, help="<dataset>.prepared.h5ad")
    parser.add_argument("--obs", type=Path, required=True, help="<dataset>.obs.parquet")
    parser.add_argument("--gmt", type=Path, help="gene sets, one a line")
    parser.add_argument("--network", type=Path, help="table of regulators: source, target, weight")
    parser.add_argument("--embeddings", type=Path, nargs="*", default=[], help="embedding tables, <id>.parquet")
    parser.add_argument("--params", type=Path, required=True, help="JSON with the parameters (orthogonal_*)")
    add_step_arguments(parser)
    args = parser.parse_args(argv)

    args.outdir.mkdir(parents=True, exist_ok=True)
    with step("orthogonal", dataset=args.dataset, embedding="", outdir=args.outdir, on_error=args.on_error) as status:
        from scfm.orthogonal.run import EvidenceFiles, relate_files

        files = EvidenceFiles(args.dataset, args.prepared, args.obs, args.gmt, args.network, sorted(args.embeddings))
        status.update(relate_files(files, read_json(args.params), outdir=args.outdir))


if __name__ == "__main__":
    run(main)
