#!/usr/bin/env python3
"""Make small checkpoints with random weights, in the official on-disk formats, for any list of genes: for demos, tests
and benchmarks.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Write the folders."""
    from scfm.errors import ScfmError
    from scfm.models import available_models
    from scfm.text import split_list

    parser = make_parser(__doc__)
    parser.add_argument(
        "--model",
        required=True,
        metavar="NAMES",
        help=f"one or more, with commas, or all: {', '.join(available_models())}",
    )
    parser.add_argument(
        "--genes",
        type=Path,
        required=True,
        metavar="FILE",
        help="one gene a line, or symbol<TAB>ensembl_id; symbols without an id get an invented one",
    )
    parser.add_argument(
        "--dest",
        type=Path,
        required=True,
        metavar="DIR",
        help="each model gets a folder DIR/<model>: what --weights_dir of the pipeline expects",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the weights")
    parser.add_argument(
        "--release", default="", metavar="NAME", help="file release of the model, the usual one where not given"
    )
    parser.add_argument(
        "--official_sizes",
        action="store_true",
        help="sizes of the released model (gigabytes for some) instead of tiny ones",
    )
    for key, what in (
        ("width", "hidden size"),
        ("heads", "attention heads"),
        ("layers", "layers"),
        ("inner", "feed-forward width"),
        ("max_length", "positions"),
    ):
        parser.add_argument(f"--{key}", type=int, default=None, metavar="N", help=what)
    args = parser.parse_args(argv)

    from scfm.testing.tiny import make_tiny
    from scfm.testing.tiny_common import read_genes

    genes = read_genes(args.genes)
    names = available_models() if args.model == "all" else split_list(args.model)
    if args.release and len(names) != 1:
        raise ScfmError("--release is for one --model at a time: the releases of the models have different names.")
    sizes = {key: getattr(args, key) for key in ("width", "heads", "layers", "inner", "max_length")}
    for name in names:
        folder = make_tiny(
            name, genes, args.dest / name, seed=args.seed, release=args.release, official=args.official_sizes, **sizes
        )
        logging.getLogger("make_tiny_weights").info("%s: random weights for %d genes", folder, len(genes))


if __name__ == "__main__":
    run(main)
