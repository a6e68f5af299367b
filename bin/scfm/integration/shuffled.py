"""Control: the PCA with its rows dealt out to other cells. Labels and batches carry no signal, the shape stays."""

from __future__ import annotations

from scfm.integration.base import MethodInputs, MethodOutput
from scfm.integration.controls import generator, permute_within

DEFAULTS: dict = {}


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Permute the rows of the PCA over all cells."""
    import numpy as np

    one_group = np.zeros(len(inputs.cell_ids), dtype=int)
    return MethodOutput(inputs.pca[permute_within(one_group, generator("shuffled", seed))])
