#!/usr/bin/env python3
"""Collect what all steps left into the published tables, checked against the plan."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run

log = logging.getLogger("collect_results")


def main(argv: Sequence[str] | None = None) -> None:
    """Write the tables, ``warnings.json``, ``datasets.json``, ``embeddings.json`` and ``verdict.json``."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--plan", type=Path, required=True, help="plan.tsv: the embeddings the run should make")
    parser.add_argument("--datasets", type=Path, required=True, help="datasets.json from the check of the inputs")
    parser.add_argument("--messages", type=Path, help="input_warnings.json from the check of the inputs")
    parser.add_argument("--results", type=Path, nargs="+", required=True, help="files and folders that the steps left")
    parser.add_argument(
        "--metrics_table", type=Path, required=True, help="assets/metrics.tsv, with schema_*.json in the same folder"
    )
    parser.add_argument(
        "--methods_table", type=Path, required=True, help="assets/methods.tsv; models.tsv beside it is read too"
    )
    parser.add_argument("--params", type=Path, required=True, help="parameters of the run (JSON)")
    parser.add_argument("--trace", type=Path, help="Nextflow's execution trace, if it is at hand")
    parser.add_argument("--outdir", type=Path, default=Path("tables"), help="where the tables are written")
    args = parser.parse_args(argv)

    from scfm.io.tables import read_json
    from scfm.report.tables.collect import collect_results

    verdict = collect_results(
        plan=args.plan,
        datasets=args.datasets,
        results=args.results,
        metrics_table=args.metrics_table,
        methods_table=args.methods_table,
        params=read_json(args.params),
        outdir=args.outdir,
        messages=args.messages,
        trace=args.trace,
    )
    log.info("verdict: %s", verdict)


if __name__ == "__main__":
    run(main)
