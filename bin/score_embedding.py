#!/usr/bin/env python3
"""Compute the metrics of embeddings: how well batches mix and how well labels are kept, overall and per label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import add_embedding_arguments, add_step_arguments, make_parser, run
from scfm.task.device import add_device_argument, need_device
from scfm.task.group import Member, members_of, run_each
from scfm.task.resources import limit_threads
from scfm.task.steps import step


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``<id>.scores.tsv``, ``<id>.centroids.tsv``, ``<id>.score.status.json`` and, in profile ``paper``,
    ``<id>.metrics_scib.csv`` of each embedding.
    """
    parser = make_parser(__doc__ or "")
    add_embedding_arguments(parser)
    parser.add_argument("--pca", type=Path, required=True, help="<dataset>.pca.parquet, the uncorrected PCA")
    parser.add_argument(
        "--knn",
        type=Path,
        nargs="+",
        default=[],
        help="<id>.knn.npz of the embeddings; without it metrics of neighbours are NA",
    )
    parser.add_argument("--profile", choices=["paper", "standard", "full"], default="standard", help="set of metrics")
    parser.add_argument("--metrics_table", type=Path, help="assets/metrics.tsv; this checkout's by default")
    parser.add_argument("--seed", type=int, default=42, help="seed of the Leiden clusterings; 42 in scib-metrics")
    parser.add_argument(
        "--exact_max_cells",
        type=int,
        default=50_000,
        help="above this many cells the search for a pair of keys with gaps is approximate",
    )
    parser.add_argument("--cpus", type=int, default=1, help="threads of the linear algebra")
    add_device_argument(parser)
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    limit_threads(args.cpus)

    def score(member: Member) -> None:
        from scfm.embeddings.sidecar import read_sidecar

        sidecar = read_sidecar(member.sidecar)
        about = {"dataset": sidecar["dataset"], "embedding": sidecar["embedding"], "outdir": args.outdir}
        with step("score", **about, on_error=args.on_error) as status:
            need_device(args.device)
            status["device"] = args.device
            from scfm.metrics.run import score_files

            status.update(
                score_files(
                    member.embedding,
                    sidecar,
                    args.obs,
                    args.pca,
                    member.more.get("knn"),
                    profile=args.profile,
                    metrics_table=args.metrics_table,
                    seed=args.seed,
                    exact_max_cells=args.exact_max_cells,
                    on_error=args.on_error,
                    outdir=args.outdir,
                    device=args.device,
                )
            )

    run_each(members_of(args.embedding, args.sidecar, knn=args.knn), score, outdir=args.outdir)


if __name__ == "__main__":
    run(main)
