"""Counts summed per replicate and label, and what they are normalised by.

A replicate is the unit that an experiment repeats: a donor where donors are declared, else a sample. Cells of a donor
that were measured in several samples are summed, so that lanes of one donor never count as replicates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

#: fewest genes seen in every unit that size factors may rest on; with fewer, zeros are left out gene by gene
MIN_REFERENCE_GENES = 50


@dataclass(frozen=True)
class Pseudobulk:
    """Summed counts.

    Attributes
    ----------
    units
        One row per unit: ``n_cells``, and what tells units apart of ``label``, ``condition``, ``batch``, ``replicate``.
    counts
        Shape (n_units, n_genes), CSR, whole numbers.
    genes
        Names, shape (n_genes,).
    """

    units: "pd.DataFrame"
    counts: "sp.csr_matrix"
    genes: "np.ndarray"

    def of_label(self, label: str) -> "Pseudobulk":
        """Return the units of one label."""
        rows = (self.units["label"] == label).to_numpy()
        return Pseudobulk(self.units[rows].reset_index(drop=True), self.counts[rows], self.genes)

    def by_replicate(self, blocks: "pd.DataFrame") -> "Pseudobulk":
        """Return one unit per condition and replicate, whose ``batch`` is the block of :func:`blocks_of_replicates`."""
        keys = ["condition", "replicate"]
        units = self.units.drop(columns="batch").merge(blocks, how="left", on=keys)
        return Pseudobulk(units, self.counts, self.genes).joined([*keys, "batch"])

    def joined(self, by: Sequence[str]) -> "Pseudobulk":
        """Return the units added up to those of other columns, ``n_cells`` too; the others are dropped."""
        import numpy as np

        groups = self.units.groupby(list(by), sort=True, observed=True)
        codes = groups.ngroup().to_numpy()
        counts = sum_counts([(np.arange(len(codes)), self.counts)], codes, groups.ngroups, self.counts.shape[1])
        return Pseudobulk(groups["n_cells"].sum().reset_index(), counts, self.genes)


def blocks_of_replicates(units: "pd.DataFrame", *, min_cells: int) -> "pd.DataFrame":
    """Return the batches that every replicate was measured in, as the block that a test compares within.

    Replicates of one batch are compared with others of it. One that was measured in several batches is one unit all the
    same, and is compared with those that were measured in the same ones.

    Parameters
    ----------
    units
        ``condition``, ``replicate``, ``batch`` and ``n_cells``, of all labels: a rare label that a batch lacks by
        chance makes no other design.
    min_cells
        A replicate is in a batch with so many cells; in all batches that it has cells of where none has so many.

    Returns
    -------
    ``condition``, ``replicate`` and ``batch``, one row per condition and replicate.
    """
    keys = ["condition", "replicate"]
    cells = units.groupby([*keys, "batch"], sort=True, observed=True)["n_cells"].sum().reset_index()
    most = cells.groupby(keys, observed=True)["n_cells"].transform("max")
    held = cells[(cells["n_cells"] >= min_cells) | (most < min_cells)]
    return held.groupby(keys, observed=True)["batch"].agg("\x1f".join).reset_index()


def unit_table(cells: "pd.DataFrame", by: Sequence[str]) -> "tuple[pd.DataFrame, np.ndarray]":
    """Group cells into units.

    Parameters
    ----------
    cells
        One row per cell with the columns of ``by``; a cell with a missing value belongs to no unit.
    by
        Columns that make up a unit.

    Returns
    -------
    Units with ``by`` and ``n_cells``, sorted by ``by``; unit of every cell, shape (n_cells,), -1 for none.
    """
    import numpy as np

    known = cells[list(by)].notna().all(axis=1).to_numpy()
    groups = cells.loc[known, list(by)].astype(str).groupby(list(by), sort=True, observed=True)
    codes = np.full(len(cells), -1, dtype=np.int64)
    codes[known] = groups.ngroup().to_numpy()
    return groups.size().rename("n_cells").reset_index(), codes


def sum_counts(
    blocks: "Iterable[tuple[np.ndarray, sp.csr_matrix]]", codes: "np.ndarray", n_units: int, n_genes: int
) -> "sp.csr_matrix":
    """Add up counts by unit, a block of cells at a time.

    Parameters
    ----------
    blocks
        Positions of cells in ``codes``, and their counts.
    codes
        Unit of every cell, shape (n_cells,), -1 for none.
    n_units, n_genes
        Shape of the result.

    Returns
    -------
    Shape (n_units, n_genes), CSR, int64.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    total = csr_matrix((n_units, n_genes), dtype=np.float64)
    for positions, block in blocks:
        unit = codes[positions]
        member = csr_matrix(
            (np.ones((unit >= 0).sum()), (unit[unit >= 0], np.flatnonzero(unit >= 0))), shape=(n_units, len(unit))
        )
        total = total + member @ block.astype(np.float64)
    total.data = np.rint(total.data)
    return csr_matrix(total, dtype=np.int64)


def size_factors(counts: "np.ndarray") -> "np.ndarray":
    """Return the size factor of every unit by the median of ratios.

    Anders & Huber 2010, doi 10.1186/gb-2010-11-10-r106.

    Where fewer than 50 genes are seen in every unit, a gene counts in the units in which it is seen, and its reference
    is the geometric mean with zeros as ones (``poscounts`` of PyDESeq2).

    Parameters
    ----------
    counts
        Shape (n_units, n_genes), 0 or more.

    Returns
    -------
    Shape (n_units,), positive; 1 is a unit of usual depth.

    Raises
    ------
    ValueError
        A unit has no count.
    """
    import numpy as np

    if not (counts.sum(axis=1) > 0).all():
        raise ValueError("a unit without counts has no size factor")
    seen = counts > 0
    logs = np.log(np.where(seen, counts, 1.0))
    reference = logs.mean(axis=0)
    everywhere = seen.all(axis=0)
    if has_reference_genes(counts):
        return np.exp(np.median(logs[:, everywhere] - reference[everywhere], axis=1))
    ratios = np.where(seen & (reference > 0), logs - reference, np.nan)
    factors = np.nanmedian(ratios, axis=1)
    return np.exp(factors - factors.mean())


def has_reference_genes(counts: "np.ndarray") -> bool:
    """Return whether enough genes are seen in every unit for the plain median of ratios."""
    return int((counts > 0).all(axis=0).sum()) >= MIN_REFERENCE_GENES


def log_cpm(counts: "np.ndarray", factors: "np.ndarray | None" = None) -> "np.ndarray":
    """Return log2 counts per million with an offset of half a count, as limma's voom takes them.

    Parameters
    ----------
    counts
        Shape (n_units, n_genes).
    factors
        Size factors, shape (n_units,); those of :func:`size_factors` where not given.

    Returns
    -------
    Shape of ``counts``.
    """
    import numpy as np

    factors = size_factors(counts) if factors is None else factors
    depth = factors * counts.sum() / factors.sum()
    return np.log2((counts + 0.5) / (depth[:, None] + 1) * 1e6)


def expressed(counts: "np.ndarray", *, min_count: int, min_units: int) -> "np.ndarray":
    """Return which genes have ``min_count`` counts in all and are seen in ``min_units`` units, shape (n_genes,)."""
    return (counts.sum(axis=0) >= min_count) & ((counts > 0).sum(axis=0) >= min_units)
