"""Settings of Nicheformer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scfm.models.core.settings import ModelSettings

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class NicheformerSettings(ModelSettings):
    """Settings of Nicheformer.

    Attributes
    ----------
    checkpoint
        Lightning ``.ckpt`` or folder in the layout of the model hub, relative to the weights; ``auto`` =
        ``nicheformer.ckpt``, else the folder itself or its sub-folder ``hf``.
    modality
        ``dissociated`` or ``spatial``.
    assay_column, organism_column
        Columns of ``obs``; ``auto`` = ``assay``, and ``specie`` or ``organism``, where they are there; empty = the
        default for all cells.
    default_assay, default_organism
        Name or token for cells without a known one.
    technology_mean
        ``.npy`` relative to the weights; empty = ``dissociated_mean_script.npy``.
    max_length
        Most genes of a cell; None = as many as fit behind the context tokens.
    layer
        Layer whose output is read: -1 = the last, -2 = the one before, k = after k layers.
    with_context
        Whether the context tokens take part in the mean.
    nan_means
        Genes without a mean: ``official``, ``ignore`` or ``pretraining``; see
        :func:`scfm.models.nicheformer.parts.read_means`.
    """

    checkpoint: str = "auto"
    modality: Literal["dissociated", "spatial"] = "dissociated"
    assay_column: str = "auto"
    organism_column: str = "auto"
    default_assay: str = "10x 5' v2"
    default_organism: str = "human"
    technology_mean: str = ""
    max_length: int | None = None
    layer: int = -1
    with_context: bool = False
    nan_means: Literal["official", "ignore", "pretraining"] = "official"
