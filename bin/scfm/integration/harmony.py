"""Harmony (Korsunsky et al. 2019, doi 10.1038/s41592-019-0619-0) on the prepared PCA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.integration.base import MethodInputs, MethodOutput
from scfm.integration.harmony_reference import HarmonyReference
from scfm.integration.staged import correct_in_stages, stage_messages
from scfm.registries.instances import keys_of_stages
from scfm.registries.messages import message
from scfm.text import split_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import numpy as np

#: The published Harmony; ``lambda`` null lets harmonypy 2 estimate the ridge penalty of each cluster. The default
#: ``epsilon`` of harmonypy 2 is 1e-2, which often ends it after one round (docs/methods/harmony.md).
DEFAULTS: dict = {
    "theta": 2.0,
    "lambda": 1.0,
    "sigma": 0.1,
    "max_clusters": 100,
    "max_iter": 10,
    "epsilon": 1e-4,
    "keys": "",
}
#: settings of an instance that no parameter of the run has: the ordered keys of ``--stages``, and the stages to run
OF_INSTANCES: dict = {"stages": "", "stage": 0}
_CELLS_PER_CLUSTER = 30
#: relative fall of the objective in the last round above which a run that was cut at its limit counts as unfinished:
#: the change that harmonypy 2 calls settled
STILL_FALLING = 1e-2


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Correct the PCA with soft clusters in which batches are pulled together.

    Parameters
    ----------
    inputs
        PCA and batches are read.
    settings
        ``theta`` diversity penalty (0: none; larger: stronger mixing), ``lambda`` ridge penalty of the correction,
        ``sigma`` width of the soft clusters, ``max_clusters`` (the number is one per 30 cells up to this),
        ``max_iter`` rounds of clustering and correction at most, ``epsilon`` relative fall of the objective below
        which the rounds end, ``keys`` further columns of obs that are corrected for beside the batch (comma list), each
        with the same ``theta`` and ``lambda``. An instance has ``stages`` and ``stage`` (:data:`OF_INSTANCES`).
    seed
        Start of the clustering.
    """
    import numpy as np

    if settings.get("stages"):
        return _in_stages(inputs, settings, seed)
    inputs.require_batches("Harmony")
    keys = split_list(settings["keys"])
    further = inputs.obs_columns(keys).astype(str) if keys else {}
    # a key that is called batch too must not take the place of the batch
    columns = {"batch": inputs.batches, **{f"key {key}": further[key].to_numpy() for key in keys}}
    result, n_clusters = _run(inputs.pca, columns, settings, seed, inputs.cpus)
    facts = convergence(result.objective_harmony, settings)
    corrected, folder = np.asarray(result.Z_corr), inputs.workdir / "model"
    folder.mkdir(exist_ok=True)
    HarmonyReference.of(np.asarray(result.R), corrected, settings["sigma"]).write(folder / "harmony.npz")
    return MethodOutput(
        corrected,
        extras={"model": folder},
        warnings=convergence_messages(facts, settings, dataset=inputs.dataset, seed=seed),
        details={"n_clusters": n_clusters, "objective": [float(x) for x in result.objective_harmony], **facts},
    )


def _run(
    values: "np.ndarray", columns: "Mapping[str, np.ndarray]", settings: dict, seed: int, cpus: int
) -> "tuple[Any, int]":
    """Return harmonypy's result for some cells, and the number of soft clusters.

    Parameters
    ----------
    values
        Shape (n_cells, n_dims).
    columns
        Batch and further keys of the cells, each of shape (n_cells,).
    """
    import logging

    import numpy as np
    from harmonypy import run_harmony

    logging.getLogger("harmonypy").setLevel(logging.WARNING)
    n_clusters = int(max(2, min(settings["max_clusters"], round(len(values) / _CELLS_PER_CLUSTER))))
    result = run_harmony(
        values.astype(np.float64),
        dict(columns),
        list(columns),
        theta=settings["theta"],
        lamb=settings["lambda"],
        sigma=settings["sigma"],
        nclust=n_clusters,
        max_iter_harmony=settings["max_iter"],
        epsilon_harmony=settings["epsilon"],
        random_state=seed,
        ncores=cpus,
        verbose=False,
    )
    return result, n_clusters


def _in_stages(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Correct the PCA in the first ``stage`` of the ``stages``; every task starts from the PCA, so that none waits."""
    from dataclasses import asdict

    import numpy as np

    keys = keys_of_stages(settings["stages"])
    settled = []

    def correct(values: "np.ndarray", batches: "np.ndarray") -> "np.ndarray":
        result, _ = _run(values, {"batch": batches}, settings, seed, inputs.cpus)
        settled.append(convergence(result.objective_harmony, settings)["converged"])
        return np.asarray(result.Z_corr)

    corrected, facts = correct_in_stages(
        inputs.pca, inputs.obs_columns(keys).astype(str), int(settings["stage"]), correct
    )
    return MethodOutput(
        corrected,
        warnings=stage_messages(facts, dataset=inputs.dataset, method="harmony", seed=seed),
        details={"stages": [asdict(stage) for stage in facts], "n_runs": len(settled), "n_converged": sum(settled)},
    )


def convergence(objective: "Sequence[float]", settings: dict) -> dict:
    """Return how the rounds of a run ended.

    Parameters
    ----------
    objective
        Harmony's objective before the first and after every round; lower is better.
    settings
        ``max_iter`` and ``epsilon``.

    Returns
    -------
    ``rounds``; ``last_change``, the relative fall of the objective in the last round (negative where it rose);
    ``converged``: its size is below ``epsilon``.
    """
    before, last = objective[-2:]
    change = float((before - last) / abs(before))
    return {"rounds": len(objective) - 1, "last_change": change, "converged": abs(change) < settings["epsilon"]}


def convergence_messages(facts: dict, settings: dict, *, dataset: str, seed: int) -> list[dict]:
    """Return W-TRN-06 where one round was enough to end the run, W-TRN-04 where it was cut while still improving.

    Parameters
    ----------
    facts
        Those of :func:`convergence`.
    settings
        Settings of the run.
    dataset, seed
        What was run.
    """
    about = {"dataset": dataset, "method": "harmony", "seed": seed, "values": facts}
    if facts["converged"] and facts["rounds"] == 1 < settings["max_iter"]:
        return [message("W-TRN-06", **about, threshold=settings["epsilon"])]
    if not facts["converged"] and facts["last_change"] > STILL_FALLING:
        return [message("W-TRN-04/harmony", **about, max_iter=settings["max_iter"], threshold=STILL_FALLING)]
    return []
