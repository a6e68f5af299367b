"""Settings of CellPLM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scfm.models.core.settings import ModelSettings

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class CellPLMSettings(ModelSettings):
    """Settings of CellPLM.

    Attributes
    ----------
    checkpoint
        Common beginning of ``<checkpoint>.config.json`` and ``<checkpoint>.best.ckpt``, relative to the weights folder;
        empty = the only one there, or ``20231027_85M``.
    group_column
        Column of ``obs``: only cells of the same value attend to each other (officially the column ``batch``, where
        there is one). Empty = one group, in file order.
    cells_per_chunk
        Each group is cut into chunks of this many cells, in file order, and only cells of a chunk attend to each other;
        0 = never cut.
    latent_draw
        Cluster of a cell where the latent space is a Gaussian mixture: ``argmax`` (the most likely) or ``sample``
        (drawn; the official stream of random numbers, seeded by ``--seed``).
    """

    checkpoint: str = ""
    group_column: str = ""
    cells_per_chunk: int = 0
    latent_draw: Literal["argmax", "sample"] = "argmax"
