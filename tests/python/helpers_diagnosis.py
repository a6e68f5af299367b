"""Small data sets with planted truth for the diagnosis: simulated counts, what was planted, and an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from scfm.diagnosis.data import Cells, Embedded
from scfm.io.tables import IDENTITY, write_json, write_table
from scfm.neighbors.search import find_neighbors
from scfm.registries.reader import ASSETS
from scfm.registries.schemas import Schemas
from scfm.simulation.counts import draw_counts
from scfm.simulation.design import Design
from scfm.simulation.truth import draw_truth

#: genes of the programme of early response that a planted programme raises
EARLY = [
    "FOS",
    "FOSB",
    "JUN",
    "JUNB",
    "EGR1",
    "ATF3",
    "IER2",
    "DUSP1",
    "HSPA1A",
    "HSPA1B",
    "ZFP36",
    "IL1B",
    "CXCL8",
    "NFKBIA",
    "KLF6",
]


def simulate(seed: int, **design: object) -> tuple[np.ndarray, pd.DataFrame]:
    """Counts and obs (``label, batch, condition, donor``) of a small simulated data set, no batch effect by default."""
    settings = {"n_cells": 600, "n_genes": 300, "n_types": 3, "n_batches": 5, "batch_effect": 0.0, "donor_effect": 0.0}
    truth = draw_truth(Design(**(settings | design)), seed)
    counts = sparse.vstack(list(draw_counts(truth))).toarray()
    obs = truth.obs.rename(columns={"cell_type": "label"}).astype({"depth": float})
    for column in ("label", "batch", "condition", "donor"):
        obs[column] = obs[column].astype(str)
    return counts, obs


def plant(counts: np.ndarray, rows: np.ndarray, genes: Sequence[int], *, mean: float, seed: int) -> None:
    """Add Poisson counts with a mean to genes of some cells, in place."""
    rng = np.random.default_rng([seed, 17])
    counts[np.ix_(np.flatnonzero(rows), genes)] += rng.poisson(mean, (int(rows.sum()), len(genes)))


def cells_of(counts: np.ndarray, obs: pd.DataFrame, *, genes: Sequence[str] | None = None) -> Cells:
    """The data set as the diagnosis reads it; the first genes are those of :data:`EARLY`."""
    names = [*EARLY, *(f"Gene{i}" for i in range(counts.shape[1] - len(EARLY)))] if genes is None else list(genes)
    totals = counts.sum(axis=1)
    logged = np.log1p(counts / totals[:, None] * 1e4).astype(np.float32)
    table = pd.DataFrame({"condition": None, "donor": None, "tissue": None}, index=obs.index).astype(object)
    for column in obs.columns.intersection(["label", "batch", "condition", "donor", "tissue"]):
        table[column] = obs[column]
    table["n_counts"] = totals
    table["scored"] = True
    order = np.argsort(table.index.to_numpy(dtype=str), kind="stable")
    return Cells("sim", table.iloc[order], sparse.csr_matrix(logged[order]), np.array(names, dtype=object), {})


def embed(cells: Cells, n_dims: int = 10) -> Embedded:
    """PCA of the log data with its neighbours."""
    values = cells.logged.toarray().astype(float)
    values -= values.mean(axis=0)
    left, singular, _ = np.linalg.svd(values, full_matrices=False)
    return embedded(cells, left[:, :n_dims] * singular[:n_dims])


def embedded(cells: Cells, coordinates: np.ndarray) -> Embedded:
    """An embedding of all cells with its neighbours."""
    near = find_neighbors(coordinates.astype(np.float32), cells.ids, k=90)
    return Embedded(np.arange(len(cells.obs)), coordinates.astype(np.float32), near)


#: embeddings that a written run has diagnosed
CHOSEN = ("pca.raw.0", "harmony.raw.0")


def write_diagnosis(results: Path, plan: pd.DataFrame) -> None:
    """Write what the diagnosis leaves of :data:`CHOSEN` in every data set of a run: choice, status and tables."""
    for dataset, rows in plan.groupby("dataset"):
        mine = rows[rows["embedding"].isin(CHOSEN)]
        names = [n for n in CHOSEN if n in set(mine["embedding"])]
        content = {"dataset": dataset, "embeddings": names, "reasons": dict.fromkeys(names, ""), "warnings": []}
        write_json(results / f"{dataset}.chosen.json", content)
        for row in mine.itertuples():
            status = {"step": "diagnose", "status": "ok", "reason": "", "reason_code": ""}
            write_json(
                results / f"{dataset}.{row.embedding}.diagnose.status.json",
                {"dataset": dataset, "embedding": row.embedding, **status},
            )
            for name, made in tables_of(corrected=row.method != "pca").items():
                identity = {column: getattr(row, column) for column in IDENTITY}
                columns = Schemas(ASSETS).columns(name)
                frame = pd.DataFrame([identity | values for values in made]).reindex(columns=columns)
                write_table(frame, results / f"{dataset}.{row.embedding}.{name}.tsv")


def tables_of(*, corrected: bool) -> dict[str, list[dict[str, object]]]:
    """Rows of the tables of one embedding: T cells differ between b1 and b2 by early response genes."""
    ok = {"status": "ok", "reason": ""}
    quiet = {"level": "", "cause": "", "causes": "", "top_genes": "", "flags": "", **ok}
    label = {"label": "T", "batch_a": "all", "batch_b": "all", "n_a": 300, "auroc": 0.9 - 0.2 * corrected}
    pair = {"label": "T", "batch_a": "b1", "batch_b": "b2", "n_a": 150, "n_b": 150, "auroc": 0.95 - 0.2 * corrected}
    pair |= {"p_value": 0.0005, "q_value": 0.001, "significant": True, "level": "cells", "cause": "early_response"}
    pair |= {
        "causes": "early_response,depth",
        "early_response": 1.4,
        "depth": -0.6,
        "n_genes": 31,
        "top_genes": "+FOS,-B",
    }
    other = {"label": "B <cells>", "batch_a": "b1", "batch_b": "b2", "n_a": 40, "n_b": 50, "auroc": 0.51}
    other |= {"p_value": 0.4, "q_value": 0.4, "significant": False, "level": "cells", "n_genes": 0}
    alone = {"label": "DC", "batch_a": "all", "batch_b": "all", "n_a": 9} | quiet
    cluster = {"cluster": "0", "n_cells": 90, "label": "T", "label_share": 0.9, "batch": "b1", "batch_share": 0.5}
    cluster |= {"donor": "", "hint": "", "causes": "", "top_genes": "", "flags": ""}
    marker = {"label": "T", "source": "data", "markers": "CD3D,CD3E", "n_markers": 2, "n_clusters_before": 2}
    marker |= {"n_clusters_after": 1, "auroc_before": 0.98, "auroc_after": 0.98 - 0.2 * corrected}
    marker |= {"flags": "auroc" if corrected else "", **ok}
    rare = {"label": "DC", "n_cells": 9, "share": 0.01, "best_f1_before": 0.8, "best_f1_after": 0.8 - 0.6 * corrected}
    rare |= {"n_seeds": 1 + 2 * corrected, "best_f1_low": 0.1, "best_f1_high": 0.2 if corrected else 0.1}
    balanced = {"metric": "kbet", "n_cells": 300, "n_balanced": 80, "n_batches": 2, "n_labels": 1, "value": 0.2}
    balanced |= {"balanced": 0.4, "spread": 0.05, "change": 0.2, **ok}
    test = {"test": "biology_probe", "label": "all", "column": "condition", "folds": "stratified", "n_cells": 300}
    test |= {"before": 0.9, "after": 0.9 - 0.3 * corrected, "value": 0.3 * corrected, "limit": 0.15}
    return {
        "residual": [
            quiet | label | {"flags": "pair"},
            quiet | pair,
            quiet | other,
            alone | {"status": "not_applicable", "reason": "too_few_cells"},
        ],
        "clusters": [
            cluster | {"flags": "batch_island", "hint": "early_response", "top_genes": "+FOS", "batch_share": 0.97},
            cluster | {"cluster": "1"},
        ],
        "markers": [marker],
        "rare": [rare | {"flags": "lost" if corrected else ""}],
        "overcorrection": [test | {"failed": corrected, **ok}],
        "balanced": [balanced],
    }
