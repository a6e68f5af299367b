"""The tokens of some cells as tensors: what a model's ``forward`` is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from scfm.models.core.segments import Segments


@dataclass
class Batch:
    """Tokens of some cells as tensors, packed (cell after cell, no padding).

    Attributes
    ----------
    segments
        Where cells begin and end; also positions, first rows, pooling.
    fields
        Flat tensors over all tokens, shape (n_tokens,); integers are int64, floats float32.
    cells
        One entry per cell, shape (n_cells, ...).
    """

    segments: "Segments"
    fields: dict[str, "torch.Tensor"]
    cells: dict[str, "torch.Tensor"]
