"""scVI (Lopez et al. 2018, doi 10.1038/s41592-018-0229-2): latent means of a count model with the batch given."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.integration.base import MethodInputs, MethodOutput
from scfm.integration.scvi_files import FOR_QUERIES, covariate_column, save_model
from scfm.integration.training import (
    TrainingLimits,
    covariate_warnings,
    coverage_warnings,
    judge_training,
    training_messages,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData

#: ``max_epochs`` null: the library's rule; ``validation_share`` null: min(0.1, 20000 / n), 0: no validation, no early
#: stopping and the weights of the last epoch (as in the study this benchmark follows); ``threads``: of PyTorch on the
#: CPU, fixed so that the numbers do not depend on the cores of the task; ``limit_train_batches``: minibatches per epoch
#: at most; ``kl_warmup_epochs``: epochs over which the weight of the KL divergence rises to 1, 0: 1 from the start;
#: ``for_queries``: new batches can be mapped to the model (``scfm.integration.scvi_files``); the last seven: limits of
#: the verdict on the training (``scfm.integration.training``).
DEFAULTS: dict = {
    "n_latent": 30,
    "n_layers": 2,
    "n_hidden": 128,
    "likelihood": "nb",
    "max_epochs": None,
    "early_stopping_patience": 15,
    "kl_warmup_epochs": 400,
    "validation_share": None,
    "batch_size": 128,
    "limit_train_batches": None,
    "continuous_covariates": [],
    "categorical_covariates": [],
    "for_queries": False,
    "threads": 1,
    "max_gap": 0.05,
    "strong_gap": 0.10,
    "max_rise": 0.01,
    "max_patience": 20,
    "min_improvement": 1e-3,
    "max_depth_correlation": 0.9,
    "max_condition_r2": 0.5,
}
#: Lightning's name of an accelerator -> device of the sidecar
DEVICES = {"gpu": "cuda", "cpu": "cpu"}
_LIKELIHOODS = ("nb", "zinb", "poisson")
_FEW_CELLS = 20_000
_MOST_EPOCHS = 400
#: a last minibatch smaller than this has no usable batch normalisation
_LEAST_MINIBATCH = 3


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Train scVI on the counts of the highly variable genes and return the posterior means of the latent variables.

    Parameters
    ----------
    inputs
        Counts, batches and the covariates named in the settings are read.
    settings
        See ``DEFAULTS``; ``early_stopping_patience`` 0 trains to ``max_epochs``.
    seed
        Seeds the weights, the minibatches and the split of validation cells.
    """
    inputs.require_batches("scVI")
    if settings["likelihood"] not in _LIKELIHOODS:
        raise ScfmError(f"scvi_likelihood is '{settings['likelihood']}'; it can be {', '.join(_LIKELIHOODS)}.")
    accelerator = accelerator_of(inputs.device)

    import scvi as library

    from scfm.integration.best_epoch import torch_threads

    quiet()
    library.settings.seed = seed
    adata, warnings = registered_counts(inputs, settings)
    with torch_threads(settings["threads"]):
        model, details = trained_model(adata, settings, seed, accelerator)
        values = model.get_latent_representation()
    history = history_table(model.history)
    about = {"dataset": inputs.dataset, "method": "scvi", "seed": seed}
    training, told = judged(history, details, settings, about)
    warnings += told + coverage_warnings(
        details["n_train"], settings["batch_size"], settings["limit_train_batches"], **about
    )
    details = {"device": DEVICES[accelerator], "n_genes": adata.n_vars, "training": training}
    return MethodOutput(values, save_model(model, history, inputs.workdir, settings), warnings, details)


def trained_model(adata: "AnnData", settings: dict, seed: int, accelerator: str) -> "tuple[Any, dict]":
    """Return a trained model of scVI with the weights of its best epoch, and the facts of the training.

    Parameters
    ----------
    adata
        From :func:`registered_counts`.
    settings, seed
        As in :func:`integrate`.
    accelerator
        From :func:`accelerator_of`.
    """
    import scvi as library

    model = library.model.SCVI(
        adata,
        n_latent=settings["n_latent"],
        n_layers=settings["n_layers"],
        n_hidden=settings["n_hidden"],
        gene_likelihood=settings["likelihood"],
        **(FOR_QUERIES if settings["for_queries"] else {}),
    )
    return model, _train(model, settings, seed, accelerator)


def judged(history: "pd.DataFrame", facts: dict, settings: dict, about: dict) -> tuple[dict, list[dict]]:
    """Return the record of a training for the sidecar, with the verdict on it, and the messages of the verdict.

    Parameters
    ----------
    history
        From :func:`history_table`.
    facts
        ``max_epochs``, ``patience`` and what else is recorded.
    settings
        For the limits.
    about
        ``dataset``, ``method`` and ``seed`` of the messages.
    """
    limits = TrainingLimits.of(settings)
    judgement = judge_training(history, max_epochs=facts["max_epochs"], patience=facts["patience"], limits=limits)
    return facts | judgement.facts | {"verdict": judgement.verdict}, training_messages(judgement, **about)


def accelerator_of(device: str) -> str:
    """Return Lightning's name of a device; a GPU that was asked for and is absent is an error, not a slow run."""
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ScfmError(
            "A GPU was asked for (--device cuda) and PyTorch finds none. Use --device auto, or a container and node"
            " with a GPU."
        )
    return "gpu" if available and device != "cpu" else "cpu"


def quiet() -> None:
    """Let scVI and Lightning log warnings only; Lightning sets its own level when imported."""
    for name in ("lightning.pytorch", "lightning.fabric", "scvi"):
        logging.getLogger(name).setLevel(logging.WARNING)


