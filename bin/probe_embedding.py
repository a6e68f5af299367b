#!/usr/bin/env python3
"""Probe embeddings: how well do simple classifiers read label and batch from them?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.io.tables import read_json
from scfm.task.cli import add_embedding_arguments, add_step_arguments, make_parser, run
from scfm.task.device import add_device_argument, need_device
from scfm.task.group import Member, members_of, run_each
from scfm.task.steps import step


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and probe each embedding."""
    parser = make_parser(__doc__)
    add_embedding_arguments(parser)
    parser.add_argument(
        "--knn",
        type=Path,
        nargs="*",
        default=[],
        help="<id>.knn.npz of the embeddings; neighbours of one without it, or with 0 bytes, are searched here",
    )
    parser.add_argument("--splits", type=Path, required=True, help="shared splits of the data set")
    parser.add_argument("--params", type=Path, required=True, help="JSON with the pipeline's parameters (probe_*)")
    parser.add_argument("--cpus", type=int, default=1, help="threads of the linear algebra")
    parser.add_argument("--profile", default="standard", help="'paper' adds the study's CSV")
    add_device_argument(parser)
    add_step_arguments(parser)
    args = parser.parse_args(argv)

    params = read_json(args.params)

    def probe(member: Member) -> None:
        sidecar = read_json(member.sidecar)
        about = {"dataset": sidecar["dataset"], "embedding": sidecar["embedding"], "outdir": args.outdir}
        with step("probe", **about, on_error=args.on_error) as status:
            need_device(args.device)
            status["device"] = args.device
            from scfm.embeddings.sidecar import need_coordinates
            from scfm.probing.run import probe_files

            need_coordinates(sidecar)
            status.update(
                probe_files(
                    member.embedding,
                    sidecar,
                    args.obs,
                    args.splits,
                    params,
                    n_threads=args.cpus,
                    outdir=args.outdir,
                    is_paper=args.profile == "paper",
                    knn=member.more.get("knn"),
                    device=args.device,
                )
            )

    run_each(members_of(args.embedding, args.sidecar, knn=args.knn), probe, outdir=args.outdir)


if __name__ == "__main__":
    run(main)
