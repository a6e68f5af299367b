"""Seurat's integration with reciprocal PCA (Hao et al. 2021, doi 10.1016/j.cell.2021.04.048)."""

from __future__ import annotations

from scfm.integration.base import MethodInputs, MethodOutput
from scfm.integration.seurat.run import integrate_batches

DEFAULTS: dict = {"n_pcs": 50, "features": 3000, "dims": 50, "k_anchor": 5, "k_weight": 100}


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Look for anchors by projecting each batch on the components of the other; see :func:`integrate_batches`.

    The seed is not used: the method is deterministic.
    """
    return integrate_batches(inputs, settings, method="seurat_rpca", title="Seurat RPCA", reduction="rpca")
