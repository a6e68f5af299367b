"""Differences of expression between groups of cells: Welch's test per gene, stratified, for many pairs of groups.

Sums and sums of squares per group are computed once, in one pass over the stored values; every pair is then a few
operations per gene, so that time grows with cells and with pairs times genes, never with cells times pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp


@dataclass(frozen=True)
class Moments:
    """Sizes, means and variances of groups.

    Attributes
    ----------
    n
        Units per group, shape (n_groups,).
    mean, var
        Shape (n_groups, n_genes); the variance has n - 1 in its denominator, 0 for fewer than two units.
    detected
        Share of units with a value above 0, shape (n_groups, n_genes).
    """

    n: "np.ndarray"
    mean: "np.ndarray"
    var: "np.ndarray"
    detected: "np.ndarray"


@dataclass(frozen=True)
class Contrast:
    """Second side minus first side, per gene.

    Attributes
    ----------
    change
        Difference of the means, weighted over the strata, shape (n_genes,).
    sd
        Standard deviation inside the groups, shape (n_genes,).
    p
        Two-sided p-value, shape (n_genes,); NaN where a variance can't be estimated.
    detected
        Larger share of units with a value above 0 of the two sides, shape (n_genes,).
    """

    change: "np.ndarray"
    sd: "np.ndarray"
    p: "np.ndarray"
    detected: "np.ndarray"

    @property
    def effect(self) -> "np.ndarray":
        """Difference in standard deviations, NaN where a gene does not vary, shape (n_genes,)."""
        import numpy as np

        return np.divide(self.change, self.sd, out=np.full(len(self.sd), np.nan), where=self.sd > 0)


def moments(values: "np.ndarray | sp.csr_matrix", codes: "np.ndarray", n_groups: int) -> Moments:
    """Return the moments of groups of rows.

    Parameters
    ----------
    values
        Shape (n_units, n_genes), dense or CSR.
    codes
        Group of every row, 0 to ``n_groups - 1``; -1 for a row outside all groups.
    n_groups
        Number of groups.
    """
    import numpy as np
    import scipy.sparse as sp

    inside = codes >= 0
    if not inside.all():  # time then grows with the rows in groups alone
        values, codes = values[inside], codes[inside]
    rows = np.arange(len(codes))
    picks = sp.csr_matrix((np.ones(len(rows)), (codes, rows)), shape=(n_groups, len(rows)), dtype=np.float64)
    n = np.bincount(codes, minlength=n_groups)
    if sp.issparse(values):
        squares = values.multiply(values).tocsr()
        sums, squared = ((picks @ m).toarray() for m in (values.astype(np.float64), squares.astype(np.float64)))
        above = (picks @ (values > 0).astype(np.float64)).toarray()
    else:
        sums, squared, above = picks @ values, picks @ np.square(values), picks @ (values > 0).astype(float)
    counts = np.maximum(n, 1)[:, None]
    mean = sums / counts
    var = np.maximum(squared - counts * np.square(mean), 0) / np.maximum(counts - 1, 1)
    return Moments(n, mean, var, above / counts)


def contrast(found: Moments, first: Sequence[int], second: Sequence[int]) -> Contrast:
    """Compare groups stratum by stratum with Welch's test, strata weighted by their information.

    Parameters
    ----------
    found
        Moments of the groups.
    first, second
        Groups of the two sides; position i of both is stratum i. One stratum is Welch's t-test.

    Returns
    -------
    Second minus first.
    """
    import numpy as np
    from scipy.stats import t

    a, b = np.asarray(first), np.asarray(second)
    n_a, n_b = found.n[a], found.n[b]
    weights = n_a * n_b / np.maximum(n_a + n_b, 1)
    weights = (weights / weights.sum())[:, None]
    change = (weights * (found.mean[b] - found.mean[a])).sum(axis=0)
    parts_a = np.square(weights) * found.var[a] / n_a[:, None]
    parts_b = np.square(weights) * found.var[b] / n_b[:, None]
    variance = (parts_a + parts_b).sum(axis=0)
    freedom = (np.square(parts_a) / np.maximum(n_a - 1, 1)[:, None]).sum(axis=0)
    freedom += (np.square(parts_b) / np.maximum(n_b - 1, 1)[:, None]).sum(axis=0)
    known = variance > 0
    df = np.divide(np.square(variance), freedom, out=np.ones(len(variance)), where=freedom > 0)
    statistic = np.divide(change, np.sqrt(variance), out=np.zeros(len(variance)), where=known)
    p = np.where(known, 2 * t.sf(np.abs(statistic), df), np.nan)
    degrees = np.r_[n_a - 1, n_b - 1]
    pooled = (degrees[:, None] * np.r_[found.var[a], found.var[b]]).sum(axis=0) / max(degrees.sum(), 1)
    detected = np.maximum(_mean_over(found.detected[a], n_a), _mean_over(found.detected[b], n_b))
    return Contrast(change, np.sqrt(pooled), p, detected)


def _mean_over(values: "np.ndarray", n: "np.ndarray") -> "np.ndarray":
    """Return the mean over groups weighted by their sizes."""
    return (values * n[:, None]).sum(axis=0) / max(n.sum(), 1)


def differing_genes(found: Contrast, *, fdr: float, min_change: float, min_detected: float = 0.1) -> "np.ndarray":
    """Return the genes that differ, largest effect first.

    Parameters
    ----------
    found
        A contrast.
    fdr
        False discovery rate (Benjamini-Hochberg) among the genes that are detected.
    min_change
        Smallest difference of log expression.
    min_detected
        Share of units in which a gene is detected on one side at least.

    Returns
    -------
    Positions of genes.
    """
    import numpy as np
    from scipy.stats import false_discovery_control

    tested = np.flatnonzero(np.isfinite(found.p) & (found.detected >= min_detected))
    if not len(tested):
        return tested
    adjusted = false_discovery_control(found.p[tested])
    kept = tested[(adjusted <= fdr) & (np.abs(found.change[tested]) >= min_change)]
    return kept[np.argsort(-np.abs(found.change[kept]), kind="stable")]
