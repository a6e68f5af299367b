"""Seurat's integration with canonical correlation analysis (Stuart et al. 2019, doi 10.1016/j.cell.2019.05.031)."""

from __future__ import annotations

from scfm.integration.base import MethodInputs, MethodOutput
from scfm.integration.seurat.run import integrate_batches

DEFAULTS: dict = {"n_pcs": 50, "features": 3000, "dims": 50, "k_anchor": 5, "k_filter": 200, "k_weight": 100}


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Look for anchors in the canonical variates of each pair of batches; see :func:`integrate_batches`.

    The seed is not used: the method is deterministic.
    """
    return integrate_batches(inputs, settings, method="seurat_cca", title="Seurat CCA", reduction="cca")
