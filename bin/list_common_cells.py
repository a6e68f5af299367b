#!/usr/bin/env python3
"""List the cells of a further scoring pass: those that all embeddings which it ranks have."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run

log = logging.getLogger("list_common_cells")


def main(argv: Sequence[str] | None = None) -> None:
    """Write ``<dataset>.<pass>.json`` and ``<dataset>.<pass>_cells.parquet``, of 0 bytes where none is needed."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--dataset", required=True, help="name of the data set")
    parser.add_argument("--embeddings", type=Path, nargs="+", required=True, help="embedding tables <id>.parquet")
    parser.add_argument("--sidecars", type=Path, nargs="+", required=True, help="their sidecars <id>.json")
    parser.add_argument(
        "--kind",
        choices=["common", "held_out"],
        default="common",
        help="scored cells that all have, or of the held-out",
    )
    parser.add_argument("--obs", type=Path, required=True, help="<dataset>.obs.parquet")
    parser.add_argument("--methods_table", type=Path, required=True, help="assets/methods.tsv")
    parser.add_argument("--corrections_table", type=Path, required=True, help="assets/corrections.tsv")
    parser.add_argument(
        "--min_coverage", type=float, default=0.9, help="smallest share of the scored cells to be ranked"
    )
    parser.add_argument("--outdir", type=Path, default=Path(), help="folder to write to")
    args = parser.parse_args(argv)

    import pandas as pd

    from scfm.embeddings.sidecar import pair_files
    from scfm.io.tables import CELL_ID, write_json, write_table
    from scfm.metrics.common_cells import HELD_OUT, find_common_cells
    from scfm.registries.corrections import load_corrections
    from scfm.registries.methods import load_methods

    methods = load_methods(args.methods_table).values()
    readers = {m.name for m in methods if m.needs_labels and not (m.holds_out and args.kind == HELD_OUT)}
    readers |= {c.name for c in load_corrections(args.corrections_table).values() if c.needs_labels}
    tables = pair_files(args.embeddings, args.sidecars)
    chosen = {"kind": args.kind, "label_readers": readers, "min_coverage": args.min_coverage}
    found = find_common_cells(tables, args.obs, **chosen)
    listed = args.outdir / f"{args.dataset}.{args.kind}_cells.parquet"
    if found.embeddings:
        write_table(pd.DataFrame({CELL_ID: found.cells}), listed)
    else:
        listed.write_bytes(b"")
    write_json(args.outdir / f"{args.dataset}.{args.kind}.json", found.facts(args.dataset))
    log.info(
        "%s: %d of %d cells are in all %d ranked embeddings",
        args.kind,
        len(found.cells),
        found.n_scored,
        len(found.ranked),
    )


if __name__ == "__main__":
    run(main)
