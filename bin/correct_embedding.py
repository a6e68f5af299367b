#!/usr/bin/env python3
"""Correct validated embeddings; the results go through the validation gate again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.io.tables import read_json
from scfm.task.cli import add_embedding_arguments, add_step_arguments, make_parser, run
from scfm.task.group import Member, corrected, members_of, run_each
from scfm.task.resources import limit_threads
from scfm.task.steps import step


def main(argv: Sequence[str] | None = None) -> int:
    """Write each embedding, corrected in each way."""
    parser = make_parser(__doc__)
    add_embedding_arguments(parser)
    parser.add_argument("--correction", required=True, nargs="+", help="names in assets/corrections.tsv")
    parser.add_argument("--params", required=True, type=Path, help="JSON with the parameters of the run")
    parser.add_argument("--cpus", type=int, default=1, help="threads to use")
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    limit_threads(args.cpus)

    args.outdir.mkdir(parents=True, exist_ok=True)
    params = read_json(args.params)

    def correct(member: Member) -> None:
        from scfm.corrections.run import correct_embedding
        from scfm.embeddings.sidecar import read_sidecar

        parent = read_sidecar(member.sidecar)
        about = {"dataset": parent["dataset"], "outdir": args.outdir, "on_error": args.on_error}
        with step("correct", embedding=f"{parent['method']}.{member.correction}.{parent['seed']}", **about):
            correct_embedding(
                member.embedding, parent, args.obs, correction=member.correction, params=params, outdir=args.outdir
            )

    run_each(corrected(members_of(args.embedding, args.sidecar), args.correction), correct, outdir=args.outdir)
    return 0


if __name__ == "__main__":
    run(main)
