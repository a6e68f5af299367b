"""Batch centring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.corrections import core

if TYPE_CHECKING:
    import numpy as np


def correct(
    values: "np.ndarray",
    batches: "np.ndarray",
    labels: "np.ndarray",
    *,
    center_max_cells: int = 10_000,
    center_seed: int = 42,
) -> "np.ndarray":
    """Subtract each batch's mean; see :func:`scfm.corrections.core.center`."""
    return core.center(values, batches, max_cells=center_max_cells, seed=center_seed)
