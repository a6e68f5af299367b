#!/usr/bin/env python3
"""Exit with a non-zero status when a planned embedding is failed or unexplained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.errors import ScfmError
from scfm.io.tables import read_json
from scfm.task.cli import make_parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Read the verdict and raise when it is not clean."""
    parser = make_parser(__doc__)
    parser.add_argument("--verdict", type=Path, required=True, help="verdict.json of collect_results.py")
    verdict = read_json(parser.parse_args(argv).verdict)
    if verdict["exit_status"] != 0:
        raise ScfmError(verdict["message"])
    print(verdict["message"])


if __name__ == "__main__":
    run(main)
