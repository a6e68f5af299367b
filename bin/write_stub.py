#!/usr/bin/env python3
"""Write valid, tiny outputs of a process, for `nextflow run . -stub`: a stub run also tests joins, names and
reports.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run
from scfm.testing.stubs import STUBS


def main(argv: Sequence[str] | None = None) -> None:
    """Write the outputs of one kind of step."""
    parser = make_parser(__doc__ or "")
    parser.formatter_class = argparse.HelpFormatter
    parser.add_argument("kind", choices=sorted(STUBS), help="whose outputs to write")
    parser.add_argument("--id", nargs="*", default=[], help="<dataset>.<method>.<correction>.<seed> of each embedding")
    parser.add_argument("--family", nargs="*", default=[], help="their families, in the same order")
    parser.add_argument("--step", default="embed")
    parser.add_argument("--dataset", default="")
    parser.add_argument("--mapping", default="", help="model that was trained on new cells")
    parser.add_argument("--pass", dest="scoring_pass", default="common", help="name of a further scoring pass")
    parser.add_argument("--input", type=Path, help="samplesheet")
    parser.add_argument("--params", type=Path, help="JSON file of all Nextflow parameters")
    parser.add_argument("--staged", type=Path, help="JSON map of path text to local path")
    parser.add_argument("--assets", type=Path, help="folder with nextflow_schema.json and the registries")
    parser.add_argument("--obs", type=Path)
    parser.add_argument("--plan", type=Path)
    parser.add_argument("--prepared", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--sidecars", type=Path, nargs="*", default=[])
    parser.add_argument("--scores", type=Path, nargs="*", default=[])
    parser.add_argument("--outdir", type=Path, default=Path())
    args = parser.parse_args(argv)
    args.outdir.mkdir(parents=True, exist_ok=True)
    for name, family in zip(args.id or [""], args.family or ["none"] * max(1, len(args.id)), strict=True):
        STUBS[args.kind](argparse.Namespace(**vars(args) | {"id": name, "family": family}))


if __name__ == "__main__":
    run(main)
