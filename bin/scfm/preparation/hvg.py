"""Highly variable genes, batch by batch, as a mask: all genes stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.preparation.ranking import SPANS, rank_usable
from scfm.registries.messages import message
from scfm.text import plural

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse


@dataclass(frozen=True, slots=True)
class Selection:
    """Chosen genes.

    Attributes
    ----------
    mask
        Shape (n_genes,), bool.
    rank
        Shape (n_genes,), float: 0 is the best gene, NaN for genes that were not ranked.
    n_batches
        Shape (n_genes,), int: batches in which the gene is variable by itself.
    warnings
        Entries made by :func:`scfm.registries.messages.message`.
    """

    mask: "np.ndarray"
    rank: "np.ndarray"
    n_batches: "np.ndarray"
    warnings: list[dict]


def select_genes(
    log: "sparse.csr_matrix",
    counts: "sparse.csr_matrix",
    batch: "np.ndarray",
    genes: "np.ndarray",
    *,
    n_hvg: int,
    flavor: str,
    min_cells: int = 10,
    exclude: "np.ndarray | None" = None,
    force: "np.ndarray | None" = None,
) -> Selection:
    """Choose highly variable genes.

    Parameters
    ----------
    log, counts
        Shape (n_cells, n_genes): log data and counts.
    batch, genes, flavor
        As in :func:`rank_genes`.
    n_hvg
        Number of genes, forced ones counted.
    min_cells
        Smaller batches are left out of the ranking (W-HVG-01).
    exclude, force
        Shape (n_genes,), bool: genes that are never ranked, genes that are always taken.

    Raises
    ------
    ScfmError
        Fewer than 2 genes can be ranked.
    """
    import numpy as np
    import pandas as pd

    none = np.zeros(len(genes), dtype=bool)
    exclude, force = (none if exclude is None else exclude), (none if force is None else force)
    seen = np.asarray(counts.sum(axis=0)).ravel() > 0
    pool = np.flatnonzero(seen & ~(exclude & ~force))
    if len(pool) < 2:
        raise ScfmError(
            f"Only {plural(len(pool), 'gene')} can be ranked as variable ({int(seen.sum())} have counts, "
            f"{int(exclude.sum())} are excluded); at least 2 are needed."
        )
    names = np.asarray(genes, dtype=object)[pool]
    # only the matrix that the flavor reads is cut, and only where something is cut away
    values = log if flavor == "cell_ranger" else counts
    values = values if len(pool) == len(genes) else values[:, pool]

    table, left_out = rank_usable(values, batch, names, n_top=n_hvg, flavor=flavor, min_cells=min_cells)
    ranking = pd.Index(table.index)
    forced = pd.Index(names[force[pool]])
    chosen = [*forced, *ranking.difference(forced, sort=False)][: max(n_hvg, len(forced))]
    places = pd.Series(np.arange(len(ranking), dtype=float), index=ranking).reindex(genes).to_numpy()
    per_batch = table["n_batches"].reindex(genes).fillna(0).astype(int).to_numpy()
    notes = _notes(
        left_out, all_left_out=len(left_out) == len(set(batch)), n_chosen=len(chosen), n_hvg=n_hvg, min_cells=min_cells
    )
    if table.attrs.get("span", SPANS[0]) != SPANS[0]:
        span = table.attrs["span"]
        notes.append(message("W-HVG-05", values={"span": span}, threshold=SPANS[0]))
    empty = [str(g) for g in np.asarray(genes, dtype=object)[force & ~seen]]
    if empty:
        notes.append(message("W-HVG-04", n_genes=len(empty), values={"genes": empty}))
    return Selection(np.isin(np.asarray(genes, dtype=object), chosen), places, per_batch, notes)


def _notes(left_out: dict[str, int], *, all_left_out: bool, n_chosen: int, n_hvg: int, min_cells: int) -> list[dict]:
    """Return the warnings about small batches and too few genes."""
    found = []
    if left_out:
        name = "W-HVG-01/all" if all_left_out else "W-HVG-01"
        found.append(message(name, n_batches=len(left_out), sizes=left_out, values=left_out, threshold=min_cells))
    if n_chosen < n_hvg:
        found.append(message("W-HVG-02", values={"n_chosen": n_chosen}, threshold=n_hvg))
    return found
