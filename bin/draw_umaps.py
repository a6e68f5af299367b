#!/usr/bin/env python3
"""Draw the UMAPs of embeddings of one data set, coloured by batch and label, and maps of their centroids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.io.tables import read_json
from scfm.task.cli import add_embedding_arguments, add_step_arguments, make_parser, run
from scfm.task.group import Member, members_of, run_each
from scfm.task.steps import step
from scfm.umap.centroid_maps import parse_maps


def main(argv: Sequence[str] | None = None) -> None:
    """Draw each embedding, and the embeddings of a method side by side."""
    parser = make_parser(__doc__)
    add_embedding_arguments(parser)
    parser.add_argument("--knn", type=Path, nargs="+", default=[], help="their neighbours <id>.knn.npz")
    parser.add_argument("--params", type=Path, required=True, help="JSON with the parameters umap_* and centroid_maps")
    parser.add_argument("--seed", type=int, default=0, help="seed of layout, sample and drawing order")
    parser.add_argument("--cpus", type=int, default=1, help="threads of a repeated neighbour search")
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    params = read_json(args.params)
    maps = parse_maps(params.get("centroid_maps", "none"))

    def draw(member: Member) -> None:
        sidecar = read_json(member.sidecar)
        about = {"dataset": sidecar["dataset"], "embedding": sidecar["embedding"], "outdir": args.outdir}
        with step("umap", **about, on_error=args.on_error) as status:
            from scfm.embeddings.sidecar import need_coordinates
            from scfm.umap.draw import draw_embedding, draw_maps

            need_coordinates(sidecar)
            status["warnings"] = draw_maps(member.embedding, sidecar, args.obs, maps=maps, outdir=args.outdir)
            settings = {"params": params, "seed": args.seed, "n_threads": args.cpus, "outdir": args.outdir}
            draw_embedding(member.embedding, sidecar, member.more.get("knn"), args.obs, **settings)

    members = members_of(args.embedding, args.sidecar, knn=args.knn)
    run_each(members, draw, outdir=args.outdir)
    if len(members) > 1:
        from scfm.umap.draw import draw_galleries

        draw_galleries([read_json(m.sidecar) for m in members], args.obs, seed=args.seed, outdir=args.outdir)


if __name__ == "__main__":
    run(main)
