#!/usr/bin/env python3
"""Compute the metrics of embeddings again, on the cells of a further scoring pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import add_embedding_arguments, add_step_arguments, make_parser, run
from scfm.task.device import add_device_argument, need_device
from scfm.task.group import Member, members_of, run_each
from scfm.task.resources import limit_threads
from scfm.task.steps import step


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``<id>.scores_<pass>.tsv`` and ``<id>.score_<pass>.status.json`` of each embedding."""
    parser = make_parser(__doc__ or "")
    add_embedding_arguments(parser)
    parser.add_argument("--pca", type=Path, required=True, help="<dataset>.pca.parquet, the uncorrected PCA")
    parser.add_argument(
        "--cells", type=Path, required=True, help="<dataset>.<pass>_cells.parquet (list_common_cells.py)"
    )
    parser.add_argument("--kind", choices=["common", "held_out"], default="common", help="the pass")
    parser.add_argument("--profile", choices=["paper", "standard", "full"], default="standard", help="set of metrics")
    parser.add_argument("--metrics_table", type=Path, help="assets/metrics.tsv; this checkout's by default")
    parser.add_argument("--k", type=int, default=90, help="neighbours per cell; the cell itself is one of them")
    parser.add_argument(
        "--exact_max_cells", type=int, default=50_000, help="above this many cells the search is approximate"
    )
    parser.add_argument("--cpus", type=int, default=1, help="threads")
    add_device_argument(parser)
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    limit_threads(args.cpus)

    def score(member: Member) -> None:
        from scfm.embeddings.sidecar import read_sidecar
        from scfm.inputs.keys import key_pairs
        from scfm.io.tables import read_ids
        from scfm.metrics.common_cells import load_common, score_common
        from scfm.metrics.load import read_scored

        sidecar = read_sidecar(member.sidecar)
        about = {"dataset": sidecar["dataset"], "embedding": sidecar["embedding"], "outdir": args.outdir}
        with step(f"score_{args.kind}", **about, on_error=args.on_error) as status:
            need_device(args.device)
            status["device"] = args.device
            search = {"k": args.k, "exact_max_cells": args.exact_max_cells, "device": args.device}
            data = load_common(member.embedding, sidecar, args.obs, args.pca, read_ids(args.cells), **search)
            pair = key_pairs(list(read_scored(args.obs).columns))[0]
            settings = {"profile": args.profile, "metrics_table": args.metrics_table, "on_error": args.on_error}
            status.update(score_common(data, sidecar, pair, **settings, kind=args.kind, outdir=args.outdir))

    run_each(members_of(args.embedding, args.sidecar), score, outdir=args.outdir)


if __name__ == "__main__":
    run(main)
