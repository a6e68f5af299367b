"""Small AnnData files with every storage and every error, made on the fly."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scfm.inputs.params import with_defaults
from scfm.inputs.samplesheet import Located
from scfm.planning.check import Outcome, check_run
from scfm.registries.methods import load_methods

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "nextflow_schema.json").read_text())
INPUT_SCHEMA = json.loads((ROOT / "assets" / "schema_input.json").read_text())
SHARED = ROOT.parent / "shared" / "data"


def make_counts(n_cells: int = 60, n_genes: int = 40, seed: int = 0) -> np.ndarray:
    """Return dense negative binomial counts with zeros; some above the log limit of 25, every gene in two cells at
    least.
    """
    rng = np.random.default_rng(seed)
    mean = rng.gamma(1.0, 4.0, n_genes)
    counts = rng.poisson(rng.gamma(2.0, 0.5, (n_cells, n_genes)) * mean)
    counts[0, 0] = 60
    counts[[1, 2]] += 1
    return counts.astype(np.float32)


def make_adata(
    counts: np.ndarray | None = None, *, storage: str = "csr", dtype: str = "float32", seed: int = 0
) -> ad.AnnData:
    """Return a valid object: 3 batches, 3 labels, donor and time, symbols as var index."""
    counts = make_counts(seed=seed) if counts is None else counts
    n_cells, n_genes = counts.shape
    matrix = counts.astype(dtype)
    matrix = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}[storage](matrix)
    number = np.arange(n_cells)
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical([f"b{i % 3}" for i in number]),
            "cell_type": [f"t{i // 3 % 3}" for i in number],
            "donor": [f"d{i % 2}" for i in number],
            "time": number // 2 % 3,
            "covariate": np.linspace(0, 1, n_cells),
        },
        index=[f"cell{i:03d}" for i in number],
    )
    return ad.AnnData(matrix, obs=obs, var=pd.DataFrame(index=[f"ABC{i}" for i in range(n_genes)]))


def write(data: ad.AnnData, path: Path) -> Path:
    """Write h5ad or zarr by the ending."""
    if path.suffix == ".zarr":
        data.write_zarr(path)
    else:
        data.write_h5ad(path)
    return path


def write_sheet(folder: Path, rows: list[dict], name: str = "samplesheet.csv") -> Path:
    """Write a samplesheet with the columns of all rows."""
    path = folder / name
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def check(folder: Path, rows: list[dict], **params: object) -> Outcome:
    """Check a samplesheet; paths are relative to the folder."""
    sheet = write_sheet(folder, rows)
    return check_run(
        {"input": str(sheet), "outdir": "results", **params},
        schema=SCHEMA,
        input_schema=INPUT_SCHEMA,
        methods=load_methods(),
        samplesheet=sheet,
        located=Located(None, folder),
    )


def check_one(
    folder: Path, data: ad.AnnData, *, file: str = "d.h5ad", row: dict | None = None, **params: object
) -> Outcome:
    """Write one object and check it."""
    write(data, folder / file)
    return check(
        folder,
        [{"dataset": "d", "h5ad": file, "batch_key": "batch", "label_key": "cell_type", **(row or {})}],
        **params,
    )


def defaults(**params: object) -> dict:
    """Return all parameters with their defaults, some replaced."""
    return with_defaults(params, SCHEMA)


def assert_says(sentences: list[str], *parts: str) -> str:
    """Return the one sentence that holds all parts; fail with all sentences if there is none or more than one."""
    found = [s for s in sentences if all(p in s for p in parts)]
    assert len(found) == 1, f"{len(found)} sentences with {parts} among:\n" + "\n".join(sentences)
    return found[0]
