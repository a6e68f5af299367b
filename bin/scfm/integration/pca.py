"""Uncorrected PCA: the baseline that every integration is compared with."""

from __future__ import annotations

from scfm.integration.base import MethodInputs, MethodOutput

DEFAULTS: dict = {}


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Hand on the PCA of the preparation step (highly variable genes, centred, not scaled).

    ``last_to_first`` in the sidecar is the variance of the last component over that of the first, 0 to 1: near 1 the
    components were cut where they still matter.
    """
    spread = inputs.pca.var(axis=0, dtype="float64")
    return MethodOutput(inputs.pca, details={"last_to_first": float(spread[-1] / spread[0]) if spread[0] else 0.0})
