#!/usr/bin/env python3
"""Write the AnnData of a data set with every embedding and UMAP in obsm."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run
from scfm.task.resources import limit_threads


def main(argv: Sequence[str] | None = None) -> int:
    """Copy the prepared file and add what was computed from it."""
    parser = make_parser(__doc__)
    parser.add_argument("--prepared", required=True, type=Path, help="<dataset>.prepared.h5ad")
    parser.add_argument(
        "--embeddings", nargs="*", default=[], type=Path, help="<id>.parquet that passed the validation gate"
    )
    parser.add_argument("--sidecars", nargs="*", default=[], type=Path, help="<id>.json of each of them")
    parser.add_argument("--umaps", nargs="*", default=[], type=Path, help="UMAP tables (*.umap.parquet)")
    parser.add_argument("--output", required=True, type=Path, help="<dataset>.h5ad")
    parser.add_argument("--cpus", type=int, default=1, help="threads to use")
    args = parser.parse_args(argv)
    limit_threads(args.cpus)

    from scfm.embeddings.h5ad import write_dataset_h5ad

    keys = write_dataset_h5ad(args.prepared, args.embeddings, args.sidecars, args.umaps, args.output)
    logging.getLogger(__name__).info("%s holds %d arrays in obsm beside the prepared ones", args.output, len(keys))
    return 0


if __name__ == "__main__":
    run(main)
