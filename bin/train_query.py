#!/usr/bin/env python3
"""Train a model of a reference (scVI, scANVI) on new cells, by scArches: the reference stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.query.reference import PLACED
from scfm.task.cli import add_step_arguments, make_parser, run
from scfm.task.resources import limit_threads
from scfm.task.steps import step


def main(argv: Sequence[str] | None = None) -> None:
    """Write coordinates of the new cells after and before the training, its facts and the status."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--dataset", required=True, help="name of the data set whose row names the new cells")
    parser.add_argument("--datasets", type=Path, required=True, help="datasets.json of CHECK_INPUTS")
    parser.add_argument("--query", type=Path, required=True, help="h5ad file or zarr folder with the new cells")
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument("--mapping", required=True, choices=["scvi", "scanvi"], help="model that is trained")
    parser.add_argument("--params", type=Path, required=True, help="JSON with the parameters (query_*)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where the model is trained")
    parser.add_argument("--cpus", type=int, default=1, help="threads")
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    limit_threads(args.cpus)

    args.outdir.mkdir(parents=True, exist_ok=True)
    with step(
        f"query_{args.mapping}",
        dataset=args.dataset,
        embedding="",
        outdir=args.outdir,
        on_error=args.on_error,
        outputs=[f"{args.mapping}.{name}" for name in PLACED],
    ):
        from scfm.inputs.datasets import row_of
        from scfm.io.tables import read_json
        from scfm.query.training import train_files

        train_files(
            args.reference,
            args.query,
            row_of(args.datasets, args.dataset),
            read_json(args.params),
            mapping=args.mapping,
            device=args.device,
            outdir=args.outdir,
        )


if __name__ == "__main__":
    run(main)
