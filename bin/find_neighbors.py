#!/usr/bin/env python3
"""Find the nearest neighbours of the scored cells in embeddings, once for all metrics and UMAPs; a graph has edges."""

from __future__ import annotations

from collections.abc import Sequence

from scfm.task.cli import add_embedding_arguments, add_step_arguments, make_parser, run
from scfm.task.device import add_device_argument, need_device
from scfm.task.group import Member, members_of, run_each
from scfm.task.resources import limit_threads
from scfm.task.steps import step


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``<id>.knn.npz`` and ``<id>.neighbors.status.json`` of each embedding."""
    parser = make_parser(__doc__ or "")
    add_embedding_arguments(parser)
    parser.add_argument("--k", type=int, default=90, help="neighbours per cell; the cell itself is one of them")
    parser.add_argument(
        "--exact_max_cells", type=int, default=50_000, help="above this many cells the search of a CPU is approximate"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the approximate search")
    parser.add_argument("--cpus", type=int, default=1, help="threads")
    add_device_argument(parser)
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    limit_threads(args.cpus)

    def find(member: Member) -> None:
        from scfm.embeddings.sidecar import read_sidecar
        from scfm.metrics.load import load_scored_cells, load_scored_graph
        from scfm.neighbors.search import find_neighbors

        sidecar = read_sidecar(member.sidecar)
        about = {"dataset": sidecar["dataset"], "embedding": sidecar["embedding"], "outdir": args.outdir}
        written = args.outdir / f"{sidecar['dataset']}.{sidecar['embedding']}.knn.npz"
        with step("neighbors", **about, on_error=args.on_error) as status:
            if sidecar["output_type"] == "graph":
                graph = load_scored_graph(member.embedding, args.obs)
                graph.write(written)
                status.update(n_cells=len(graph.cell_ids), n_edges=graph.weights.nnz // 2)
                return
            need_device(args.device)
            cells = load_scored_cells(member.embedding, sidecar, args.obs)
            search = {"k": args.k, "exact_max_cells": args.exact_max_cells, "seed": args.seed}
            found = find_neighbors(cells.values, cells.cell_ids, **search, device=args.device)
            status.update(
                n_cells=len(found.cell_ids),
                device=args.device,
                k=found.k,
                k_asked=args.k,
                exact=found.search.is_exact,
                recall=found.search.recall,
                n_lists=found.search.n_lists,
                n_lists_read=found.search.n_read,
                metric="euclidean",
                self_counted=True,
            )
            if found.k < args.k:
                status["note"] = (
                    f"Only {found.k} cells are scored, so every cell has all {found.k} as neighbours"
                    f" instead of {args.k}."
                )
            found.write(written)

    run_each(members_of(args.embedding, args.sidecar), find, outdir=args.outdir)


if __name__ == "__main__":
    run(main)
