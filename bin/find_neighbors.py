#!/usr/bin/env python3
"""Find the nearest neighbours of the scored cells in one embedding, once for all metrics and UMAPs."""

from __future__ import annotations

from collections.abc import Sequence

from scfm.task.cli import add_embedding_arguments, add_step_arguments, make_parser, run
from scfm.task.resources import limit_threads


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``<id>.knn.npz`` and ``<id>.neighbors.status.json``."""
    parser = make_parser(__doc__ or "")
    add_embedding_arguments(parser)
    parser.add_argument("--k", type=int, default=90, help="neighbours per cell; the cell itself is one of them")
    parser.add_argument(
        "--exact_max_cells", type=int, default=200_000, help="above this many cells the search is approximate"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the approximate search")
    parser.add_argument("--cpus", type=int, default=1, help="threads")
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    limit_threads(args.cpus)

    from scfm.embeddings.sidecar import read_sidecar
    from scfm.metrics.load import load_scored_cells
    from scfm.neighbors.search import find_neighbors
    from scfm.task.steps import step

    sidecar = read_sidecar(args.sidecar)
    dataset, embedding = sidecar["dataset"], sidecar["embedding"]
    with step("neighbors", dataset=dataset, embedding=embedding, outdir=args.outdir, on_error=args.on_error) as status:
        cells = load_scored_cells(args.embedding, sidecar, args.obs)
        found = find_neighbors(
            cells.values,
            cells.cell_ids,
            k=args.k,
            exact_max_cells=args.exact_max_cells,
            seed=args.seed,
            cpus=args.cpus,
        )
        exact = len(found.cell_ids) <= args.exact_max_cells
        status.update(
            n_cells=len(found.cell_ids), k=found.k, k_asked=args.k, exact=exact, metric="euclidean", self_counted=True
        )
        if found.k < args.k:
            status["note"] = (
                f"Only {found.k} cells are scored, so every cell has all {found.k} as neighbours instead of {args.k}."
            )
        found.write(args.outdir / f"{dataset}.{embedding}.knn.npz")


if __name__ == "__main__":
    run(main)
