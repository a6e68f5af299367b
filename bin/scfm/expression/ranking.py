"""Genes ranked by how well they tell two groups of cells apart: what is left to say without replicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.expression.pseudobulk import size_factors

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

#: genes that are ranked at once
_GENES = 500


def auroc(values: "sp.csc_matrix | np.ndarray", is_level: "np.ndarray") -> "np.ndarray":
    """Return the area under the ROC curve of every gene: Wilcoxon's rank sum on a scale of 0 to 1.

    Parameters
    ----------
    values
        Expression, shape (n_cells, n_genes), in any unit that keeps the order.
    is_level
        Whether a cell is in the first group, shape (n_cells,).

    Returns
    -------
    Shape (n_genes,); 0.5 no difference, 1 every cell of the group above all others, 0 below.
    """
    import numpy as np
    from scipy.sparse import issparse
    from scipy.stats import rankdata

    n_genes, n_level, n_other = values.shape[1], int(is_level.sum()), int((~is_level).sum())
    found = np.empty(n_genes)
    for start in range(0, n_genes, _GENES):
        block = values[:, start : start + _GENES]
        ranks = rankdata(block.toarray() if issparse(block) else block, axis=0)
        found[start : start + _GENES] = ranks[is_level].sum(axis=0)
    return (found - n_level * (n_level + 1) / 2) / (n_level * n_other)


def rank_genes(
    values: "sp.csc_matrix", counts: "np.ndarray", is_level: "np.ndarray", genes: "np.ndarray"
) -> "pd.DataFrame":
    """Rank genes between two groups of cells, without p values: cells of one sample are no replicates.

    Parameters
    ----------
    values
        Log expression, shape (n_cells, n_genes), CSC.
    counts
        Summed counts of level and reference, shape (2, n_genes).
    is_level
        Shape (n_cells,).
    genes
        Names, shape (n_genes,).

    Returns
    -------
    One row per gene: ``gene``, ``mean`` (of normalised counts of the two groups), ``log_fold_change`` (log2, of the
    summed counts normalised by the median of ratios), ``statistic`` (AUROC).
    """
    import numpy as np
    import pandas as pd

    scaled = counts / size_factors(counts)[:, None]
    change = np.log2(scaled[0] + 0.5) - np.log2(scaled[1] + 0.5)
    table = {"gene": np.asarray(genes), "mean": scaled.mean(axis=0), "log_fold_change": change}
    return pd.DataFrame({**table, "statistic": auroc(values, is_level)})
