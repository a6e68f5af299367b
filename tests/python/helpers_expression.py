"""Counts with known differences between conditions, and the files that COMPARE_CONDITIONS reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from scfm.io.tables import write_json


@dataclass(frozen=True)
class Planted:
    """A simulated data set: cells, counts, and which genes differ between the conditions."""

    cells: pd.DataFrame
    counts: np.ndarray
    genes: np.ndarray
    changed: set[str]


def planted_cells(
    *,
    n_donors: int = 6,
    labels: tuple[str, ...] = ("A", "B"),
    n_cells: int = 40,
    n_genes: int = 400,
    n_changed: int = 40,
    paired: bool = True,
    batch: str = "donor",
    effect: float = 1.0,
    seed: int = 0,
) -> Planted:
    """Draw gamma-Poisson counts of donors in two conditions, ``n_cells`` per donor, condition and label.

    Parameters
    ----------
    paired
        Every donor in both conditions, else half of them in each.
    batch
        ``donor``: the donor is the batch; ``sample``: donor and condition together, so that batches are nested in
        conditions; ``lane``: two batches, in both conditions.
    effect
        Natural log fold change of the changed genes, in both labels.
    """
    rng = np.random.default_rng(seed)
    samples = [(d, c) for d in range(n_donors) for c in (0, 1) if paired or c == int(d >= n_donors // 2)]
    rows = [(d, c, x) for d, c in samples for x in range(len(labels)) for _ in range(n_cells)]
    donor, condition, label = np.array(rows).T
    base = 1.2 * rng.standard_normal(n_genes)
    change = np.zeros(n_genes)
    changed = rng.choice(n_genes, n_changed, replace=False)
    change[changed] = effect * rng.choice([-1, 1], n_changed)
    types = 0.7 * rng.standard_normal((len(labels), n_genes))
    donors = 0.15 * rng.standard_normal((n_donors, n_genes))
    logs = base + types[label] + donors[donor] + condition[:, None] * change
    rates = np.exp(logs)
    depth = 1500 * np.exp(0.2 * rng.standard_normal(len(rows)))
    means = rates / rates.sum(axis=1, keepdims=True) * depth[:, None]
    counts = rng.poisson(means * rng.gamma(10, 0.1, size=means.shape))
    cells = pd.DataFrame(
        {
            "label": np.array(labels, dtype=object)[label],
            "condition": [f"c{c}" for c in condition],
            "donor": [f"d{d}" for d in donor],
        },
        index=pd.Index([f"cell{i:05d}" for i in range(len(rows))], name="cell_id"),
    )
    batches = {
        "donor": cells["donor"],
        "sample": cells["donor"] + "_" + cells["condition"],
        "lane": pd.Series([f"lane{d % 2}" for d in donor], index=cells.index),
    }
    cells = cells.assign(batch=batches[batch], sample=cells["donor"] + "_" + cells["condition"], scored=True)
    genes = np.array([f"G{j:04d}" for j in range(n_genes)], dtype=object)
    return Planted(cells, counts.astype(np.float32), genes, set(genes[changed]))


def write_prepared(data: Planted, folder: Path, de: dict[str, str], name: str = "sim") -> dict[str, Path]:
    """Write the prepared h5ad, the obs table and the design of a data set; return the files by kind."""
    normal = np.log1p(data.counts / data.counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32)
    adata = ad.AnnData(
        csr_matrix(normal), obs=data.cells[["batch", "label"]], layers={"counts": csr_matrix(data.counts)}
    )
    adata.var_names = data.genes
    adata.var["highly_variable"] = True
    adata.var["gene_symbol"] = [f"sym{g}" for g in data.genes]
    files = {
        "prepared": folder / f"{name}.prepared.h5ad",
        "obs": folder / f"{name}.obs.parquet",
        "design": folder / f"{name}.design.json",
    }
    adata.write_h5ad(files["prepared"])
    data.cells.reset_index().to_parquet(files["obs"], index=False)
    write_json(files["design"], {"pairs": [], "de": de})
    return files
