"""Uncorrected PCA: the baseline that every integration is compared with."""

from __future__ import annotations

from scfm.integration.base import MethodInputs, MethodOutput

DEFAULTS: dict = {}


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Hand on the PCA of the preparation step (highly variable genes, centred, not scaled)."""
    return MethodOutput(inputs.pca)
