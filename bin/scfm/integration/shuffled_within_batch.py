"""Control: rows of the PCA permuted inside each batch. The batch effect stays whole, the labels are gone."""

from __future__ import annotations

from scfm.integration.base import MethodInputs, MethodOutput
from scfm.integration.controls import generator, permute_within

DEFAULTS: dict = {}


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Permute the rows of the PCA among the cells of each batch."""
    rows = permute_within(inputs.batches, generator("shuffled_within_batch", seed))
    return MethodOutput(inputs.pca[rows])
