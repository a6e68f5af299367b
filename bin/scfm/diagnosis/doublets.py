"""How much a cell looks like two: Scrublet's score, batch by batch (Wolock et al. 2019, 10.1016/j.cels.2018.11.005)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp

#: cells of a batch, and genes found in three of them, below which nothing is scored
MIN_CELLS, MIN_GENES = 50, 20
#: simulated doublets per cell, and components that neighbours are searched in (Scrublet's defaults)
_RATIO, _COMPONENTS = 2.0, 30
_TOTAL = 1e6


def doublet_scores(counts: "sp.csr_matrix", batches: "np.ndarray", *, max_cells: int, seed: int) -> "np.ndarray":
    """Score the cells of every batch against doublets that are simulated from the batch.

    Parameters
    ----------
    counts
        Counts of the variable genes, shape (n_cells, n_genes).
    batches
        Batch of every cell, shape (n_cells,). Cells of two batches make no doublet.
    max_cells
        Cells of a batch that are scored at most, a random sample of larger ones: neighbours are searched exactly, which
        grows with the square of the cells.
    seed
        Seed of the samples and of the simulated doublets.

    Returns
    -------
    Shape (n_cells,), 0 to 1, higher for cells that look like doublets; NaN outside of the samples and in batches
    with fewer than ``MIN_CELLS`` cells or ``MIN_GENES`` genes.
    """
    import numpy as np

    scores = np.full(len(batches), np.nan)
    for number, batch in enumerate(np.unique(batches)):
        rows = np.flatnonzero(batches == batch)
        if len(rows) > max_cells:
            rows = np.sort(np.random.default_rng([seed, number]).choice(rows, max_cells, replace=False))
        scores[rows] = _scores_of_batch(counts[rows], seed)
    return scores


def _scores_of_batch(counts: "sp.csr_matrix", seed: int) -> "np.ndarray":
    """Return the scores of the cells of one batch, shape (n_cells,); NaN where they are too few."""
    import anndata as ad
    import numpy as np
    import scanpy as sc

    found = np.asarray((counts > 0).sum(axis=0)).ravel() >= 3
    if counts.shape[0] < MIN_CELLS or found.sum() < MIN_GENES:
        return np.full(counts.shape[0], np.nan)
    cells = ad.AnnData(counts[:, found].astype(np.float64))
    simulated = sc.pp.scrublet_simulate_doublets(cells, sim_doublet_ratio=_RATIO, random_seed=seed)
    for data in (cells, simulated):
        sc.pp.normalize_total(data, target_sum=_TOTAL)
    sc.pp.scrublet(
        cells,
        adata_sim=simulated,
        n_prin_comps=min(_COMPONENTS, *(side - 1 for side in cells.shape)),
        use_approx_neighbors=False,
        threshold=0.0,  # calls are not used; a search for their threshold would need one more package
        random_state=seed,
        verbose=False,
    )
    return cells.obs["doublet_score"].to_numpy(dtype=float)
