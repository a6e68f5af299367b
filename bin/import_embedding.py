#!/usr/bin/env python3
"""Import an embedding made elsewhere (parquet, csv, npz or an obsm key of an h5ad), keyed by cell id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import add_step_arguments, make_parser, run
from scfm.task.resources import limit_threads


def main(argv: Sequence[str] | None = None) -> int:
    """Bring one user's embedding into the format of the validation gate."""
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", required=True, help="name of the data set")
    parser.add_argument("--name", required=True, help="name of the embedding in all tables")
    parser.add_argument("--source", required=True, type=Path, help="file with the embedding")
    parser.add_argument("--obsm_key", default=None, help="key in obsm, where the source is an h5ad")
    parser.add_argument("--obs", required=True, type=Path, help="<dataset>.obs.parquet")
    parser.add_argument("--seed", type=int, default=0, help="seed in the embedding's name")
    parser.add_argument("--max_dims", type=int, default=10_000, help="most columns that are taken for an embedding")
    parser.add_argument("--cpus", type=int, default=1, help="threads to use")
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    limit_threads(args.cpus)

    from scfm.embeddings.cells import read_cells
    from scfm.embeddings.importing import import_embedding
    from scfm.task.steps import step

    n_cells = len(read_cells(args.obs))
    args.outdir.mkdir(parents=True, exist_ok=True)
    with step(
        "embed",
        dataset=args.dataset,
        embedding=f"{args.name}.raw.{args.seed}",
        outdir=args.outdir,
        on_error=args.on_error,
    ):
        import_embedding(
            args.source,
            dataset=args.dataset,
            name=args.name,
            seed=args.seed,
            n_cells=n_cells,
            obsm_key=args.obsm_key or None,
            outdir=args.outdir,
            max_dims=args.max_dims,
        )
    return 0


if __name__ == "__main__":
    run(main)
