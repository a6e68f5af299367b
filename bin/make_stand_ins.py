#!/usr/bin/env python3
"""Make small stand-ins of the study's files, with their columns, ids and quirks, and the index of a mirror that serves
them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--outdir", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice")
    args = parser.parse_args(argv)

    from scfm.testing.stand_ins import write_stand_ins

    for path in write_stand_ins(args.outdir, args.seed):
        logging.getLogger("make_stand_ins").info("%s: %.0f kB", path, path.stat().st_size / 1000)
    return 0


if __name__ == "__main__":
    run(main)
