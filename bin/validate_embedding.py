#!/usr/bin/env python3
"""The validation gate: check an embedding against the cells of its data set before anything is computed from it."""

from __future__ import annotations

from collections.abc import Sequence

from scfm.task.cli import add_embedding_arguments, add_step_arguments, make_parser, run
from scfm.task.resources import limit_threads


def main(argv: Sequence[str] | None = None) -> int:
    """Check one embedding and hand it on in the order of the data set."""
    parser = make_parser(__doc__)
    add_embedding_arguments(parser)
    parser.add_argument("--cpus", type=int, default=1, help="threads to use")
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    limit_threads(args.cpus)

    from scfm.embeddings.sidecar import read_sidecar
    from scfm.embeddings.validate import validate_embedding
    from scfm.task.steps import step

    sidecar = read_sidecar(args.sidecar)
    args.outdir.mkdir(parents=True, exist_ok=True)
    with step(
        "validate",
        dataset=sidecar["dataset"],
        embedding=sidecar["embedding"],
        outdir=args.outdir,
        on_error=args.on_error,
    ):
        validate_embedding(args.embedding, sidecar, args.obs, args.outdir)
    return 0


if __name__ == "__main__":
    run(main)
