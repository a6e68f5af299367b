"""Ranking genes by variability: the flavours of scanpy and that of scib, per batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.text import plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from scipy import sparse


#: share of the genes in a local fit of seurat_v3: the first (scanpy's) is used unless the fit is singular there
SPANS = (0.3, 0.4, 0.5, 0.7, 1.0)
#: genes that must vary in a batch for a local fit of seurat_v3: with fewer its library ends the process
_FITTED_GENES = 4
#: errors with which scanpy's bins and fits refuse a batch
_REFUSALS = (ValueError, IndexError)


def _in_frame(matrix: "sparse.csr_matrix", batch: "np.ndarray", genes: "np.ndarray"):
    """Return an AnnData with a categorical obs column ``batch``, as scanpy wants it."""
    import anndata as ad
    import pandas as pd

    obs = pd.DataFrame({"batch": pd.Categorical(batch)}, index=[str(i) for i in range(matrix.shape[0])])
    return ad.AnnData(matrix, obs=obs, var=pd.DataFrame(index=pd.Index(genes, dtype=object)))


def _scanpy_ranking(
    counts: "sparse.csr_matrix", batch: "np.ndarray", genes: "np.ndarray", n_top: int, *, flavor: str, span: float
) -> "pd.DataFrame":
    """Return scanpy's ranking on counts (``seurat_v3``, ``pearson_residuals``): columns ``n_batches`` and ``score``
    (higher first).
    """
    import pandas as pd
    import scanpy as sc

    frame = _in_frame(counts, batch, genes)
    top = min(n_top, counts.shape[1])
    if flavor == "seurat_v3":
        table = sc.pp.highly_variable_genes(
            frame, flavor=flavor, n_top_genes=top, span=span, batch_key="batch", inplace=False
        )
        first, second = -table["highly_variable_rank"], table["highly_variable_nbatches"]
    else:
        table = sc.experimental.pp.highly_variable_genes(
            frame, flavor=flavor, n_top_genes=top, batch_key="batch", inplace=False
        )
        first, second = table["highly_variable_nbatches"], -table["highly_variable_rank"]
    # genes outside the top of every batch have no rank: they follow by their variance
    spread = table["variances_norm"] if flavor == "seurat_v3" else table["residual_variances"]
    columns = {"n_batches": table["highly_variable_nbatches"], "first": first, "second": second, "third": spread}
    return pd.DataFrame(columns).reindex(pd.Index(genes, dtype=object))


def _scib_ranking(log: "sparse.csr_matrix", batch: "np.ndarray", genes: "np.ndarray", n_top: int) -> "pd.DataFrame":
    """Return the ranking of scIB: variable in most batches first, then by mean normalised dispersion.

    Within a batch: scanpy's ``cell_ranger`` (dispersion = variance / mean, normalised by median and MAD of its bin of
    mean expression), 20 bins, ``n_top`` genes. Source: scib 1.1.7, ``hvg_batch``.
    """
    import pandas as pd
    import scanpy as sc

    parts = []
    for level in sorted(set(batch)):
        rows = batch == level
        frame = _in_frame(log[rows], batch[rows], genes)
        table = sc.pp.highly_variable_genes(
            frame, flavor="cell_ranger", n_top_genes=n_top, n_bins=20, batch_key="batch", inplace=False
        )
        parts.append(table.loc[genes])
    dispersion = pd.concat([p["dispersions_norm"] for p in parts], axis=1).mean(axis=1)
    n_batches = sum(p["highly_variable_nbatches"].astype(int) for p in parts)
    return pd.DataFrame({"n_batches": n_batches, "first": n_batches, "second": dispersion, "third": 0.0})


def rank_genes(
    values: "sparse.csr_matrix",
    batch: "np.ndarray",
    genes: "np.ndarray",
    *,
    n_top: int,
    flavor: str,
    span: float = SPANS[0],
) -> "pd.DataFrame":
    """Rank genes by variability over batches.

    Parameters
    ----------
    values
        Shape (n_cells, n_genes): log data for ``cell_ranger``, counts for the others.
    batch
        Shape (n_cells,).
    genes
        Shape (n_genes,), unique ids; they break ties.
    n_top
        Genes taken per batch.
    flavor
        ``cell_ranger``, ``seurat_v3`` or ``pearson_residuals``.
    span
        Of the local fit of ``seurat_v3``.

    Returns
    -------
    Frame indexed by gene, best first, with the column ``n_batches``.

    Raises
    ------
    ValueError, IndexError
        A batch has too little in it for scanpy's bins and fits.
    """
    import warnings

    if flavor == "seurat_v3":
        _require_varying(values, batch)
    with warnings.catch_warnings():
        said = "n_top_genes|Degrees of freedom|Mean of empty slice|invalid value|divide by zero|All-NaN"
        warnings.filterwarnings("ignore", message=rf"(?s).*({said}).*")
        table = (
            _scib_ranking(values, batch, genes, n_top)
            if flavor == "cell_ranger"
            else _scanpy_ranking(values, batch, genes, n_top, flavor=flavor, span=span)
        )
    order, ascending = ["first", "second", "third", "gene"], [False, False, False, True]
    table = table.assign(gene=table.index).sort_values(order, ascending=ascending, na_position="last")
    return table[["n_batches"]].fillna(0).astype(int)


def _require_varying(counts: "sparse.csr_matrix", batch: "np.ndarray") -> None:
    """Raise :class:`ValueError` where too few genes vary in a batch for a local fit."""
    import numpy as np

    for level in sorted(set(batch)):
        part = counts[batch == level]
        means = np.asarray(part.mean(axis=0)).ravel()
        varying = int((np.asarray(part.multiply(part).mean(axis=0)).ravel() > means**2 * (1 + 1e-6)).sum())
        if varying < _FITTED_GENES:
            raise ValueError(f"{plural(varying, 'gene')} of {level} vary, a fit needs {_FITTED_GENES}")


def _usable_batches(
    batch: "np.ndarray", min_cells: int, works: Callable[["np.ndarray"], bool]
) -> tuple["np.ndarray", dict[str, int]]:
    """Return the cells of batches that can be ranked by themselves, and the sizes of the batches that can't.

    ``works`` is asked about every batch of enough cells, with the mask of its cells.
    """
    import numpy as np

    left_out = {}
    for level in sorted(set(batch)):
        rows = batch == level
        if rows.sum() < min_cells or not works(rows):
            left_out[str(level)] = int(rows.sum())
    return ~np.isin(batch, list(left_out)), left_out


def _attempt(
    values: "sparse.csr_matrix", batch: "np.ndarray", genes: "np.ndarray", *, n_top: int, flavor: str
) -> "pd.DataFrame | ValueError | IndexError":
    """Return the ranking, with the span used in ``attrs``, or the error with which scanpy refuses the batches."""
    error: ValueError | IndexError = ValueError("there are no cells")
    for span in (SPANS if flavor == "seurat_v3" else SPANS[:1]) if len(batch) else ():
        try:
            table = rank_genes(values, batch, genes, n_top=n_top, flavor=flavor, span=span)
            table.attrs["span"] = span
            return table
        except _REFUSALS as caught:  # its bins and local fits refuse batches with too little in them
            error = caught
    return error


def rank_usable(
    values: "sparse.csr_matrix", batch: "np.ndarray", genes: "np.ndarray", *, n_top: int, flavor: str, min_cells: int
) -> tuple["pd.DataFrame", dict[str, int]]:
    """Rank genes over the batches that can be ranked by themselves, over all cells together where none can.

    Returns
    -------
    Ranking; sizes of the batches that were left out of it.
    """
    import numpy as np

    def attempt(rows: "np.ndarray") -> "pd.DataFrame | ValueError | IndexError":
        return _attempt(values if rows.all() else values[rows], batch[rows], genes, n_top=n_top, flavor=flavor)

    rows, left_out = _usable_batches(batch, min_cells, lambda _: True)
    table = attempt(rows)
    if isinstance(table, _REFUSALS) and rows.any():
        rows, left_out = _usable_batches(batch, min_cells, lambda one: not isinstance(attempt(one), _REFUSALS))
        table = attempt(rows)
    if isinstance(table, _REFUSALS):
        left_out = {str(level): int((batch == level).sum()) for level in sorted(set(batch))}
        table = _attempt(values, np.full(len(batch), "all"), genes, n_top=n_top, flavor=flavor)
    if isinstance(table, _REFUSALS):
        raise ScfmError(
            f"--hvg_flavor {flavor} can't rank {plural(len(genes), 'gene')} of {plural(len(batch), 'cell')}: too few"
            f" genes differ between cells (scanpy: {str(table).split(': ')[0]}). Choose another flavor, or check the"
            " counts."
        )
    return table, left_out
