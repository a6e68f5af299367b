"""ComBat (Johnson et al. 2007, doi 10.1093/biostatistics/kxj037), then PCA: the linear control."""

from __future__ import annotations

from scfm.errors import ScfmError
from scfm.integration.base import MethodInputs, MethodOutput
from scfm.integration.designs import batch_and_kept
from scfm.text import split_list

#: ``covariates``: columns of obs whose effect stays, separated by commas.
DEFAULTS: dict = {"n_pcs": 50, "covariates": ""}


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Remove a shift and a scale per batch and gene (empirical Bayes) from the log-normalised HVGs, then take PCs.

    Parameters
    ----------
    inputs
        Log-normalised expression of the highly variable genes and batches are read. The matrix is made dense.
    settings
        ``n_pcs`` components kept, ``covariates`` columns of obs in the model beside the batch.
    seed
        Not used: the method is deterministic.
    """
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from scanpy.preprocessing import combat
    from sklearn.decomposition import PCA

    covariates = split_list(settings["covariates"])
    _, kept = batch_and_kept(inputs, covariates, "ComBat")
    matrix, _ = inputs.expression("X")
    _check_batch_sizes(inputs)
    dense = matrix.toarray()
    dense = dense[:, dense.std(axis=0) > 0]  # a gene without variance has no scale to adjust
    # as numbers: scanpy gives a categorical covariate all of its levels, which makes the model singular
    obs = pd.DataFrame(kept[:, 1:], index=inputs.obs.index).rename(columns="kept_{}".format)
    adata = AnnData(dense, obs=obs.assign(batch=pd.Categorical(inputs.batches.astype(str))))
    with np.errstate(divide="ignore", invalid="ignore"):  # scanpy's test of convergence divides by shifts of zero
        corrected = combat(adata, key="batch", covariates=list(obs) or None, inplace=False)
    broken = ~np.isfinite(corrected).all(axis=0)
    if broken.any():
        raise ScfmError(
            f"ComBat gave values that are not finite for {int(broken.sum())} of {corrected.shape[1]} genes. "
            "A batch in which most genes are constant is the usual cause; merge or drop the smallest batches."
        )
    removed = 1 - corrected.var(axis=0).sum() / dense.var(axis=0).sum()
    n_pcs = min(settings["n_pcs"], min(corrected.shape) - 1)
    values = PCA(n_pcs, svd_solver="arpack", random_state=0).fit_transform(corrected)
    return MethodOutput(values, details={"n_genes": corrected.shape[1], "removed_variance": float(removed)})


def _check_batch_sizes(inputs: MethodInputs) -> None:
    """Raise where a batch has too few cells for a variance."""
    sizes = inputs.obs["batch"].value_counts()
    small = sizes[sizes < 2]
    if len(small):
        raise ScfmError(
            f"ComBat needs two cells in every batch to estimate a variance; {', '.join(map(str, small.index))} "
            f"{'has' if len(small) == 1 else 'have'} one. Merge or drop the smallest batches."
        )
