#!/usr/bin/env python3
"""Make a data set from AnnData files by a recipe: choose rows, label cells, map and join genes. Big files are read
backed.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from scfm.errors import ScfmError
from scfm.task.cli import make_parser, run

log = logging.getLogger("apply_recipe")


def named_path(text: str) -> tuple[str, Path]:
    """Parse ``name=path``."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"'{text}' is not name=path")
    return name, Path(path)


def as_dict(pairs: Sequence[tuple[str, Path]], option: str) -> dict[str, Path]:
    """Return named paths by name; a name given twice is refused."""
    names = [name for name, _ in pairs]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ScfmError(f"--{option}: '{twice[0]}' is given {names.count(twice[0])} times.")
    return dict(pairs)


def main(argv: Sequence[str] | None = None) -> int:
    """Write <dataset>.recipe.h5ad and <dataset>.recipe.json."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--recipe", type=Path, required=True, help="YAML file (docs/recipes.md)")
    parser.add_argument("--dataset", required=True, help="name of the data set, stem of the files written")
    for option, text in (
        ("source", "local file of a source"),
        ("table", "local file of a table"),
        ("record", "record of a download, for the report"),
    ):
        parser.add_argument(
            f"--{option}", type=named_path, nargs="+", action="extend", default=[], metavar="NAME=PATH", help=text
        )
    parser.add_argument("--outdir", type=Path, default=Path(), help="folder to write to")
    args = parser.parse_args(argv)

    from scfm.recipes.build import build
    from scfm.recipes.recipe import load_recipe

    given = {option: as_dict(getattr(args, option), option) for option in ("source", "table", "record")}
    recipe = load_recipe(args.recipe)
    args.outdir.mkdir(parents=True, exist_ok=True)
    report = build(recipe, args.dataset, given["source"], args.outdir, tables=given["table"], records=given["record"])
    for warning in report["warnings"]:
        log.warning("%s", warning["text"])
    log.info(
        "%s: %d cells x %d genes by the recipe '%s'",
        args.dataset,
        report["n_cells"],
        report["n_genes"],
        report["recipe"],
    )
    return 0


if __name__ == "__main__":
    run(main)
