"""scArches (Lotfollahi et al. 2022, doi 10.1038/s41587-021-01001-7): new batches learned by a trained model, whose
other weights stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.integration.best_epoch import torch_threads
from scfm.integration.scvi import default_epochs, quiet
from scfm.integration.scvi_files import BATCH, LABEL, UNLABELLED, read_model

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse

#: added to a batch of the query that the reference has too
_NEW = " (new cells)"


@dataclass(frozen=True)
class Training:
    """How a model is trained on new cells.

    Attributes
    ----------
    max_epochs
        Epochs at most; fewer where scvi-tools' own rule gives fewer (400 up to 20,000 cells).
    batch_size, threads
        scVI's settings of the reference.
    kl_weight
        Weight of the KL divergence, above 0 to 1: that which the reference's training ended with. With another one its
        cells would lie elsewhere too, and new cells would move away from them.
    seed
        Seeds the weights of the new batches and the minibatches.
    accelerator
        Lightning's name of a device.
    """

    max_epochs: int
    batch_size: int
    kl_weight: float
    threads: int
    seed: int
    accelerator: str = "cpu"


def place(
    folder: Path, counts: "sparse.csr_matrix", batches: "np.ndarray", training: Training
) -> "tuple[np.ndarray, np.ndarray, dict[str, Any]]":
    """Train the weights of the new batches and return where the new cells lie.

    Parameters
    ----------
    folder
        Folder with ``weights.npz`` and ``model.json``.
    counts
        Counts of the model's genes, shape (n_cells, n_genes), 0 where a gene is not known.
    batches
        Shape (n_cells,), text.
    training
        How.

    Returns
    -------
    Posterior means of the latent variables after and before the training, both of shape (n_cells, n_latent), and the
    facts of the training: ``epochs``, ``elbo_first`` and ``elbo_last`` (lower is better), ``renamed``: batches that the
    reference has too, by their new name.

    Raises
    ------
    ScfmError
        The model can't be read, or training moved a weight of the reference.
    """
    import scvi as library

    library.settings.seed = training.seed
    quiet()
    reference = read_model(folder)
    model, renamed = adapted(reference, counts, batches, training.accelerator)
    with torch_threads(training.threads):
        before = untrained(model)
        epochs = train(model, training)
        _require_still(reference, model)
        values = model.get_latent_representation()
    elbo = model.history["elbo_train"].iloc[:, 0]
    ends = {"elbo_first": float(elbo.iloc[0]), "elbo_last": float(elbo.iloc[-1])}
    return values, before, {"epochs": epochs, **ends, "renamed": renamed}


def adapted(
    reference: Any, counts: "sparse.csr_matrix", batches: "np.ndarray", accelerator: str = "cpu"
) -> tuple[Any, dict[str, str]]:
    """Return a model that has weights of its own for the new batches and those of the reference for all else, frozen;
    and the batches that were renamed.

    A batch is new even where the reference has one of the same name: its weights would move, and the reference with it.
    The weights of a new batch begin at the mean of those of the reference's batches, not at random: before any training
    its cells lie where those of an average batch would.
    """
    import pandas as pd
    import torch
    from anndata import AnnData

    known = set(reference.adata.obs[BATCH].astype(str))
    renamed = {str(name): f"{name}{_NEW}" for name in sorted(set(batches)) if str(name) in known}
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(counts.shape[0])])
    obs[BATCH] = [renamed.get(str(name), str(name)) for name in batches]
    obs[LABEL] = UNLABELLED
    cells = AnnData(counts.astype("float32"), obs=obs, var=pd.DataFrame(index=reference.adata.var_names))
    model = type(reference).load_query_data(cells, reference, accelerator=accelerator)
    n_old = len(known)
    with torch.no_grad():
        old = reference.module.state_dict()
        for name, weights in model.module.named_parameters():
            n_known = old[name].shape[-1]
            if weights.shape != old[name].shape:  # columns of the new batches were added at the end
                weights[:, n_known:] = weights[:, n_known - n_old : n_known].mean(dim=1, keepdim=True)
    return model, renamed


def untrained(model: Any) -> "np.ndarray":
    """Return where a model of :func:`adapted` places its cells before any training, as those of an average batch of
    the reference; shape (n_cells, n_latent).
    """
    model.is_trained_ = True  # by the reference, which scvi-tools does not know
    values: np.ndarray = model.get_latent_representation()
    model.is_trained_ = False
    return values


def train(model: Any, training: Training) -> int:
    """Train a model of :func:`adapted` and return the epochs. All epochs are trained and no cells are held out: the
    weights that move are few.
    """
    epochs = min(training.max_epochs, default_epochs(model.adata.n_obs))
    model.train(
        max_epochs=epochs,
        train_size=1.0,
        batch_size=training.batch_size,
        accelerator=training.accelerator,
        devices=1,
        enable_progress_bar=False,
        plan_kwargs={"weight_decay": 0.0, "min_kl_weight": training.kl_weight, "max_kl_weight": training.kl_weight},
    )
    return epochs


def _require_still(reference: Any, model: Any) -> None:
    """Raise :class:`ScfmError` where a weight of the reference is not the same to the last bit in the trained model."""
    import torch

    trained = model.module.state_dict()
    for name, before in reference.module.state_dict().items():
        after = trained[name].cpu()[tuple(slice(size) for size in before.shape)]
        if not torch.equal(before, after):
            raise ScfmError(
                f"Training on the new cells moved weights of the reference ({name}), so its cells would move too. This"
                " should not happen: please report it with the version of scvi-tools."
            )
