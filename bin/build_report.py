#!/usr/bin/env python3
"""Build the sections of the report, in the form MultiQC reads, and the summary of the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``*_mqc.json`` and ``scfmbench_order.yml`` into a folder, and the summary."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--tables", type=Path, required=True, help="folder written by collect_results.py")
    parser.add_argument("--plan", type=Path, required=True, help="plan.tsv: the embeddings the run should make")
    parser.add_argument("--plots", type=Path, help="folder with the pictures (*.png)")
    parser.add_argument("--histories", type=Path, help="folder with the loss histories (*.history.csv)")
    parser.add_argument("--params", type=Path, required=True, help="parameters of the run (JSON)")
    parser.add_argument("--schema", type=Path, help="nextflow_schema.json: the defaults of the parameters")
    parser.add_argument("--versions", type=Path, help="versions of the packages by process (YAML or JSON)")
    parser.add_argument(
        "--assets",
        type=Path,
        required=True,
        help="folder with metrics.tsv, methods.tsv, citations.tsv and schema_*.json",
    )
    parser.add_argument("--outdir", type=Path, default=Path("content"), help="where the sections are written")
    parser.add_argument(
        "--summary", type=Path, help="where the summary is written (default: summary.txt beside OUTDIR)"
    )
    args = parser.parse_args(argv)

    from scfm.report.build import build_report
    from scfm.report.summary import run_summary
    from scfm.report.view.data import load_report_data

    data = load_report_data(
        tables=args.tables,
        plan=args.plan,
        assets=args.assets,
        params=args.params,
        versions=args.versions,
        plots=args.plots,
        histories=args.histories,
        schema=args.schema,
    )
    build_report(data, args.outdir)
    summary = args.summary or args.outdir.with_name("summary.txt")
    summary.write_text(run_summary(data))


if __name__ == "__main__":
    run(main)
