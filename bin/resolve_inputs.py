#!/usr/bin/env python3
"""Find out what must be downloaded and built: scenarios, CELLxGENE ids, addresses and recipes of a samplesheet."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scfm.inputs.samplesheet import Located
from scfm.io.tables import read_json
from scfm.registries.corrections import load_corrections
from scfm.registries.datasets import load_catalogue
from scfm.registries.methods import load_methods
from scfm.registries.reader import ASSETS
from scfm.study.resolve import Known, resolve_run, write_resolved
from scfm.task.cli import make_parser, run

log = logging.getLogger("resolve_inputs")


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``errors.txt``, ``resolved/<samplesheet>``, ``sources.json`` and ``builds.json``."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--input", type=Path, required=True, help="samplesheet")
    parser.add_argument("--params", type=Path, required=True, help="JSON file of all Nextflow parameters")
    parser.add_argument(
        "--staged",
        type=Path,
        help="JSON map of path text to local path; without it paths are taken from the samplesheet's folder",
    )
    parser.add_argument(
        "--schema", type=Path, default=ASSETS.parent / "nextflow_schema.json", help="schema of the parameters"
    )
    parser.add_argument(
        "--assets",
        type=Path,
        default=ASSETS,
        help="folder of datasets.tsv, methods.tsv, corrections.tsv and their schemas",
    )
    parser.add_argument("--scenarios", type=Path, default=ASSETS / "recipes", help="folder of the scenarios' recipes")
    parser.add_argument("--outdir", type=Path, default=Path(), help="folder to write to")
    args = parser.parse_args(argv)

    params = read_json(args.params)
    known = Known(
        load_catalogue(args.assets / "datasets.tsv"),
        args.scenarios,
        Located(read_json(args.staged) if args.staged else None, args.input.parent),
        params.get("ortholog_table") or "",
    )
    resolved = resolve_run(
        params,
        schema=read_json(args.schema),
        input_schema=read_json(args.assets / "schema_input.json"),
        methods=load_methods(args.assets / "methods.tsv"),
        corrections=load_corrections(args.assets / "corrections.tsv"),
        samplesheet=args.input,
        known=known,
    )
    write_resolved(resolved, args.outdir, args.input.name)
    log.info(
        "%d to download, %d to build, %d errors", len(resolved.sources), len(resolved.builds), len(resolved.errors)
    )


if __name__ == "__main__":
    run(main)
