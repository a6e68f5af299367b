"""A small prepared data set with a planted batch effect, written in the format of the preparation step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scfm.errors import SoftwareError
from scfm.registries.methods import load_methods
from scfm.task.programs import require_r

BATCHES = ("b1", "b2", "b3")
LABELS = ("T cell", "B cell", "monocyte")


@dataclass(frozen=True)
class Prepared:
    """Files of one prepared data set."""

    folder: Path
    dataset: str = "sim"

    @property
    def h5ad(self) -> Path:
        return self.folder / f"{self.dataset}.prepared.h5ad"

    @property
    def obs(self) -> Path:
        return self.folder / f"{self.dataset}.obs.parquet"

    @property
    def pca(self) -> Path:
        return self.folder / f"{self.dataset}.pca.parquet"

    def read_obs(self) -> pd.DataFrame:
        return pd.read_parquet(self.obs).set_index("cell_id")


def simulate_counts(
    n_per_group: int = 40, n_genes: int = 150, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return counts (n, g), batches and labels: labels shift 20 genes each, batches scale every gene and the depth."""
    rng = np.random.default_rng(seed)
    base = rng.gamma(1.0, 1.0, n_genes)
    batch_factor = np.exp(rng.normal(0, 0.35, (len(BATCHES), n_genes)))
    label_factor = np.ones((len(LABELS), n_genes))
    for i in range(len(LABELS)):
        label_factor[i, i * 20 : (i + 1) * 20] = 6.0
    blocks, batches, labels = [], [], []
    for b, batch in enumerate(BATCHES):
        for i, label in enumerate(LABELS):
            mean = base * batch_factor[b] * label_factor[i]
            depth = rng.lognormal(0, 0.2, (n_per_group, 1)) * (1 + b) * 400
            blocks.append(rng.poisson(depth * mean / mean.sum()))
            batches += [batch] * n_per_group
            labels += [label] * n_per_group
    return np.vstack(blocks).astype(np.float32), np.array(batches, dtype=object), np.array(labels, dtype=object)


def write_prepared(
    folder: Path, *, order_seed: int | None = None, n_unlabelled: int = 5, n_per_group: int = 40
) -> Prepared:
    """Write the files of a simulated data set; ``order_seed`` shuffles its rows, the cells stay the same."""
    counts, batches, labels = simulate_counts(n_per_group)
    n_cells, n_genes = counts.shape
    cell_ids = np.array([f"cell_{i * 7919 % n_cells:04d}" for i in range(n_cells)], dtype=object)
    labels[np.random.default_rng(5).choice(n_cells, n_unlabelled, replace=False)] = None
    more = {
        "percent_mito": np.random.default_rng(1).random(n_cells),
        "chemistry": np.where(batches == "b1", "v2", "v3"),
    }
    obs = pd.DataFrame({"cell_id": cell_ids, "batch": batches, "label": labels, **more})
    return write_files(folder, counts, obs, hvg=np.arange(n_genes) < 120, n_pcs=20, order_seed=order_seed)


def write_files(
    folder: Path, counts: np.ndarray, obs: pd.DataFrame, *, hvg: np.ndarray, n_pcs: int, order_seed: int | None = None
) -> Prepared:
    """Write counts (n, g) and cells in the format of the preparation step, with log data and PCA."""
    from anndata import AnnData
    from scipy import sparse
    from sklearn.decomposition import PCA

    from scfm.io.tables import write_embedding

    folder.mkdir(parents=True, exist_ok=True)
    prepared = Prepared(folder)
    logged = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    pca = PCA(n_pcs, svd_solver="arpack", random_state=0).fit_transform(logged[:, hvg]).astype(np.float32)
    rows = np.arange(len(obs)) if order_seed is None else np.random.default_rng(order_seed).permutation(len(obs))
    obs = obs.assign(n_counts=counts.sum(axis=1), scored=obs["label"].notna()).iloc[rows]
    obs[["cell_id", "batch", "label", "n_counts", "scored"]].to_parquet(prepared.obs, index=False)
    write_embedding(prepared.pca, obs["cell_id"].to_numpy(), pca[rows])
    full = obs.set_index("cell_id").astype({"batch": "category", "label": "category"})
    adata = AnnData(
        sparse.csr_matrix(logged[rows], dtype=np.float32),
        obs=full,
        var=pd.DataFrame(
            {"highly_variable": hvg, "highly_variable_rank": np.where(hvg, np.cumsum(hvg) - 1.0, np.nan)},
            index=[f"gene_{j}" for j in range(counts.shape[1])],
        ),
        layers={"counts": sparse.csr_matrix(counts[rows])},
        obsm={"X_pca": pca[rows]},
    )
    adata.write_h5ad(prepared.h5ad)
    return prepared


@cache
def _why_no_r(packages: tuple[str, ...]) -> str:
    try:
        require_r(packages, "This test")
    except SoftwareError as error:
        return str(error)
    return ""


def skip_without_r(method: str) -> None:
    """Skip a test of a method in R where R, or a package of it, is missing, and say so."""
    packages = load_methods()[method].r_packages
    if packages and (reason := _why_no_r(packages)):
        pytest.skip(reason)


def same_batch_share(values: np.ndarray, batches: np.ndarray, k: int = 15) -> float:
    """Mean share of a cell's k nearest neighbours that are of its batch; 1/3 when three equal batches are mixed."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=k + 1).fit(values).kneighbors(values, return_distance=False)[:, 1:]
    return float((batches[found] == batches[:, None]).mean())


def label_accuracy(values: np.ndarray, labels: np.ndarray, k: int = 15) -> float:
    """Share of labelled cells whose k labelled neighbours vote for their own label."""
    from sklearn.model_selection import cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    known = np.array([x is not None for x in labels])
    truth = labels[known].astype(str)
    return float((cross_val_predict(KNeighborsClassifier(k), values[known], truth, cv=3) == truth).mean())
