#!/usr/bin/env python3
"""Choose the embeddings of a data set that are diagnosed: the uncorrected one, the best by total, and named ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scfm.io.tables import read_json, write_json
from scfm.task.cli import make_parser, run

log = logging.getLogger("choose_embeddings")


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``<dataset>.chosen.json``."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--dataset", required=True, help="name of the data set")
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="its tables <id>.scores.tsv")
    parser.add_argument("--datasets", type=Path, required=True, help="datasets.json of CHECK_INPUTS")
    parser.add_argument("--metrics_table", type=Path, required=True, help="assets/metrics.tsv")
    parser.add_argument("--methods_table", type=Path, required=True, help="assets/methods.tsv")
    parser.add_argument("--models_table", type=Path, required=True, help="assets/models.tsv")
    parser.add_argument("--corrections_table", type=Path, required=True, help="assets/corrections.tsv")
    parser.add_argument("--params", type=Path, required=True, help="JSON with diagnose, metrics_profile, total_weights")
    parser.add_argument("--outdir", type=Path, default=Path(), help="folder to write to")
    args = parser.parse_args(argv)

    import pandas as pd

    from scfm.diagnosis.choose import choose_embeddings
    from scfm.io.tables import read_table
    from scfm.metrics.registry import load_metrics
    from scfm.registries.corrections import load_corrections
    from scfm.registries.methods import load_methods
    from scfm.registries.models import load_model_table
    from scfm.text import split_list

    params = read_json(args.params)
    roles = {row["dataset"]: str(row.get("batch_role") or "") for row in read_json(args.datasets)}
    never = {m.name for m in load_methods(args.methods_table).values() if m.needs_labels or m.is_control}
    never |= {c.name for c in load_corrections(args.corrections_table).values() if c.needs_labels}
    never |= {f"{name}_random" for name in load_model_table(args.models_table)}
    chosen = choose_embeddings(
        pd.concat([read_table(path) for path in sorted(args.scores)], ignore_index=True),
        load_metrics(args.metrics_table),
        profile=params["metrics_profile"],
        bio_weight=float(split_list(params["total_weights"])[0]),
        wanted=params.get("diagnose"),
        never_best=never,
        batch_role=roles.get(args.dataset, ""),
    )
    write_json(args.outdir / f"{args.dataset}.chosen.json", chosen)
    for name, why in chosen["reasons"].items():
        log.info("%s: %s", name, why)


if __name__ == "__main__":
    run(main)
