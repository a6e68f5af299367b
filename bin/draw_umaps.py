#!/usr/bin/env python3
"""Draw the UMAPs of embeddings of one data set, family by family, coloured by batch and label, and maps of their
centroids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.io.tables import read_json
from scfm.task.cli import add_step_arguments, make_parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and draw."""
    parser = make_parser(__doc__)
    parser.add_argument("--embeddings", type=Path, nargs="+", required=True, help="embedding tables <id>.parquet")
    parser.add_argument("--sidecars", type=Path, nargs="+", required=True, help="their sidecars <id>.json")
    parser.add_argument("--knn", type=Path, nargs="+", required=True, help="their neighbours <id>.knn.npz")
    parser.add_argument("--obs", type=Path, required=True, help="obs table of the data set")
    parser.add_argument(
        "--params", type=Path, required=True, help="JSON with umap_min_dist, umap_max_cells and centroid_maps"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of layout, sample and drawing order")
    parser.add_argument("--cpus", type=int, default=1, help="threads of a repeated neighbour search")
    add_step_arguments(parser)
    args = parser.parse_args(argv)

    from scfm.umap.draw import draw_families

    draw_families(
        sidecars=args.sidecars,
        embeddings=args.embeddings,
        knn=args.knn,
        obs_path=args.obs,
        params=read_json(args.params),
        seed=args.seed,
        n_threads=args.cpus,
        outdir=args.outdir,
        on_error=args.on_error,
    )


if __name__ == "__main__":
    run(main)
