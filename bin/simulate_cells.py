#!/usr/bin/env python3
"""Simulate single-cell counts of a design with a planted truth, and write them as h5ad (docs/simulator.md)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write the simulated h5ad."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--output", type=Path, required=True, help="h5ad file to write")
    parser.add_argument("--design", type=Path, help="JSON file with the fields of docs/simulator.md")
    parser.add_argument("--n_cells", type=int, help="cells; overrides the design")
    parser.add_argument("--n_genes", type=int, help="genes; overrides the design")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice, 0 or more")
    parser.add_argument("--chunk_cells", type=int, default=4096, help="cells drawn at once; changes no count")
    args = parser.parse_args(argv)

    from scfm.io.tables import read_json
    from scfm.simulation.counts import write_h5ad
    from scfm.simulation.design import design_of
    from scfm.simulation.truth import draw_truth

    given = read_json(args.design) if args.design else {}
    sizes = {name: getattr(args, name) for name in ("n_cells", "n_genes") if getattr(args, name) is not None}
    truth = draw_truth(design_of(given, **sizes), args.seed)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_h5ad(truth, args.output, args.chunk_cells)
    logging.getLogger("simulate_cells").info("%s: %d cells x %d genes", args.output, len(truth.obs), len(truth.base))


if __name__ == "__main__":
    run(main)
