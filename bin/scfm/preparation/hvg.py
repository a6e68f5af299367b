"""Highly variable genes, batch by batch, as a mask: all genes stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.preparation.moments import log_moments
from scfm.preparation.normalize import log_cp10k
from scfm.preparation.ranking import SPANS, rank_usable
from scfm.registries.messages import message
from scfm.text import plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from scfm.preparation.counts import Counts


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
    counts: "Counts",
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
    counts
        Shape (n_cells, n_genes). ``cell_ranger`` reads them chunk by chunk where they are on disk; the other flavors
        hold them in memory.
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

    names = np.asarray(genes, dtype=object)
    none = np.zeros(len(genes), dtype=bool)
    exclude, force = (none if exclude is None else exclude), (none if force is None else force)
    rank = _rank_held if counts.is_held or flavor != "cell_ranger" else _rank_chunks
    seen, pool = _pool(counts, exclude & ~force)
    if len(pool) < 2:
        raise ScfmError(
            f"Only {plural(len(pool), 'gene')} can be ranked as variable ({int(seen.sum())} have counts, "
            f"{int(exclude.sum())} are excluded); at least 2 are needed."
        )
    table, left_out = rank(counts, batch, names, pool, n_top=n_hvg, flavor=flavor, min_cells=min_cells)
    ranking = pd.Index(table.index)
    forced = pd.Index(names[pool][force[pool]])
    chosen = [*forced, *ranking.difference(forced, sort=False)][: max(n_hvg, len(forced))]
    places = pd.Series(np.arange(len(ranking), dtype=float), index=ranking).reindex(genes).to_numpy()
    per_batch = table["n_batches"].reindex(genes).fillna(0).astype(int).to_numpy()
    notes = _notes(
        left_out, all_left_out=len(left_out) == len(set(batch)), n_chosen=len(chosen), n_hvg=n_hvg, min_cells=min_cells
    )
    if table.attrs.get("span", SPANS[0]) != SPANS[0]:
        span = table.attrs["span"]
        notes.append(message("W-HVG-05", values={"span": span}, threshold=SPANS[0]))
    empty = [str(g) for g in names[force & ~seen]]
    if empty:
        notes.append(message("W-HVG-04", n_genes=len(empty), values={"genes": empty}))
    return Selection(np.isin(names, chosen), places, per_batch, notes)


def _pool(counts: "Counts", exclude: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Return which genes have counts, as a mask, and which of them can be ranked, as positions."""
    import numpy as np

    seen = np.zeros(counts.shape[1], dtype=bool)
    for _, chunk in counts.chunks():
        seen[chunk.indices[chunk.data > 0]] = True
    return seen, np.flatnonzero(seen & ~exclude)


def _rank_held(
    counts: "Counts",
    batch: "np.ndarray",
    names: "np.ndarray",
    pool: "np.ndarray",
    *,
    n_top: int,
    flavor: str,
    min_cells: int,
) -> "tuple[pd.DataFrame, dict[str, int]]":
    """Rank genes of counts in memory; only where some can't be ranked the matrix is cut."""
    values = counts.whole()
    values = log_cp10k(values) if flavor == "cell_ranger" else values
    values = values if len(pool) == len(names) else values[:, pool]
    return rank_usable(values, batch, names[pool], n_top=n_top, flavor=flavor, min_cells=min_cells)


def _rank_chunks(
    counts: "Counts",
    batch: "np.ndarray",
    names: "np.ndarray",
    pool: "np.ndarray",
    *,
    n_top: int,
    flavor: str,
    min_cells: int,
) -> "tuple[pd.DataFrame, dict[str, int]]":
    """Rank genes by their moments, one chunk of the counts in memory at a time."""
    moments = log_moments(counts, batch)
    sizes = {str(level): int(n) for level, n in zip(moments.levels, moments.sizes, strict=True)}
    large = moments.sizes >= min_cells
    values, of_pair = (moments.select(large) if large.any() else moments.pooled()).pairs()
    table, lost = rank_usable(values[:, pool], of_pair, names[pool], n_top=n_top, flavor=flavor, min_cells=2)
    return table, {level: n for level, n in sizes.items() if n < min_cells or level in lost}


def _notes(left_out: dict[str, int], *, all_left_out: bool, n_chosen: int, n_hvg: int, min_cells: int) -> list[dict]:
    """Return the warnings about small batches and too few genes."""
    found = []
    if left_out:
        name = "W-HVG-01/all" if all_left_out else "W-HVG-01"
        found.append(message(name, n_batches=len(left_out), sizes=left_out, values=left_out, threshold=min_cells))
    if n_chosen < n_hvg:
        found.append(message("W-HVG-02", values={"n_chosen": n_chosen}, threshold=n_hvg))
    return found
