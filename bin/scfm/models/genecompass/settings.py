"""Settings of GeneCompass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scfm.models.core.settings import ModelSettings

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class GeneCompassSettings(ModelSettings):
    """Settings of GeneCompass.

    Attributes
    ----------
    gene_column
        Column of ``var`` with symbols or Ensembl ids; ``index`` = ``var_names``.
    species
        Species of the cells: its vector, its genes, its medians, its use of homologues.
    pooling
        ``cls`` = state of the species vector, ``mean`` = mean over the other places.
    attend_padding
        True: every cell is filled up to ``max_length`` with padding that is attended and part of the mean, as
        published. False: no padding, as in training.
    max_length
        Most genes per cell, and the places of a padded cell; None = the positions of the model (2048).
    release
        Folder of the model below ``--weights``, where there are several.
    """

    species: Literal["human", "mouse"] = "human"
    pooling: Literal["cls", "mean"] = "cls"
    attend_padding: bool = True
    max_length: int | None = None
    release: str = ""
