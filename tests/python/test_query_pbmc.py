"""Real cells: a batch held out and mapped, against the integration of all cells."""

from __future__ import annotations

from pathlib import Path

import anndata
import pytest
from sklearn.metrics import f1_score

from helpers_modules import PROJECT, call
from helpers_query import integrated, prepare, saved
from scfm.io.tables import read_embedding, read_table, write_json
from scfm.query.transfer import transfer

PBMC = PROJECT.parent / "shared" / "data" / "pbmc_3tech.h5ad"
PARAMS = {"n_hvg": 2000, "n_pcs": 50, "min_genes_per_cell": 0, "min_cells_per_gene": 0, "min_cells_per_batch": 1}
#: cells of a type that is scored
COMMON = 20

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PBMC.exists(), reason="../shared/data is not there")]


def made(folder: Path, cells: anndata.AnnData) -> Path:
    """Prepare cells and run Harmony on them."""
    folder.mkdir()
    cells.write_h5ad(folder / "cells.h5ad")
    row = {"dataset": "sim", "h5ad": "cells.h5ad", "batch_key": "batch", "label_key": "cell_type", "organism": ""}
    row |= {"query": "new.h5ad", "counts_source": "X", "embeddings": {}}
    write_json(folder / "datasets.json", [row | {"n_cells": cells.n_obs, "n_genes": cells.n_vars}])
    prepare(folder, "cells.h5ad", PARAMS)
    integrated(folder, "harmony", PARAMS)
    return folder


def test_the_held_out_batch_is_mapped_as_well_as_it_is_integrated(tmp_path: Path) -> None:
    """Macro-F1 of common types of the 5' batch; votes of the two 3' batches in an integration of all three."""
    cells = anndata.read_h5ad(PBMC)
    is_new = cells.obs["batch"] == "5p"
    true = cells.obs.loc[is_new, "cell_type"].astype(str)
    common = sorted(true.value_counts().loc[lambda n: n >= COMMON].index)
    assert len(common) == 6
    ids, values = read_embedding(made(tmp_path / "all", cells) / "sim.harmony.raw.0.parquet")
    obs = cells.obs.loc[ids]
    new, labels = (obs["batch"] == "5p").to_numpy(), obs["cell_type"].astype(str).to_numpy(dtype=object)
    found = transfer(values[~new], labels[~new], values[new]).labels
    anew = f1_score(labels[new], found, labels=common, average="macro")
    assert anew > 0.9

    folder = made(tmp_path / "reference", cells[~is_new].copy())
    cells[is_new].write_h5ad(folder / "new.h5ad")
    reference = saved(folder, folder, ("harmony",))
    given = {"datasets": folder / "datasets.json", "params": folder / "params.json", "outdir": tmp_path}
    call("map_query", dataset="sim", query=folder / "new.h5ad", reference=reference, **given)
    table = read_table(tmp_path / "sim.query.tsv").query("group_kind == 'label' and quantity == 'f1'")
    mapped = table[table["group"].isin(common)].groupby("mapping")["value"].mean()
    assert (mapped.loc[["pca", "center", "harmony"]] > anew - 0.05).all(), (mapped, anew)
