#!/usr/bin/env python3
"""Correct a validated embedding; the result goes through the validation gate again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import add_embedding_arguments, add_step_arguments, make_parser, run
from scfm.task.resources import limit_threads


def main(argv: Sequence[str] | None = None) -> int:
    """Write one embedding, corrected in one way."""
    parser = make_parser(__doc__)
    add_embedding_arguments(parser)
    parser.add_argument("--correction", required=True, help="name in assets/corrections.tsv")
    parser.add_argument("--params", required=True, type=Path, help="JSON with the parameters of the run")
    parser.add_argument("--cpus", type=int, default=1, help="threads to use")
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    limit_threads(args.cpus)

    from scfm.corrections.run import correct_embedding
    from scfm.embeddings.sidecar import read_sidecar
    from scfm.io.tables import read_json
    from scfm.task.steps import step

    parent = read_sidecar(args.sidecar)
    params = read_json(args.params)
    name = f"{parent['method']}.{args.correction}.{parent['seed']}"
    args.outdir.mkdir(parents=True, exist_ok=True)
    with step("correct", dataset=parent["dataset"], embedding=name, outdir=args.outdir, on_error=args.on_error):
        correct_embedding(
            args.embedding, parent, args.obs, correction=args.correction, params=params, outdir=args.outdir
        )
    return 0


if __name__ == "__main__":
    run(main)
