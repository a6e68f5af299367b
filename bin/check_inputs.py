#!/usr/bin/env python3
"""Check parameters, samplesheet and every input file, and print all errors at once."""

from __future__ import annotations

import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from scfm.errors import EXIT_USER
from scfm.inputs.samplesheet import Located
from scfm.io.tables import read_json
from scfm.planning.check import Outcome, check_run, write_outcome
from scfm.planning.environment import require_packages, require_r_packages
from scfm.registries.corrections import load_corrections
from scfm.registries.methods import load_methods
from scfm.registries.models import load_model_table
from scfm.registries.reader import ASSETS
from scfm.registries.weights import load_weights_table
from scfm.task.cli import make_parser, run

log = logging.getLogger("check_inputs")


def main(argv: Sequence[str] | None = None) -> int:
    """Check the inputs and write ``errors.txt``, ``datasets.json``, ``plan.tsv``, ``model_settings.json`` and
    ``input_warnings.json``.
    """
    parser = make_parser(__doc__)
    parser.add_argument("--params", type=Path, required=True, help="JSON file of all Nextflow parameters")
    parser.add_argument("--input", type=Path, required=True, help="samplesheet")
    parser.add_argument(
        "--staged",
        type=Path,
        help="JSON map of path text to local path; without it paths are taken from the samplesheet's folder",
    )
    parser.add_argument(
        "--schema", type=Path, default=ASSETS.parent / "nextflow_schema.json", help="schema of the parameters"
    )
    parser.add_argument(
        "--input_schema", type=Path, default=ASSETS / "schema_input.json", help="schema of the samplesheet"
    )
    parser.add_argument("--methods_table", type=Path, default=ASSETS / "methods.tsv", help="methods table")
    parser.add_argument(
        "--methods_schema", type=Path, help="schema of the methods table (default: the one beside the table)"
    )
    parser.add_argument(
        "--models_assets",
        type=Path,
        help=(
            "folder of models.tsv, weights.tsv, weights_files.tsv and their schemas (default: that of the methods"
            " table)"
        ),
    )
    parser.add_argument(
        "--weights", type=Path, help="JSON map of model to the files in its folder below --weights_dir, or null"
    )
    parser.add_argument("--outdir", type=Path, default=Path(), help="folder to write to")
    parser.add_argument(
        "--own_environment",
        action="store_true",
        help="all steps of the run share this Python environment: check that it has their packages",
    )
    parser.add_argument("--fail", action="store_true", help="print all errors and exit with status 2 if there are any")
    args = parser.parse_args(argv)
    if args.own_environment:
        require_packages({})
    outcome = _check(args)
    write_outcome(outcome, args.outdir)
    log.info(
        "%d data sets, %d embeddings planned, %d errors, %d warnings",
        len(outcome.datasets),
        len(outcome.plan),
        len(outcome.errors),
        len(outcome.warnings),
    )
    if args.fail and outcome.errors:
        for error in outcome.errors:
            print(f"ERROR: {error}", file=sys.stderr)
        return EXIT_USER
    return 0


def _check(args: Namespace) -> Outcome:
    """Check the inputs, and the packages of the planned methods where all steps share one environment."""
    assets = args.models_assets or args.methods_table.parent
    assets = assets if args.models_assets or (assets / "models.tsv").is_file() else ASSETS
    beside, resources = (args.methods_table.with_name(f"{name}.tsv") for name in ("corrections", "resources"))
    methods, models = load_methods(args.methods_table, args.methods_schema), load_model_table(assets / "models.tsv")
    outcome = check_run(
        read_json(args.params),
        schema=read_json(args.schema),
        input_schema=read_json(args.input_schema),
        methods=methods,
        samplesheet=args.input,
        corrections=load_corrections(beside if beside.is_file() else None),
        located=Located(read_json(args.staged) if args.staged else None, args.input.parent),
        model_table=models,
        weights_table=load_weights_table(assets),
        weights=read_json(args.weights) if args.weights else None,
        resources=resources if resources.is_file() else None,
    )
    if args.own_environment:
        planned = {name for row in outcome.plan for name in (row["base_method"], row["model"])}
        used = {m.title: m.packages for m in (*methods.values(), *models.values()) if m.name in planned}
        require_packages(used)
        require_r_packages({m.title: m.r_packages for m in methods.values() if m.name in planned and m.r_packages})
    return outcome


if __name__ == "__main__":
    run(main)
