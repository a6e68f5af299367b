"""Steps of a reference in a folder, called in this process: preparation, methods, the saved reference."""

from __future__ import annotations

from pathlib import Path

from helpers_modules import ASSETS, PROJECT, call
from scfm.io.tables import write_json

SCHEMA = PROJECT / "nextflow_schema.json"


def prepare(folder: Path, h5ad: str, params: dict) -> None:
    """Prepare a file of a folder as the data set ``sim``."""
    write_json(folder / "params.json", params)
    call(
        "prepare_dataset",
        dataset="sim",
        datasets=folder / "datasets.json",
        h5ad=folder / h5ad,
        params=folder / "params.json",
        schema=SCHEMA,
        outdir=folder,
    )


def integrated(folder: Path, method: str, params: dict) -> None:
    """Run a method on the reference and the validation gate on its embedding."""
    write_json(folder / "method.json", params)
    common = {"obs": folder / "sim.obs.parquet", "outdir": folder}
    start = {"start": folder / "sim.scvi.raw.0.model"} if method == "scanvi" else {}
    call(
        "integrate_cells",
        method=method,
        dataset="sim",
        prepared=folder / "sim.prepared.h5ad",
        pca=folder / "sim.pca.parquet",
        params=folder / "method.json",
        methods_table=ASSETS / "methods.tsv",
        device="cpu",
        **common,
        **start,
    )
    stem = folder / f"sim.{method}.raw.0"
    unchecked = {"embedding": Path(f"{stem}.unchecked.parquet"), "sidecar": Path(f"{stem}.unchecked.json")}
    call("validate_embedding", **unchecked, **common)


def saved(folder: Path, outdir: Path, methods: tuple[str, ...]) -> Path:
    """Save the reference of a folder with the embeddings of some methods."""
    stems = [folder / f"sim.{method}.raw.0" for method in methods]
    more = {"embeddings": [f"{s}{e}" for s in stems for e in (".parquet", ".json")]} if stems else {}
    more |= {"models": [f"{s}.model" for s in stems]} if stems else {}
    call(
        "save_reference",
        dataset="sim",
        datasets=folder / "datasets.json",
        prepared=folder / "sim.prepared.h5ad",
        obs=folder / "sim.obs.parquet",
        pca=folder / "sim.pca.parquet",
        outdir=outdir,
        **more,
    )
    return outdir / "sim.reference"
