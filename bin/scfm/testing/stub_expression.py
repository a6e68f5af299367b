"""Tiny outputs of comparisons, evidence and queries, in the formats of ``docs/architecture.md``."""

from __future__ import annotations

from argparse import Namespace

from scfm.io.tables import write_table
from scfm.task.steps import step


def stub_compared(args: Namespace) -> None:
    """One label whose comparison is not defined."""
    from scfm.errors import NotApplicable
    from scfm.expression.rows import PSEUDOBULK, refused
    from scfm.expression.tables import comparison_table, top_genes

    (args.outdir / f"{args.dataset}.de").mkdir(exist_ok=True)
    with step("de", dataset=args.dataset, embedding="", outdir=args.outdir):
        reason = NotApplicable("Stub run: nothing was computed.", "few_replicates")
        result = refused("T", "c1", "c0", PSEUDOBULK, reason)
        keys = {"dataset": args.dataset, "batch_key": "batch", "label_key": "label"}
        write_table(comparison_table([result], keys, {}), args.outdir / f"{args.dataset}.de.tsv")
        write_table(top_genes([result], keys, 1), args.outdir / f"{args.dataset}.de_genes.tsv")


def stub_evidence(args: Namespace) -> None:
    """Evidence that is not defined."""
    from scfm.errors import NotApplicable
    from scfm.orthogonal.evidence import undefined
    from scfm.orthogonal.table import evidence_table

    with step("orthogonal", dataset=args.dataset, embedding="", outdir=args.outdir):
        row = undefined("gene_sets", NotApplicable("Stub run: nothing was computed.", "no_targets"))
        keys = {"dataset": args.dataset, "batch_key": "batch", "label_key": "label"}
        write_table(evidence_table([row], keys), args.outdir / f"{args.dataset}.orthogonal.tsv")


def stub_query(args: Namespace) -> None:
    """A mapping that was not run."""
    import pandas as pd

    (args.outdir / f"{args.dataset}.query").mkdir(exist_ok=True)
    with step("query", dataset=args.dataset, embedding="", outdir=args.outdir):
        row = {"dataset": args.dataset, "batch_key": "batch", "label_key": "label", "query": "stub.h5ad"}
        row |= {"mapping": "harmony", "group_kind": "all", "group": "all", "quantity": "macro_f1", "value": None}
        row |= {"n_cells": 4, "status": "not_applicable", "reason": "not_run"}
        write_table(pd.DataFrame([row]), args.outdir / f"{args.dataset}.query.tsv")


def stub_reference(args: Namespace) -> None:
    """A reference that offers the projection, without its files."""
    from scfm.io.tables import write_json

    folder = args.outdir / f"{args.dataset}.reference"
    folder.mkdir(exist_ok=True)
    with step("reference", dataset=args.dataset, embedding="", outdir=args.outdir):
        write_json(folder / "reference.json", {"dataset": args.dataset, "mappings": {"pca": {}, "scvi": {}}})


def stub_placed(args: Namespace) -> None:
    """Two new cells placed by a model."""
    from scfm.io.tables import write_embedding, write_json

    with step(f"query_{args.mapping}", dataset=args.dataset, embedding="", outdir=args.outdir, outputs=()):
        stem = args.outdir / f"{args.dataset}.{args.mapping}"
        for name in ("placed", "before"):
            write_embedding(f"{stem}.{name}.parquet", ["n1", "n2"], [[0.0, 1.0], [1.0, 0.0]])
        write_json(f"{stem}.placed.json", {"seconds": 0.0, "epochs": 1})
