"""Settings of scFoundation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scfm.models.core.settings import ModelSettings

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class ScFoundationSettings(ModelSettings):
    """Settings of scFoundation.

    Attributes
    ----------
    gene_column
        ``auto``: column ``gene_name`` of ``var`` where there is one (as officially), else ``var_names``.
    version
        ``ce`` = entry ``cell`` of the checkpoint (cell embeddings), ``rde`` = entry ``rde`` (read-depth enhancement).
    pooling
        ``all`` = S, T, maximum and mean over the genes, side by side; ``max`` = maximum over all tokens.
    resolution
        Token T, with the cell's total n: ``fN`` = log10(n * N), ``aN`` = log10(n) + N, ``tN`` = N.
    pre_normalized
        ``F`` = raw counts, ``T`` = log1p of counts per 10,000, ``A`` = like ``T`` with the cell's total in the last
        column.
    """

    gene_column: str = "auto"
    version: Literal["ce", "rde"] = "ce"
    pooling: Literal["all", "max"] = "all"
    resolution: str = "f1"
    pre_normalized: Literal["F", "T", "A"] = "F"
