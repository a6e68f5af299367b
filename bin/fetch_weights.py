#!/usr/bin/env python3
"""Download the official weights of a foundation model, on a machine with internet: shows the licence first, resumes,
verifies.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scfm.errors import ScfmError
from scfm.task.cli import make_parser, run


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="", metavar="NAME", help="the model; see --list")
    parser.add_argument(
        "--release", default="", metavar="NAME", help="published release; the usual one where not given"
    )
    parser.add_argument(
        "--dest",
        type=Path,
        default=Path("weights"),
        metavar="DIR",
        help="folder of all weights: the files go to DIR/<model> (--weights_dir of the pipeline)",
    )
    parser.add_argument(
        "--accept_license",
        action="append",
        default=[],
        metavar="NAME",
        help="accept a licence with limits, after reading it",
    )
    parser.add_argument("--optional", action="store_true", help="also the files that the model can do without")
    parser.add_argument("--yes", action="store_true", help="do not ask before the download")
    parser.add_argument(
        "--check", action="store_true", help="download nothing: say what is missing, verify what is there"
    )
    parser.add_argument("--list", action="store_true", help="list models and releases")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Fetch, check or list."""
    from scfm.registries.weights import load_weights_table

    args = parse(argv)
    table = load_weights_table()
    if args.list:
        rows = [
            ("model", "release", "dims", "licence"),
            *((v.model, v.release, ",".join(v.dims), v.licence) for v in table.releases),
        ]
        sys.stdout.write("".join("\t".join(row) + "\n" for row in rows))
        return
    if not args.model:
        raise ScfmError(f"--model is needed. Known: {', '.join(table.models)}.")
    if args.check:
        check(table, args)
        return
    from scfm.weights.check import fetch_command
    from scfm.weights.fetch import check_licence, fetch

    release = table.release(args.model, args.release)
    check_licence(
        release,
        args.accept_license,
        fetch_command(release, str(args.dest), usual=not args.release).partition(" --accept_license")[0],
    )
    fetch(table, release, args.dest, confirm=agree if args.yes else ask, with_optional=args.optional)


def check(table: object, args: argparse.Namespace) -> None:
    """Say what is missing, and verify the checksums of what is there."""
    from scfm.weights.check import check_folder, verify

    state = check_folder(table, args.model, args.dest / args.model)
    if not state.is_complete:
        raise ScfmError(f"{args.dest / args.model}: {state.sentence}")
    verdict = verify(table, args.model, args.dest / args.model)
    sys.stdout.write(
        f"{state.sentence} Checksums: {len(verdict.published)} as published, {len(verdict.recorded)} as recorded,"
        f" {len(verdict.new) + len(verdict.stand_ins)} recorded"
        f" now.{' The weights are randomly initialised.' if state.is_random else ''}\n"
    )


def agree(text: str) -> bool:
    """Show the licence and go on."""
    sys.stderr.write(text + "\n")
    return True


def ask(text: str) -> bool:
    """Show the licence and ask a person; without one, --yes is needed."""
    sys.stderr.write(text + "\n")
    if not sys.stdin.isatty():
        raise ScfmError("The download can't be confirmed without a terminal: add --yes.")
    sys.stderr.write("Go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


if __name__ == "__main__":
    run(main)
