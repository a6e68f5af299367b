#!/usr/bin/env python3
"""Save a prepared data set and what its methods have left as a reference for new cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import add_step_arguments, make_parser, run
from scfm.task.steps import step


def main(argv: Sequence[str] | None = None) -> None:
    """Write the folder ``<dataset>.reference`` and the status."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--dataset", required=True, help="name of the data set")
    parser.add_argument("--datasets", type=Path, required=True, help="datasets.json of CHECK_INPUTS")
    parser.add_argument("--prepared", type=Path, required=True, help="<dataset>.prepared.h5ad")
    parser.add_argument("--obs", type=Path, required=True, help="<dataset>.obs.parquet")
    parser.add_argument("--pca", type=Path, required=True, help="<dataset>.pca.parquet")
    parser.add_argument(
        "--embeddings", type=Path, nargs="*", default=[], help="<id>.parquet and <id>.json that cells can be mapped to"
    )
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="<id>.model of these embeddings")
    add_step_arguments(parser)
    args = parser.parse_args(argv)

    args.outdir.mkdir(parents=True, exist_ok=True)
    folder = args.outdir / f"{args.dataset}.reference"
    folder.mkdir(exist_ok=True)
    with step("reference", dataset=args.dataset, embedding="", outdir=args.outdir, on_error=args.on_error):
        from scfm.inputs.datasets import row_of
        from scfm.query.saving import save_reference

        save_reference(
            row_of(args.datasets, args.dataset),
            prepared=args.prepared,
            obs=args.obs,
            pca=args.pca,
            embeddings=[path for path in args.embeddings if path.suffix == ".parquet"],
            sidecars=[path for path in args.embeddings if path.suffix == ".json"],
            models=args.models,
            folder=folder,
        )


if __name__ == "__main__":
    run(main)
