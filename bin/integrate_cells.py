#!/usr/bin/env python3
"""Integrate the cells of a data set with one method (or control) of the methods table."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from scfm.task.cli import add_step_arguments, make_parser, run
from scfm.task.resources import limit_threads


def main(argv: Sequence[str] | None = None) -> int:
    """Run one method with one seed and write its embedding for the validation gate."""
    parser = make_parser(__doc__)
    parser.add_argument("--method", required=True, help="name in the methods table")
    parser.add_argument("--name", help="name of a configured instance (<method>-<label>); by default the method's own")
    parser.add_argument("--dataset", required=True, help="name of the data set")
    parser.add_argument("--obs", required=True, type=Path, help="<dataset>.obs.parquet")
    parser.add_argument("--pca", type=Path, help="<dataset>.pca.parquet, for methods that read it")
    parser.add_argument("--prepared", type=Path, help="<dataset>.prepared.h5ad, for methods that read it")
    parser.add_argument("--seed", type=int, default=0, help="seed of the method")
    parser.add_argument("--params", required=True, type=Path, help="JSON with the parameters of the run")
    parser.add_argument("--methods_table", required=True, type=Path, help="assets/methods.tsv")
    parser.add_argument("--cpus", type=int, default=1, help="threads to use")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where models are trained")
    parser.add_argument(
        "--start", type=Path, help="<id>.model of the method that this one continues, if it was trained"
    )
    add_step_arguments(parser)
    args = parser.parse_args(argv)
    limit_threads(args.cpus, blas=1)

    from scfm.integration.base import MethodInputs
    from scfm.integration.run import run_method
    from scfm.io.tables import read_json
    from scfm.registries.methods import get_method
    from scfm.task.steps import step

    method = get_method(args.method, args.methods_table)
    params = read_json(args.params)
    name = args.name or args.method
    embedding = f"{name}.raw.{args.seed}"
    args.outdir.mkdir(parents=True, exist_ok=True)
    with (
        step("embed", dataset=args.dataset, embedding=embedding, outdir=args.outdir, on_error=args.on_error),
        tempfile.TemporaryDirectory(dir=args.outdir) as work,
    ):
        inputs = MethodInputs(
            dataset=args.dataset,
            obs_path=args.obs,
            workdir=Path(work),
            pca_path=args.pca,
            prepared_path=args.prepared if "prepared" in method.reads else None,
            cpus=args.cpus,
            device=args.device,
            hides_labels=method.holds_out,
            start=args.start,
        )
        run_method(method, inputs, params, args.seed, args.outdir, name=name)
    return 0


if __name__ == "__main__":
    run(main)
