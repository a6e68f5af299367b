#!/usr/bin/env python3
"""Write the parts of docs/ that are made from the tables of assets/ and their schemas."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run

log = logging.getLogger("make_docs")


def main(argv: Sequence[str] | None = None) -> None:
    """Write every page whose made parts changed."""
    parser = make_parser(__doc__ or "")
    parser.add_argument(
        "--docs", type=Path, default=Path(__file__).resolve().parents[1] / "docs", help="folder of the pages"
    )
    args = parser.parse_args(argv)

    from scfm.registries.pages import filled

    for page in sorted(args.docs.rglob("*.md")):
        old = page.read_text(encoding="utf-8")
        new = filled(old, page)
        if new != old:
            page.write_text(new, encoding="utf-8")
            log.info("wrote %s", page)


if __name__ == "__main__":
    run(main)
