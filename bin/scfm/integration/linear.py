"""Linear removal of the batch (as limma's removeBatchEffect, Ritchie et al. 2015, doi 10.1093/nar/gkv007), then PCA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.integration.base import MethodInputs, MethodOutput
from scfm.integration.designs import batch_and_kept
from scfm.text import split_list

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse

#: ``keep``: columns of obs whose effect stays, separated by commas; none: the batch alone is in the model.
DEFAULTS: dict = {"n_pcs": 50, "keep": ""}


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Fit every variable gene by batch and the kept columns, subtract the batch part, and take PCs of the rest.

    Unlike ComBat it changes no scale, shrinks nothing, and what the kept columns explain beside the batch stays.

    Parameters
    ----------
    inputs
        Log-normalised expression of the highly variable genes, batches and the kept columns are read.
    settings
        ``n_pcs`` components, ``keep`` columns of obs.
    seed
        Not used: the method is deterministic.

    Raises
    ------
    NotApplicable
        Where :func:`scfm.integration.designs.batch_and_kept` raises it.
    """
    import numpy as np

    keep = split_list(settings["keep"])
    batch, kept = batch_and_kept(inputs, keep, "Linear removal")
    matrix, _ = inputs.expression("X")
    effects = np.linalg.pinv(np.hstack([kept, batch]))[-batch.shape[1] :] @ matrix.astype(np.float64)
    values = components_of_rest(matrix, batch, effects, settings["n_pcs"])
    removed = removed_variance(matrix, batch, effects)
    return MethodOutput(values, details={"kept_columns": keep, "n_genes": matrix.shape[1], "removed_variance": removed})


def removed_variance(matrix: "sparse.csr_matrix", design: "np.ndarray", effects: "np.ndarray") -> float:
    """Return the share of the genes' total variance that ``matrix - design @ effects`` lacks, at most 1; arguments as
    of :func:`components_of_rest`. Below 0 where the variance has grown.
    """
    import numpy as np

    matrix = matrix.astype(np.float64)
    centred = design - design.mean(axis=0)
    means = np.asarray(matrix.mean(axis=0)).ravel()
    total = matrix.multiply(matrix).sum() - matrix.shape[0] * (means**2).sum()
    gone = 2 * (effects * (matrix.T @ centred).T).sum() - (effects * (centred.T @ centred @ effects)).sum()
    return float(gone / total) if total > 0 else 0.0


def components_of_rest(
    matrix: "sparse.csr_matrix", design: "np.ndarray", effects: "np.ndarray", n_pcs: int
) -> "np.ndarray":
    """Return the principal components of ``matrix - design @ effects`` without making it dense.

    Parameters
    ----------
    matrix
        Shape (n_cells, n_genes), CSR.
    design, effects
        Shapes (n_cells, n_columns) and (n_columns, n_genes): what is subtracted.
    n_pcs
        Components wanted; fewer where there are fewer genes or cells, or the batches take their rank.

    Returns
    -------
    Shape (n_cells, n_pcs), float64; the sign of a component makes its strongest loading positive.
    """
    import numpy as np

    from scfm.preparation.eigen import leading_eigenvectors

    matrix = matrix.astype(np.float64)
    n_cells, n_genes = matrix.shape
    mean = np.asarray(matrix.mean(axis=0)).ravel() - design.mean(axis=0) @ effects

    def project(vectors: "np.ndarray") -> "np.ndarray":
        return matrix @ vectors - design @ (effects @ vectors) - mean @ vectors

    def covariance(vector: "np.ndarray") -> "np.ndarray":
        scores = project(vector)
        return (matrix.T @ scores - effects.T @ (design.T @ scores) - mean * scores.sum()) / (n_cells - 1)

    _, vectors = leading_eigenvectors(covariance, n_genes, max(1, min(n_pcs, n_cells - 1, n_genes - 1)))
    return project(vectors)
