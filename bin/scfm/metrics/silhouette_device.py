"""Sums of distances for silhouettes, by PyTorch on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.neighbors.device import Columns, tiles
from scfm.task.device import on_device

if TYPE_CHECKING:
    import numpy as np


def distance_sums_on(
    values: "np.ndarray",
    codes: "np.ndarray",
    n_groups: int,
    rows: "np.ndarray | None",
    *,
    rounding: float,
    device: str,
) -> "np.ndarray":
    """Sum cells' Euclidean distances to all cells of each group, in double precision.

    Parameters
    ----------
    values, codes, n_groups, rows
        As in :func:`scfm.metrics.silhouette.distance_sums`.
    rounding
        Squared distances below this share of the squared norms are rounding of a zero.
    device
        PyTorch's name of a device.

    Returns
    -------
    Shape (n_rows, n_groups), float64.
    """
    import numpy as np
    import torch

    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=n_groups)).tolist()
    centred = values[order].astype(np.float64)
    centred -= centred.mean(axis=0)
    among = Columns(centred, device)
    place = np.argsort(order, kind="stable")
    own = on_device(place if rows is None else place[rows], device)
    norms = among.points.square().sum(dim=1)
    zero = rounding * norms
    sums = torch.empty(len(own), n_groups, dtype=torch.float64, device=device)
    for part in tiles(len(own), 2 * len(values)):
        mine = own[part]
        distance = among.squared_distances(among.points[mine])
        distance.masked_fill_(distance < zero[mine, None] + zero, 0).sqrt_()
        for group, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            sums[part, group] = distance[:, start:end].sum(dim=1)
    return sums.cpu().numpy()
