"""Write ``tests/data/modules``: small real inputs of every module, by the executables themselves.

Run it again when a format changes: ``python tests/python/make_module_inputs.py``. ``test_modules.py`` checks that the
folder holds what this script writes. With a folder and a number of cores it writes there, every step with these cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "bin")]

import helpers_modules  # noqa: E402
from helpers_modules import ASSETS, INPUTS, MODEL_STEM, PROJECT, STEM, diagnosed, of_embedding, results_of  # noqa: E402

#: cores that a step is given, as ``task.cpus`` in the pipeline
CPUS = {"number": 1}

#: parameters of the run the files belong to; all others have their defaults
PARAMS = {
    "methods": "harmony",
    "controls": "none",
    "models": "sccello",
    "corrections": "center_l2",
    "random_init": False,
    "seeds": "0",
    "n_hvg": 100,
    "n_pcs": 10,
    "probe_folds": 3,
    "min_cells_per_batch": 10,
    "model_options": None,
}
BATCHES, LABELS, GENES = ["batch_1", "batch_2"], ["CD4 T", "Dendritic", "Monocyte"], 200


def call(executable: str, **options: object) -> None:
    """Run an executable, with the cores in its own option where it has one, else on one core."""
    from threadpoolctl import threadpool_limits

    text = (PROJECT / "bin" / f"{executable}.py").read_text()
    cores = {name: CPUS["number"] for name in ("cpus", "threads") if f'"--{name}"' in text}
    with threadpool_limits(max(cores.values(), default=1)):
        helpers_modules.call(executable, **options, **cores)


def write_source(folder: Path) -> None:
    """Write ``tiny.h5ad`` (two batches, three labels of the demo, an embedding of its own), samplesheet, parameters."""
    import anndata as ad
    import numpy as np
    import pandas as pd

    from scfm.inputs.params import with_defaults
    from scfm.io.tables import read_json, write_json

    demo = ad.read_h5ad(PROJECT / "tests" / "data" / "demo.h5ad")
    wanted = demo.obs["batch"].isin(BATCHES) & demo.obs["cell_type"].isin(LABELS)
    groups = demo.obs[wanted].groupby(["batch", "cell_type"], observed=True)
    cells = pd.Index(sorted(groups.head(30).index))
    genes = np.sort(np.argsort(-np.asarray(demo.X.sum(axis=0)).ravel(), kind="stable")[:GENES])
    data = demo[cells, genes].copy()
    data.uns.clear()
    data.obs = data.obs[["batch", "cell_type", "donor"]].astype(str)
    data.var = data.var[["ensembl_id"]]
    data.obsm["X_mine"] = np.random.default_rng(0).normal(size=(data.n_obs, 5)).astype(np.float32)
    data.write_h5ad(folder / "tiny.h5ad", compression="gzip")
    (folder / "samplesheet.csv").write_text(
        "dataset,h5ad,batch_key,label_key,organism,batch_role,embeddings\n"
        "tiny,tiny.h5ad,batch,cell_type,human,technical,mine=obsm:X_mine\n"
    )
    schema = read_json(PROJECT / "nextflow_schema.json")
    write_json(folder / "params.json", with_defaults(PARAMS | {"input": "samplesheet.csv"}, schema))


def write_weights(folder: Path) -> None:
    """Write a tiny scCello for the genes of ``tiny.h5ad``, and the list of its files that the check is given."""
    import anndata as ad

    from scfm.io.tables import write_json

    var = ad.read_h5ad(folder / "tiny.h5ad", backed="r").var
    genes = folder / "genes.tsv"
    genes.write_text("".join(f"{a}\t{b}\n" for a, b in zip(var.index, var["ensembl_id"], strict=True)))
    call("make_tiny_weights", model="sccello", genes=genes, dest=folder / "weights")
    files = sorted(p for p in (folder / "weights" / "sccello").rglob("*") if p.is_file())
    names = [str(path.relative_to(folder / "weights" / "sccello")) for path in files]
    write_json(folder / "weights.json", {"sccello": names})


def write_data(folder: Path) -> None:
    """Check and prepare the data set, and describe its design."""
    call(
        "check_inputs",
        params=folder / "params.json",
        input=folder / "samplesheet.csv",
        weights=folder / "weights.json",
        outdir=folder,
    )
    errors = (folder / "errors.txt").read_text()
    if errors:
        raise SystemExit(f"The small inputs have errors:\n{errors}")
    call(
        "prepare_dataset",
        dataset="tiny",
        datasets=folder / "datasets.json",
        h5ad=folder / "tiny.h5ad",
        params=folder / "params.json",
        outdir=folder,
    )
    call(
        "describe_design",
        dataset="tiny",
        datasets=folder / "datasets.json",
        prepared=folder / "tiny.prepared.h5ad",
        obs=folder / "tiny.obs.parquet",
        pca=folder / "tiny.pca.parquet",
        params=folder / "params.json",
        outdir=folder,
    )


def write_embeddings(folder: Path) -> None:
    """Integrate with Harmony, embed with scCello in two shards, and pass both through the validation gate."""
    from scfm.io.tables import read_json, write_json

    params = folder / "params.json"
    obs = folder / "tiny.obs.parquet"
    call(
        "integrate_cells",
        method="harmony",
        dataset="tiny",
        prepared=folder / "tiny.prepared.h5ad",
        obs=obs,
        pca=folder / "tiny.pca.parquet",
        params=params,
        methods_table=ASSETS / "methods.tsv",
        outdir=folder,
    )
    call("split_cells", obs=obs, shard_cells=100, outdir=folder / "cells")
    write_json(folder / "options.json", read_json(folder / "model_settings.json")["tiny"]["sccello"])
    for cells in sorted((folder / "cells").glob("*.txt")):
        shard = folder / "shards" / cells.stem
        shard.mkdir(parents=True)
        call(
            "embed_cells",
            model="sccello",
            method="sccello",
            dataset="tiny",
            weights=folder / "weights" / "sccello",
            input=folder / "tiny.prepared.h5ad",
            cells=cells,
            options=folder / "options.json",
            device="cpu",
            output=shard / "embedding.parquet",
        )
    shards = folder / "shards"
    call(
        "merge_shards",
        id=MODEL_STEM,
        parts=sorted(shards.glob("*/embedding.parquet")),
        sidecars=sorted(shards.glob("*/embedding.json")),
        statuses=sorted(shards.glob("*/*.status.json")),
        obs=obs,
        outdir=folder,
    )
    for stem in (STEM, MODEL_STEM):
        unchecked = {"embedding": folder / f"{stem}.unchecked.parquet", "sidecar": folder / f"{stem}.unchecked.json"}
        call("validate_embedding", **unchecked, obs=obs, outdir=folder)


def write_results(folder: Path, *, skip_umap: bool) -> None:
    """Find neighbours of Harmony's embedding, score, probe, draw and diagnose it; collect, and write the sections."""
    params = folder / "params.json"
    given = of_embedding(folder)
    call("find_neighbors", **given, outdir=folder)
    call("score_embedding", **of_embedding(folder, "knn"), pca=folder / "tiny.pca.parquet", outdir=folder)
    call("probe_embedding", **given, splits=folder / "tiny.splits.parquet", params=params, outdir=folder)
    if not skip_umap:
        call("draw_umaps", **of_embedding(folder, "knn"), params=params, outdir=folder)
    call("diagnose_embedding", **diagnosed(folder), params=params, outdir=folder)
    call(
        "collect_results",
        plan=folder / "plan.tsv",
        datasets=folder / "datasets.json",
        messages=folder / "input_warnings.json",
        results=results_of(folder),
        metrics_table=ASSETS / "metrics.tsv",
        methods_table=ASSETS / "methods.tsv",
        params=params,
        outdir=folder / "tables",
    )
    (folder / "versions.yml").write_text('HARMONY:\n  harmonypy: "0"\n')
    call(
        "build_report",
        tables=folder / "tables",
        plan=folder / "plan.tsv",
        params=params,
        versions=folder / "versions.yml",
        assets=ASSETS,
        outdir=folder / "content",
        summary=folder / "summary.txt",
    )
    (folder / "summary.txt").unlink()


def make(folder: Path, *, skip_umap: bool = False) -> None:
    """Write everything into an empty folder; UMAP compiles for longer than all other steps take."""
    folder.mkdir(parents=True)
    for write in (write_source, write_weights, write_data, write_embeddings):
        write(folder)
    write_results(folder, skip_umap=skip_umap)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=INPUTS, help="folder to write anew")
    parser.add_argument("--cpus", type=int, default=1, help="cores of every step")
    parser.add_argument("--skip_umap", action="store_true", help="draw no UMAP")
    args = parser.parse_args()
    CPUS["number"] = args.cpus
    shutil.rmtree(args.folder, ignore_errors=True)
    make(args.folder, skip_umap=args.skip_umap)
