"""Control: noise. The floor of every label metric, and perfectly mixed batches."""

from __future__ import annotations

from scfm.integration.base import MethodInputs, MethodOutput
from scfm.integration.controls import generator

DEFAULTS: dict = {}


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Draw standard normal coordinates, as many dimensions as the PCA has."""
    import numpy as np

    values = generator("random", seed).standard_normal(inputs.pca.shape, dtype=np.float32)
    return MethodOutput(values)
