#!/usr/bin/env python3
"""Make the demo data: real PBMC cells in three batches with planted technical effects."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run


def main(argv: Sequence[str] | None = None) -> int:
    """Write the demo h5ad."""
    parser = make_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="h5ad file to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice")
    args = parser.parse_args(argv)

    from scfm.testing.demo import make_demo

    data = make_demo(args.seed)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    data.write_h5ad(args.output, compression="gzip")
    logging.getLogger("make_demo_data").info(
        "%s: %d cells x %d genes in %d batches", args.output, *data.shape, data.obs["batch"].nunique()
    )
    return 0


if __name__ == "__main__":
    run(main)
