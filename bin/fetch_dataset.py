#!/usr/bin/env python3
"""Fetch data sets from CELLxGENE Discover, from a web address or from a file: resumes, verifies, and writes down what
came.
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
    add = parser.add_argument
    add(
        "--dest",
        type=Path,
        default=Path("datasets"),
        metavar="DIR",
        help="folder for the files (--data_dir of the pipeline)",
    )
    add(
        "--scenario",
        action="append",
        default=[],
        metavar="NAME",
        help="what a scenario of the study needs (assets/datasets.tsv); may be given several times",
    )
    add(
        "--recipe",
        type=Path,
        action="append",
        default=[],
        metavar="YAML",
        help="what a recipe needs; may be given several times",
    )
    add(
        "--cellxgene",
        action="append",
        default=[],
        metavar="DATASET_ID",
        help="a data set of CELLxGENE Discover; may be given several times",
    )
    add(
        "--collection",
        default="",
        metavar="ID",
        help=(
            "a collection: with --list its data sets; with --select the one that fits; else where --cellxgene is"
            " looked for"
        ),
    )
    add("--list", action="store_true", help="download nothing: list the data sets of --collection")
    add(
        "--select",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="organism, disease, tissue or assay that a data set must have, or title_contains",
    )
    add(
        "--version",
        default="",
        metavar="ID",
        help="dataset_version_id of the one --cellxgene; the current one where not given",
    )
    add("--url", default="", help="a file at a web address")
    add("--file", type=Path, metavar="PATH", help="a local file: verified, then linked or copied")
    add("--size", type=int, metavar="BYTES", help="expected size of --url or --file")
    add("--sha256", default="", metavar="HEX", help="expected checksum of --url or --file")
    add(
        "--spec",
        type=Path,
        action="append",
        default=[],
        metavar="JSON",
        help="what to fetch as an object, or a list of them",
    )
    add(
        "--update",
        action="store_true",
        help="ask whether what is there is still the current version, and replace it where it is not",
    )
    add("--verify", action="store_true", help="compute the checksums of files that are there")
    add(
        "--api",
        default="",
        metavar="URL",
        help="the interface of a mirror; else the environment variable CELLXGENE_API, else the official one",
    )
    add("--tries", type=int, default=6, help="attempts in a row without a new byte, before giving up")
    add("--max_gb", type=float, default=2000.0, help="largest file that is downloaded, in GB")
    add("--allow_http", action="store_true", help="take addresses without encryption too")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Fetch or list."""
    args = parse(argv)
    from scfm.fetch.discover import Discover
    from scfm.fetch.fetch import fetch_source
    from scfm.io.web import RetryPolicy
    from scfm.study.request import table_of, wanted

    if args.tries < 1:
        raise ScfmError(f"--tries is {args.tries}; expected 1 or more.")
    if not 0 < args.max_gb < float("inf"):
        raise ScfmError(f"--max_gb is {args.max_gb}; expected a number above 0.")
    policy = RetryPolicy(tries=args.tries, max_bytes=int(args.max_gb * 1e9), allow_http=args.allow_http)
    discover = Discover(args.api, policy)
    if args.list:
        sys.stdout.write(table_of(discover, args.collection))
        return
    specs = list(wanted(args, discover))
    if not specs:
        raise ScfmError(
            "Nothing to fetch: give --scenario, --recipe, --cellxgene, --collection, --url, --file or --spec;"
            " --collection ID --list shows what there is."
        )
    for spec in specs:
        path = fetch_source(spec, args.dest, api=args.api, update=args.update, verify=args.verify, policy=policy)
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    run(main)
