"""Harmony (Korsunsky et al. 2019, doi 10.1038/s41592-019-0619-0) on the prepared PCA."""

from __future__ import annotations

from scfm.integration.base import MethodInputs, MethodOutput
from scfm.registries.messages import message

#: Classic Harmony; ``lambda`` null lets harmonypy 2 estimate the ridge penalty of each cluster.
DEFAULTS: dict = {"theta": 2.0, "lambda": 1.0, "sigma": 0.1, "max_clusters": 100, "max_iter": 10}
_CELLS_PER_CLUSTER = 30


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Correct the PCA with soft clusters in which batches are pulled together.

    Parameters
    ----------
    inputs
        PCA and batches are read.
    settings
        ``theta`` diversity penalty (0: none; larger: stronger mixing), ``lambda`` ridge penalty of the correction,
        ``sigma`` width of the soft clusters, ``max_clusters`` (the number is one per 30 cells up to this),
        ``max_iter`` rounds of clustering and correction.
    seed
        Start of the clustering.
    """
    import logging

    import numpy as np
    from harmonypy import run_harmony

    inputs.require_batches("Harmony")
    logging.getLogger("harmonypy").setLevel(logging.WARNING)
    n_clusters = int(max(2, min(settings["max_clusters"], round(len(inputs.cell_ids) / _CELLS_PER_CLUSTER))))
    result = run_harmony(
        inputs.pca.astype(np.float64),
        {"batch": inputs.batches},
        "batch",
        theta=settings["theta"],
        lamb=settings["lambda"],
        sigma=settings["sigma"],
        nclust=n_clusters,
        max_iter_harmony=settings["max_iter"],
        random_state=seed,
        ncores=inputs.cpus,
        verbose=False,
    )
    rounds = len(result.kmeans_rounds)
    warnings = []
    if rounds >= settings["max_iter"]:
        warnings.append(
            message(
                "W-TRN-04/harmony",
                dataset=inputs.dataset,
                method="harmony",
                values={"rounds": rounds},
                threshold=settings["max_iter"],
            )
        )
    return MethodOutput(
        np.asarray(result.Z_corr), warnings=warnings, details={"n_clusters": n_clusters, "rounds": rounds}
    )
