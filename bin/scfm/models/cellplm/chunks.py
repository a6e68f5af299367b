"""Which cells attend to each other in CellPLM, and the official stream of random numbers over these chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scfm.errors import ScfmError
from scfm.text import plural

if TYPE_CHECKING:
    import torch

    from scfm.models.core.reader import Counts


class Noise:
    """The official stream of random numbers of a run: cluster draws, chunk after chunk.

    Parameters
    ----------
    seed
        What ``torch.manual_seed`` would be given.
    """

    def __init__(self, seed: int) -> None:
        import torch

        self._generator = torch.Generator("cpu").manual_seed(seed)
        torch.empty((), dtype=torch.int64).random_(generator=self._generator)  # the data loader's own draw

    def uniform(self, n_cells: int, n_clusters: int, n_dims: int) -> "torch.Tensor":
        """Return the uniform draws of the next chunk, shape (n_cells, n_clusters); an unused normal sample is
        drawn, too.
        """
        import torch

        draws = torch.rand(n_cells, n_clusters, generator=self._generator)
        torch.randn(n_cells, n_dims, generator=self._generator)
        return draws


def plan_chunks(counts: "Counts", group_column: str, cells_per_chunk: int) -> list[np.ndarray]:
    """Return the rows of the file that attend to each other: groups in sorted order of their values, cut in file order.

    Parameters
    ----------
    counts
        The source; all its cells are planned.
    group_column
        Column of ``obs``; empty = one group.
    cells_per_chunk
        Size of a chunk, the last of a group may be smaller; 0 = the whole group.
    """
    n = len(counts.cell_ids)
    groups = [np.arange(n)]
    if group_column:
        column = counts.obs_column(group_column)
        if column.isna().any():
            raise ScfmError(
                f"{counts.name}: {plural(int(column.isna().sum()), 'cell')} of {n:,} have no value in obs column"
                f" '{group_column}' (setting group_column). Every cell must belong to a group: fill the column or leave"
                " these cells out."
            )
        values = column.astype(object).to_numpy()
        try:
            labels = sorted(set(values))
        except TypeError:
            values = values.astype(str)
            labels = sorted(set(values))
        place = {label: i for i, label in enumerate(labels)}
        codes = np.fromiter((place[v] for v in values), dtype=np.int64, count=n)
        order = np.argsort(codes, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    size = cells_per_chunk or max(n, 1)
    return [rows[a : a + size] for rows in groups for a in range(0, len(rows), size)]
