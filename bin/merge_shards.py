#!/usr/bin/env python3
"""Join the shards of one embedding by cell id: one table, one sidecar, one status."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import add_step_arguments, make_parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``<id>.unchecked.parquet``, ``<id>.unchecked.json`` and ``<id>.embed.status.json``."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--id", required=True, help="<dataset>.<method>.<correction>.<seed>")
    parser.add_argument(
        "--parts",
        type=Path,
        nargs="*",
        default=[],
        metavar="FILE.parquet",
        help="tables of the shards; a failed one has none",
    )
    parser.add_argument(
        "--sidecars", type=Path, nargs="*", default=[], metavar="FILE.json", help="their sidecars, in any order"
    )
    parser.add_argument(
        "--statuses", type=Path, nargs="+", required=True, metavar="FILE.status.json", help="status file of every shard"
    )
    parser.add_argument("--obs", type=Path, required=True, metavar="FILE.obs.parquet", help="obs table of the data set")
    add_step_arguments(parser)
    args = parser.parse_args(argv)

    from scfm.models.core.merging import merge_shards

    merge_shards(
        args.id,
        parts=args.parts,
        sidecars=args.sidecars,
        statuses=args.statuses,
        obs=args.obs,
        outdir=args.outdir,
        on_error=args.on_error,
    )


if __name__ == "__main__":
    run(main)
