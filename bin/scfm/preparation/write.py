"""Write a prepared data set to the files that later steps read (``docs/architecture.md``)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.embeddings.preparation import PREPARATION
from scfm.inputs.keys import CARRIED, KEYS, LISTED
from scfm.io.columns import writable
from scfm.io.csr import CsrWriter
from scfm.io.hdf5 import put_anndata, writing_hdf5
from scfm.io.space import SPACE_ADVICE, require_space
from scfm.io.tables import write_embedding, write_json, write_table
from scfm.preparation.normalize import log_cp10k
from scfm.preparation.prepare import Prepared

if TYPE_CHECKING:
    import anndata as ad
    import h5py
    import pandas as pd

#: what a data set that could not be prepared leaves empty
EMPTY_OUTPUTS = ("prepared.h5ad", "obs.parquet", "pca.parquet", "splits.parquet", "facts.json", "dropped_cells.tsv")
#: obs columns that are ours; a column of the user's with such a name is kept as <name>_input
OURS = ("batch", "label", "scored", "total_counts", "n_genes_by_counts")
#: bytes on disk per byte in memory of the sparse matrices: 0.32 for 2,000 cells of real PBMC
COMPRESSED = 0.3
#: columns of the obs table; keys are text even where all of them are missing
OBS_TYPES = {"cell_id": "string", **dict.fromkeys(KEYS, "string")} | {
    "n_counts": "double",
    "n_genes": "int64",
    "scored": "bool",
    "held_out": "bool",
}


def stored_name(name: str, columns: Collection[str]) -> str:
    """Return the name under which the prepared h5ad keeps an obs column of the user's.

    Examples
    --------
    >>> stored_name("batch", ["batch", "batch_input"]), stored_name("donor", ["batch", "donor"])
    ('batch_input', 'donor')
    """
    return input_name(name) if name in OURS and input_name(name) in columns else name


def input_name(name: str) -> str:
    """Return the name of a column of the user's whose own name is ours."""
    return f"{name}_input"


def to_anndata(prepared: Prepared) -> "ad.AnnData":
    """Return the prepared data set as one AnnData object without its matrices.

    The user's obs columns are kept; one that bears a name of ours and holds something else is kept as
    ``<name>_input``.
    """
    import anndata as ad
    import numpy as np
    import pandas as pd

    obs = prepared.obs.set_index("cell_id")
    user = prepared.user_obs.copy()
    user.index = obs.index
    user = user.rename(columns={c: input_name(c) for c in user.columns if c in OURS and not _same(user[c], obs.get(c))})
    user = user.drop(columns=[c for c in user.columns if c in OURS])
    ours = pd.DataFrame({k: pd.Categorical(obs[k]) for k in ("batch", "label")}, index=obs.index)
    ours["scored"], ours["total_counts"], ours["n_genes_by_counts"] = obs["scored"], obs["n_counts"], obs["n_genes"]
    frame = pd.concat([ours, user.apply(writable)], axis=1)
    frame.index.name = None
    var = prepared.var.apply(writable)
    mask = var["highly_variable"].to_numpy(dtype=bool)
    loadings = np.zeros((len(var), prepared.pca.loadings.shape[1]))
    loadings[mask] = prepared.pca.loadings
    mean = np.zeros(len(var))
    mean[mask] = prepared.pca.mean
    var["pca_mean"] = mean
    result = ad.AnnData(obs=frame, var=var)
    result.obsm["X_pca"] = prepared.pca.scores.astype(np.float32)
    result.varm["PCs"] = loadings
    result.uns["pca"] = {"variance": prepared.pca.variance, "variance_ratio": prepared.pca.variance_ratio}
    result.uns["scfmbench"] = json.dumps(prepared.facts, sort_keys=True)
    return result


def _same(user: "pd.Series", ours: "pd.Series | None") -> bool:
    """Tell whether a column of the user's says the same as ours, as text."""
    from scfm.inputs.keys import as_text

    return ours is not None and as_text(user).equals(as_text(ours))


def estimated_bytes(prepared: Prepared) -> float:
    """Return about how many bytes the prepared h5ad will have: stored counts twice (raw and logarithms), with their
    positions, and the PCA, as large as gzip leaves such arrays.
    """
    return COMPRESSED * 16 * float(prepared.obs["n_genes"].sum()) + prepared.pca.scores.size * 4


def write_matrices(prepared: Prepared, file: "h5py.File") -> None:
    """Write ``X``, log data, and ``layers['counts']``, the counts, chunk by chunk."""
    n_genes = prepared.counts.shape[1]
    logged, raw = CsrWriter(file, n_genes, "X"), CsrWriter(file, n_genes, "layers/counts")
    for _, chunk in prepared.counts.chunks():
        raw.append(chunk)
        logged.append(log_cp10k(chunk))
    for writer in (logged, raw):
        writer.close()


def write_prepared(prepared: Prepared, splits: "pd.DataFrame", outdir: Path) -> None:
    """Write ``<dataset>.{prepared.h5ad,obs.parquet,pca.parquet,splits.parquet,facts.json,dropped_cells.tsv}``."""
    outdir.mkdir(parents=True, exist_ok=True)
    dataset = prepared.facts["dataset"]
    target = outdir / f"{dataset}.prepared.h5ad"
    require_space(target, estimated_bytes(prepared), SPACE_ADVICE)
    with writing_hdf5(target) as file:
        put_anndata(file, to_anndata(prepared), compression="gzip", compression_opts=1)
        write_matrices(prepared, file)
    notes = {PREPARATION: prepared.facts[PREPARATION]}
    types = OBS_TYPES | _listed_types(prepared.obs)
    write_table(prepared.obs, outdir / f"{dataset}.obs.parquet", types=types, notes=notes)
    cell_ids = prepared.obs["cell_id"].tolist()
    write_embedding(outdir / f"{dataset}.pca.parquet", cell_ids, prepared.pca.scores, notes=notes)
    write_table(splits, outdir / f"{dataset}.splits.parquet")
    write_json(outdir / f"{dataset}.facts.json", prepared.facts)
    write_table(prepared.dropped, outdir / f"{dataset}.dropped_cells.tsv")


def _listed_types(obs: "pd.DataFrame") -> dict[str, str]:
    """Return the types of the columns ``<name>:<key>``: numbers of a carried column are double, all else is text."""
    listed = [c for c in obs.columns if c.startswith(tuple(f"{name}:" for name in (*LISTED, *CARRIED)))]
    return {c: "double" if obs[c].dtype.kind == "f" else "string" for c in listed}


def write_empty(outdir: Path, dataset: str, endings: Iterable[str]) -> None:
    """Write files of no bytes in place of those of a data set that could not be prepared."""
    for ending in endings:
        (outdir / f"{dataset}.{ending}").write_bytes(b"")
