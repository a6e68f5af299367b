"""Settings of UCE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scfm.models.core.settings import ModelSettings

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class UCESettings(ModelSettings):
    """Settings of UCE; files are relative to the weights folder.

    Attributes
    ----------
    species
        A species of ``species_offsets.pkl``, e.g. ``human`` or ``mouse``.
    sample_size
        Genes drawn per cell, with replacement.
    pad_length
        Longest sentence; one that would be longer is an error (officially too).
    pad_mode
        ``masked``: a row does not depend on other cells; ``official``: padding takes part in attention, so a row
        depends on the longest sentence among its ``batch_size`` neighbours in file order.
    batch_size
        Cells per batch with ``pad_mode=official``; without effect otherwise.
    filter
        Drop genes detected in fewer than 10 cells, then cells with fewer than 25 of the remaining genes, as officially.
    heads
        Attention heads; not to be found in the file, 20 in both official ones.
    checkpoint
        Empty = the 4-layer model, else the 33-layer model, else the only one there.
    token_table
        Token vectors: empty = ``all_tokens.torch`` where it is there, by the official rule (it replaces the
        checkpoint's table only if its number of rows is another one); ``checkpoint`` = always the checkpoint's; or a
        file, by the same rule.
    chrom_token_offset
        Token of the first chromosome.
    rng
        ``keyed``: draws are a function of seed and cell id; ``legacy``: one NumPy stream for all cells in file order,
        as officially.
    numpy_seed
        Seed of the legacy stream (``--seed`` seeds the keyed draws).
    """

    species: str = "human"
    sample_size: int = 1024
    pad_length: int = 1536
    pad_mode: Literal["masked", "official"] = "masked"
    batch_size: int = 25
    filter: bool = True
    heads: int = 20
    checkpoint: str = ""
    token_table: str = ""
    chrom_token_offset: int = 143574
    rng: Literal["keyed", "legacy"] = "keyed"
    numpy_seed: int = 0
