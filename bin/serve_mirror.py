#!/usr/bin/env python3
"""Serve a folder of data sets by CELLxGENE Discover's interface, to this machine: while a command runs, or until
interrupted.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--folder",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with mirror.json and the files (format: bin/scfm/testing/mirror.py)",
    )
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument(
        "command",
        nargs="*",
        metavar="-- COMMAND",
        help="runs with CELLXGENE_API set to the mirror; its exit status is returned",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve."""
    args = parse(argv)
    from scfm.testing.mirror import load_mirror
    from scfm.testing.serve import run_with_mirror, serve

    if args.command:
        return run_with_mirror(args.folder, args.command, port=args.port)
    with serve(load_mirror(args.folder), port=args.port) as api:
        sys.stdout.write(f"{api}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    run(main)
