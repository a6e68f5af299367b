"""Control: rows of the PCA permuted inside each label. The labels stay whole, batches are mixed inside them."""

from __future__ import annotations

from scfm.integration.base import MethodInputs, MethodOutput
from scfm.integration.controls import codes_of_labels, generator, permute_within

DEFAULTS: dict = {}


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Permute the rows of the PCA among the cells of each label; cells without a label keep their own row."""
    codes, _ = codes_of_labels(inputs.labels)
    rows = permute_within(codes, generator("shuffled_within_label", seed), keep=codes < 0)
    return MethodOutput(inputs.pca[rows])
