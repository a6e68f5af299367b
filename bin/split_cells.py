#!/usr/bin/env python3
"""Split the cells of a data set into shards: files of cell ids that are embedded as independent tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, on_off, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``shard_000.txt`` and so on."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--obs", type=Path, required=True, metavar="FILE.obs.parquet", help="obs table of the data set")
    parser.add_argument(
        "--shard_cells", type=int, default=0, metavar="N", help="cells per shard; 0 = one shard with all cells"
    )
    parser.add_argument(
        "--groups",
        type=on_off,
        default=False,
        metavar="true|false",
        help="cells attend to each other: keep groups whole",
    )
    parser.add_argument(
        "--group_column", default="", metavar="NAME", help="with --groups: column of the obs table; none = one shard"
    )
    parser.add_argument("--outdir", type=Path, default=Path("shards"), help="folder to write to")
    args = parser.parse_args(argv)

    from scfm.models.core.shards import split_cells

    split_cells(args.obs, args.outdir, shard_cells=args.shard_cells, groups=args.groups, group_column=args.group_column)


if __name__ == "__main__":
    run(main)
