"""Stub outputs of downloads, recipes, the check of the inputs and the shards, and the cells of every stub."""

from __future__ import annotations

from argparse import Namespace

from scfm.inputs.params import choose, with_defaults
from scfm.inputs.samplesheet import read_samplesheet, write_samplesheet
from scfm.io.checksums import sha256_of
from scfm.io.tables import read_json, write_json, write_table
from scfm.planning.groups import assign_groups, slow_methods, widths
from scfm.planning.instances import with_instances
from scfm.planning.models import PlannedModel, choose_models
from scfm.planning.plan import plan_rows, plan_text
from scfm.registries.corrections import load_corrections
from scfm.registries.methods import load_methods
from scfm.registries.models import load_model_table

CELLS = ["cell_a", "cell_b", "cell_c", "cell_d"]


BATCHES = ["b1", "b1", "b2", "b2"]


LABELS = ["T", "B", "T", "B"]


def stub_resolve_inputs(args: Namespace) -> None:
    """One download and one recipe for every row that names a scenario; the others as they are."""
    rows = read_samplesheet(args.input)
    asked = [row for row in rows if row.get("h5ad", "").startswith("scenario:")]
    builds = [
        {
            "dataset": row["dataset"],
            "recipe": f"scenarios/{row['h5ad'].partition(':')[2]}.yml",
            "sources": [{"name": "all", "key": "stub"}],
            "tables": [],
        }
        for row in asked
    ]
    for row in asked:
        row.update(h5ad=f"{row['dataset']}.recipe.h5ad", batch_key="batch", label_key="label")
    (args.outdir / "resolved").mkdir()
    write_samplesheet(args.outdir / "resolved" / args.input.name, rows)
    (args.outdir / "errors.txt").write_text("")
    write_json(
        args.outdir / "sources.json",
        [{"key": "stub", "kind": "url", "url": "https://example.org/stub.h5ad"}] if asked else [],
    )
    write_json(args.outdir / "builds.json", builds)


def stub_design(args: Namespace) -> None:
    """The relation of the batch to a condition that is not declared."""
    from scfm.design.confounding import Pair
    from scfm.design.limits import DesignLimits
    from scfm.design.rows import design_table, pair_rows

    pair = Pair("batch", "condition", "not_declared")
    write_table(
        design_table(args.dataset, pair_rows([pair], DesignLimits())), args.outdir / f"{args.dataset}.design.tsv"
    )
    facts = {"dataset": args.dataset, "keys": {}, "paired": "", "pairs": [pair.facts()], "de": {}, "warnings": []}
    write_json(args.outdir / f"{args.dataset}.design.json", facts)
    about = {"dataset": args.dataset, "embedding": "", "step": "design"}
    write_json(
        args.outdir / f"{args.dataset}.design.status.json", {**about, "status": "ok", "reason": "", "reason_code": ""}
    )


def stub_check_inputs(args: Namespace) -> None:
    """The plan that the parameters ask for, of every data set of the samplesheet; no file is looked at."""
    rows: list[dict] = [dict(row) for row in read_samplesheet(args.input)]
    schema = read_json(args.assets / "nextflow_schema.json")
    params, staged = with_defaults(read_json(args.params), schema), read_json(args.staged)
    methods, table = load_methods(args.assets / "methods.tsv"), load_model_table(args.assets / "models.tsv")
    choice, errors = choose(params, methods, load_corrections(args.assets / "corrections.tsv"))
    choice, wrong = with_instances(choice, params, staged, schema=schema, methods=methods)
    models, more = choose_models(params, table, {}, {})
    planned = [PlannedModel(table[name], {}, with_random=models.random_init) for name in models.chosen]
    plan = [entry for row in rows for entry in plan_rows(row["dataset"], choice, methods, [], planned)]
    for row in rows:
        assign_groups(
            [entry for entry in plan if entry["dataset"] == row["dataset"]],
            n_cells=len(CELLS),
            dims=widths(methods, planned, n_pcs=params["n_pcs"]),
            slow=slow_methods(methods, planned),
            size=params["group_size"],
        )
    for row in rows:
        row.update(embeddings={}, n_cells=len(CELLS), n_genes=2, counts_source="X")
    (args.outdir / "plan.tsv").write_text(plan_text(plan))
    (args.outdir / "errors.txt").write_text("".join(f"{error}\n" for error in [*errors, *wrong, *more]))
    write_json(args.outdir / "datasets.json", rows)
    write_json(args.outdir / "input_warnings.json", [])
    write_json(args.outdir / "model_settings.json", {})


def stub_shards(args: Namespace) -> None:
    """One shard with all cells."""
    (args.outdir / "shard_000.txt").write_text("".join(f"{cell}\n" for cell in CELLS))


def stub_fetch(args: Namespace) -> None:
    """A file of the key's name, an h5ad of four cells or a table, and its record."""
    target = args.outdir / args.output
    if target.suffix == ".h5ad":
        import anndata as ad
        import numpy as np

        ad.AnnData(np.ones((4, 2), dtype=np.float32)).write_h5ad(target)
    else:
        target.write_text("a,b\n1,2\n")
    write_json(
        args.outdir / f"{args.id}.source.json",
        {
            "key": args.id,
            "kind": "url",
            "api": "",
            "url": "",
            "collection_id": "",
            "dataset_id": "",
            "dataset_version_id": "",
            "title": "stub",
            "cell_count": 4,
            "organisms": [],
            "citation": "",
            "schema_version": "",
            "filesize": target.stat().st_size,
            "sha256": sha256_of(target),
            "retrieved": "2000-01-01T00:00:00+00:00",
        },
    )


def stub_recipe(args: Namespace) -> None:
    """The four cells as a recipe would leave them, and its report."""
    import anndata as ad
    import numpy as np
    import pandas as pd

    name = args.dataset
    obs = pd.DataFrame({"batch": BATCHES, "label": LABELS}, index=CELLS, dtype="category")
    ad.AnnData(np.ones((4, 2), dtype=np.float32), obs=obs).write_h5ad(args.outdir / f"{name}.recipe.h5ad")
    write_json(
        args.outdir / f"{name}.recipe.json",
        {
            "dataset": name,
            "recipe": "stub",
            "description": "",
            "sources": [],
            "tables": [],
            "filters": [],
            "labels": None,
            "n_cells": 4,
            "n_genes": 2,
            "dropped_columns": [],
            "warnings": [],
        },
    )


def stub_common_cells(args: Namespace) -> None:
    """The four cells, for a further scoring pass of all embeddings."""
    import pandas as pd

    names = [read_json(path)["embedding"] for path in args.sidecars]
    write_table(pd.DataFrame({"cell_id": CELLS}), args.outdir / f"{args.dataset}.{args.scoring_pass}_cells.parquet")
    facts = {
        "dataset": args.dataset,
        "n_scored": 4,
        "n_common": 4,
        "differ": True,
        "ranked": names,
        "embeddings": names,
    }
    write_json(args.outdir / f"{args.dataset}.{args.scoring_pass}.json", facts)