def registered_counts(inputs: MethodInputs, settings: dict) -> "tuple[AnnData, list[dict]]":
    """Return counts of the HVGs registered with scVI, and warnings about the covariates."""
    import numpy as np
    import pandas as pd
    import scvi as library
    from anndata import AnnData

    counts, genes = inputs.expression("counts")
    obs = pd.DataFrame({"batch": pd.Categorical(inputs.batches)}, index=inputs.cell_ids)
    continuous, categorical = settings["continuous_covariates"], settings["categorical_covariates"]
    warnings: list[dict] = []
    both = sorted(set(continuous) & set(categorical))
    if both:
        raise ScfmError(
            f"Columns {both} are named in scvi_continuous_covariates and in scvi_categorical_covariates; choose one."
        )
    if continuous or categorical:
        columns = inputs.obs_columns([*continuous, *categorical])
        for name in continuous:
            if not pd.api.types.is_numeric_dtype(columns[name]):
                raise ScfmError(
                    f"scvi_continuous_covariates: column '{name}' of obs holds {columns[name].dtype}, not numbers. Name"
                    " it in scvi_categorical_covariates instead."
                )
        numbers, levels = columns[continuous].astype(np.float32), columns[categorical].astype(str).astype("category")
        obs = obs.join(numbers.rename(columns=covariate_column)).join(levels.rename(columns=covariate_column))
        depth = (
            inputs.obs["n_counts"].to_numpy() if "n_counts" in inputs.obs else np.asarray(counts.sum(axis=1)).ravel()
        )
        warnings = covariate_warnings(
            numbers.join(levels),
            depth,
            dataset=inputs.dataset,
            method="scvi",
            condition=inputs.obs.get("condition"),
            limits=TrainingLimits.of(settings),
        )
    adata = AnnData(counts, obs=obs, var=pd.DataFrame(index=genes))
    library.model.SCVI.setup_anndata(
        adata,
        batch_key="batch",
        continuous_covariate_keys=[covariate_column(name) for name in continuous] or None,
        categorical_covariate_keys=[covariate_column(name) for name in categorical] or None,
    )
    return adata, warnings


def split_cells(n_cells: int, share: float | None, batch_size: int, seed: int) -> "tuple[np.ndarray, np.ndarray]":
    """Split cells into training and validation.

    Parameters
    ----------
    n_cells
        Number of cells.
    share
        Share of validation cells in [0, 1); None for min(0.1, 20000 / n).
    batch_size
        Minibatch size. With validation, training cells that would form a last minibatch of one or two are moved to it.
    seed
        Seed of the split.

    Returns
    -------
    Positions of the training cells and of the validation cells, sorted.
    """
    import numpy as np

    share = min(0.1, _FEW_CELLS / n_cells) if share is None else share
    if not 0 <= share < 1:
        raise ScfmError(f"scvi_validation_share is {share}; expected at least 0 and less than 1.")
    n_validation = int(np.floor(share * n_cells))
    left = (n_cells - n_validation) % batch_size
    if n_validation and left < _LEAST_MINIBATCH:
        n_validation += left
    order = np.random.default_rng(seed).permutation(n_cells)
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])


def default_epochs(n_cells: int) -> int:
    """Return scvi-tools' own number of epochs: 400 up to 20,000 cells, then fewer in proportion, at least one."""
    return max(1, min(_MOST_EPOCHS, round(_MOST_EPOCHS * _FEW_CELLS / n_cells)))


def _train(model: "object", settings: dict, seed: int, accelerator: str) -> dict:
    """Train, restore the best epoch's weights where cells were held out, and return the facts of the training."""
    import numpy as np

    from scfm.integration.best_epoch import best_epoch_callback

    n_cells = model.adata.n_obs
    train, validation = split_cells(n_cells, settings["validation_share"], settings["batch_size"], seed)
    max_epochs = settings["max_epochs"] or default_epochs(n_cells)
    patience = settings["early_stopping_patience"] if len(validation) else None
    stopping = {"early_stopping": True, "early_stopping_patience": patience} if patience else {}
    limit = settings["limit_train_batches"]
    partial = {"limit_train_batches": limit} if limit else {}
    best = best_epoch_callback()
    model.train(
        max_epochs=max_epochs,
        accelerator=accelerator,
        devices=1,
        batch_size=settings["batch_size"],
        check_val_every_n_epoch=1 if len(validation) else None,
        plan_kwargs={"n_epochs_kl_warmup": settings["kl_warmup_epochs"] or None},
        enable_progress_bar=False,
        callbacks=[best],
        datasplitter_kwargs={
            "external_indexing": [train, validation, np.array([], dtype=int)],
            "drop_last": 0 < len(train) % settings["batch_size"] < _LEAST_MINIBATCH < len(train),
        },
        **stopping,
        **partial,
    )
    return {
        "max_epochs": max_epochs,
        "patience": patience,
        "n_train": len(train),
        "n_validation": len(validation),
        "cells_per_epoch": min(len(train), limit * settings["batch_size"]) if limit else len(train),
        "restored_epoch": best.best_epoch,
    }


def history_table(history: "dict[str, pd.DataFrame]") -> "pd.DataFrame":
    """Return scvi-tools' history as one table: ``epoch`` (from 1), then one column per quantity logged by epoch."""
    import pandas as pd

    n_epochs = len(history["elbo_train"])
    columns = {"epoch": range(1, n_epochs + 1)}
    for name, frame in history.items():
        if len(frame) == n_epochs:  # a quantity logged by step has another length
            columns[name] = frame.iloc[:, 0].to_numpy(dtype=float)
    return pd.DataFrame(columns)
