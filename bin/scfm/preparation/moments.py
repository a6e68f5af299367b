"""Mean and variance of every gene in every batch, from chunks, in the form that scanpy's ranking reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.preparation.normalize import log_cp10k, stored_by_batch

if TYPE_CHECKING:
    import numpy as np

    from scfm.preparation.counts import Counts


@dataclass(frozen=True)
class Moments:
    """Moments of log data.

    Attributes
    ----------
    levels
        Batches, sorted, shape (n_batches,).
    sizes
        Cells of every batch, shape (n_batches,).
    sums, squares
        Sums of values and of their squares, shape (n_batches, n_genes).
    """

    levels: "np.ndarray"
    sizes: "np.ndarray"
    sums: "np.ndarray"
    squares: "np.ndarray"

    def pooled(self) -> "Moments":
        """Return the moments of all cells together, as one batch ``all``."""
        import numpy as np

        parts = (self.sizes, self.sums, self.squares)
        return Moments(np.array(["all"]), *(part.sum(axis=0, keepdims=True) for part in parts))

    def select(self, chosen: "np.ndarray") -> "Moments":
        """Return some batches, by a mask."""
        return Moments(self.levels[chosen], self.sizes[chosen], self.sums[chosen], self.squares[chosen])

    def pairs(self) -> "tuple[np.ndarray, np.ndarray]":
        """Return two cells per batch that have the mean and variance of all its cells, and their batches.

        The ranking ``cell_ranger`` reads nothing of a batch but mean and variance (n - 1) of every gene, and whether
        any cell has it: ``mean + d`` and ``mean - d`` have the same where ``d`` is the root of half the variance.

        Returns
        -------
        Values, shape (2 n_batches, n_genes), float64; batches, shape (2 n_batches,).
        """
        import numpy as np

        n = self.sizes[:, None]
        mean = self.sums / np.maximum(n, 1)
        variance = (self.squares - n * mean**2).clip(0) / np.maximum(n - 1, 1)
        half = np.sqrt(variance / 2)
        return np.concatenate([mean + half, mean - half]), np.concatenate([self.levels, self.levels])


def log_moments(counts: "Counts", batch: "np.ndarray") -> Moments:
    """Return the moments of log1p(CP10k) in one pass.

    Parameters
    ----------
    counts
        Shape (n_cells, n_genes).
    batch
        Batch of every cell, shape (n_cells,).
    """
    import numpy as np

    levels, codes = np.unique(batch, return_inverse=True)
    n_genes = counts.shape[1]
    sums, squares = np.zeros((len(levels), n_genes)), np.zeros((len(levels), n_genes))
    for place, chunk in counts.chunks():
        for number, genes, stored in stored_by_batch(log_cp10k(chunk), codes[place]):
            values = stored.astype(np.float64)
            sums[number] += np.bincount(genes, weights=values, minlength=n_genes)
            squares[number] += np.bincount(genes, weights=values**2, minlength=n_genes)
    return Moments(levels, np.bincount(codes, minlength=len(levels)), sums, squares)
