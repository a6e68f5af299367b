#!/usr/bin/env python3
"""Diagnose embeddings of one data set: what is left of the batch effect in a label, why, and what correction cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.io.tables import read_json
from scfm.task.cli import add_embedding_arguments, add_step_arguments, make_parser, run
from scfm.task.group import members_of


def main(argv: Sequence[str] | None = None) -> None:
    """Write the tables of every embedding and its status."""
    parser = make_parser(__doc__ or "")
    add_embedding_arguments(parser)
    parser.add_argument("--knn", type=Path, nargs="+", required=True, help="their neighbours <id>.knn.npz")
    parser.add_argument("--scores", type=Path, nargs="*", default=[], help="their scores <id>.scores.tsv")
    parser.add_argument("--seed_embedding", type=Path, nargs="*", default=[], help="the same with other seeds")
    parser.add_argument("--seed_sidecar", type=Path, nargs="*", default=[], help="their sidecars")
    parser.add_argument("--seed_knn", type=Path, nargs="*", default=[], help="their neighbours")
    parser.add_argument("--prepared", type=Path, required=True, help="<dataset>.prepared.h5ad")
    parser.add_argument("--pca", type=Path, required=True, help="<dataset>.pca.parquet: the uncorrected embedding")
    parser.add_argument("--pca_knn", type=Path, help="neighbours of the method pca, searched where they are not given")
    parser.add_argument("--programmes", type=Path, required=True, help="assets/programmes.tsv")
    parser.add_argument("--metrics_table", type=Path, required=True, help="assets/metrics.tsv")
    parser.add_argument("--markers", type=Path, help="the user's table of markers: label, gene")
    parser.add_argument("--params", type=Path, required=True, help="JSON with the parameters diagnose_*")
    parser.add_argument("--cpus", type=int, default=1, help="threads of the linear algebra")
    add_step_arguments(parser)
    args = parser.parse_args(argv)

    from scfm.diagnosis.run import DataFiles, diagnose_embeddings

    diagnose_embeddings(
        members_of(args.embedding, args.sidecar, knn=args.knn, scores=args.scores),
        other_seeds=members_of(args.seed_embedding, args.seed_sidecar, knn=args.seed_knn),
        data=DataFiles(
            args.obs, args.prepared, args.pca, args.programmes, args.metrics_table, args.markers, args.pca_knn
        ),
        params=read_json(args.params),
        n_threads=args.cpus,
        outdir=args.outdir,
        on_error=args.on_error,
    )


if __name__ == "__main__":
    run(main)
