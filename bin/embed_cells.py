#!/usr/bin/env python3
"""Embed the cells of an .h5ad file with a foundation model: a table by cell id and a JSON sidecar of the same stem."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import make_parser, run


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    from scfm.models import available_models

    parser = make_parser(__doc__)
    parser.add_argument("--model", required=True, metavar="NAME", help=f"one of {', '.join(available_models())}")
    parser.add_argument("--weights", type=Path, required=True, metavar="DIR", help="the model's top folder")
    parser.add_argument("--input", type=Path, required=True, metavar="FILE.h5ad", help="cells x genes, raw counts")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE.parquet", help="embedding table; FILE.json is the sidecar"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute")
    parser.add_argument(
        "--precision",
        choices=["fp32", "bf16"],
        default="fp32",
        help="of the linear layers; norms and softmax are computed in fp32",
    )
    parser.add_argument(
        "--batch_tokens",
        type=int,
        default=None,
        metavar="N",
        help="padded tokens per batch (by device and precision where not given)",
    )
    parser.add_argument("--chunk_cells", type=int, default=1024, metavar="N", help="cells read and tokenised at once")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of random draws and of random weights")
    parser.add_argument(
        "--set",
        action="append",
        nargs="+",
        default=[],
        metavar="key=value",
        help="settings of the model; see docs/models/",
    )
    parser.add_argument(
        "--options", type=Path, metavar="FILE.json", help="settings as a JSON object; those of --set win"
    )
    parser.add_argument(
        "--random_init", action="store_true", help="seeded random weights: the control for what pretraining adds"
    )
    parser.add_argument(
        "--min_gene_overlap",
        type=float,
        default=0.2,
        metavar="X",
        help="smallest share of detected genes the model must know",
    )
    parser.add_argument(
        "--cells", type=Path, metavar="FILE", help="embed only these cell ids, one a line (a shard of the file)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads; PyTorch's own choice where not given")
    parser.add_argument(
        "--dataset", default="", metavar="NAME", help="in the pipeline: also write a status file for this data set"
    )
    parser.add_argument(
        "--method", default="", metavar="NAME", help="method name in the sidecar: the model, or <model>_random"
    )
    parser.add_argument(
        "--on_error",
        choices=["continue", "stop"],
        default="continue",
        help="with --dataset: an error is a result, or stops",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Embed, with the failure policy of the pipeline where a data set is named."""
    from scfm.task.steps import step

    args = parse(argv)
    if not args.dataset:
        embed(args)
        return
    method = args.method or (f"{args.model}_random" if args.random_init else args.model)
    with step(
        "embed",
        dataset=args.dataset,
        embedding=f"{method}.raw.{args.seed}",
        outdir=args.output.parent,
        on_error=args.on_error,
        outputs=(),  # the shard's folder is the output
    ):
        embed(args)


def embed(args: argparse.Namespace) -> None:
    """Run the model over the file."""
    from scfm.models.core.runner import RunOptions
    from scfm.models.core.settings import read_settings, split_pairs
    from scfm.models.output import embed_file

    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    cells = None
    if args.cells:
        from scfm.models.core.shards import read_cells

        cells = read_cells(args.cells)
    settings = read_settings(args.options) | split_pairs(pair for group in args.set for pair in group)
    embed_file(
        args.model,
        args.weights,
        args.input,
        args.output,
        settings=settings,
        options=RunOptions(
            batch_tokens=args.batch_tokens, chunk_cells=args.chunk_cells, min_gene_overlap=args.min_gene_overlap
        ),
        device=args.device,
        precision=args.precision,
        seed=args.seed,
        random_init=args.random_init,
        cells=cells,
        dataset=args.dataset,
        method=args.method,
    )


if __name__ == "__main__":
    run(main)
