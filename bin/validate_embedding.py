#!/usr/bin/env python3
"""The validation gate: check embeddings against the cells of their data set before anything is computed from them."""

from __future__ import annotations

from collections.abc import Sequence

from scfm.task.cli import add_embedding_arguments, add_step_arguments, make_parser, run
from scfm.task.group import Member, members_of, run_each
from scfm.task.resources import limit_threads
from scfm.task.steps import step


def main(argv: Sequence[str] | None = None) -> int:
    """Check each embedding and hand it on in the order of the data set."""
    parser = make_parser(__doc__)
    add_embedding_arguments(parser)
    parser.add_argument("--cpus", type=int, default=1, help="threads to use")
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    limit_threads(args.cpus)

    args.outdir.mkdir(parents=True, exist_ok=True)

    def validate(member: Member) -> None:
        from scfm.embeddings.sidecar import read_sidecar
        from scfm.embeddings.validate import validate_embedding

        sidecar = read_sidecar(member.sidecar)
        about = {"dataset": sidecar["dataset"], "embedding": sidecar["embedding"], "outdir": args.outdir}
        with step("validate", **about, on_error=args.on_error):
            validate_embedding(member.embedding, sidecar, args.obs, args.outdir)

    run_each(members_of(args.embedding, args.sidecar), validate, outdir=args.outdir)
    return 0


if __name__ == "__main__":
    run(main)
