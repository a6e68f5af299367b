#!/usr/bin/env python3
"""Map new cells (a query) to a reference, transfer its labels, and tell which of them lie outside of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import add_step_arguments, make_parser, run
from scfm.task.resources import limit_threads
from scfm.task.steps import step


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``<dataset>.query.tsv``, the folder ``<dataset>.query`` and the status."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--dataset", required=True, help="name of the data set whose row names the new cells")
    parser.add_argument("--datasets", type=Path, required=True, help="datasets.json of CHECK_INPUTS")
    parser.add_argument("--query", type=Path, required=True, help="h5ad file or zarr folder with the new cells")
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument("--placed", type=Path, nargs="*", default=[], help="files of train_query.py, of every model")
    parser.add_argument("--params", type=Path, required=True, help="JSON with the parameters (query_*)")
    parser.add_argument("--cpus", type=int, default=1, help="threads")
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    limit_threads(args.cpus)

    args.outdir.mkdir(parents=True, exist_ok=True)
    folder = args.outdir / f"{args.dataset}.query"
    folder.mkdir(exist_ok=True)
    with step("query", dataset=args.dataset, embedding="", outdir=args.outdir, on_error=args.on_error) as status:
        from scfm.inputs.datasets import row_of
        from scfm.io.tables import read_json
        from scfm.query.run import QueryFiles, map_files

        files = QueryFiles(args.reference, args.query, args.placed)
        row = row_of(args.datasets, args.dataset)
        status.update(map_files(files, row, read_json(args.params), outdir=args.outdir))


if __name__ == "__main__":
    run(main)
