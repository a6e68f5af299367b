#!/usr/bin/env python3
"""Write the report: one self-contained HTML page of the sections made by build_report.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page and the folder with MultiQC's data."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--content", type=Path, required=True, help="folder written by build_report.py")
    parser.add_argument("--config", type=Path, required=True, help="MultiQC configuration of the report")
    parser.add_argument("--filename", default="scfmbench_report.html", help="name of the page")
    parser.add_argument("--outdir", type=Path, default=Path(), help="folder to write to")
    args = parser.parse_args(argv)

    from scfm.report.page.writer import write_page

    configs = [args.config, args.content / "scfmbench_order.yml"]
    write_page(args.content, configs, args.outdir, filename=args.filename)


if __name__ == "__main__":
    run(main)
