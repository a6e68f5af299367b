"""scANVI (Xu et al. 2021, doi 10.15252/msb.20209620): scVI continued with the labels of the cells that are not held
out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.errors import NotApplicable, ScfmError
from scfm.integration.base import MethodInputs, MethodOutput
from scfm.integration.designs import determines_label
from scfm.integration.scvi import (
    DEVICES,
    accelerator_of,
    default_epochs,
    history_table,
    judged,
    quiet,
    registered_counts,
    split_cells,
    trained_model,
)
from scfm.integration.scvi_files import LABEL, UNLABELLED, covariate_column, save_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from anndata import AnnData

#: ``max_epochs`` null: the library's rule; the settings of scVI follow as ``scvi_<setting>``
DEFAULTS: dict = {"max_epochs": None, "samples_per_label": 100, "classification_ratio": 50.0}
_LEAST_EPOCHS, _MOST_EPOCHS = 2, 10
#: a minibatch smaller than this has no usable batch normalisation
_LEAST_MINIBATCH = 3


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Continue the scVI model of the same seed with labels, and return the posterior means of the latent variables.

    Where that model was not trained by the run, it is trained here in the same way.

    Parameters
    ----------
    inputs
        Counts, batches, the labels that are not hidden, and the covariates named in scVI's settings are read.
    settings
        See ``DEFAULTS``; scVI's settings have its name in front.
    seed
        Seeds the classifier's weights, the minibatches and the draw of labelled cells; of scVI, if it is trained here,
        as there.

    Raises
    ------
    NotApplicable
        One batch, or fewer than two labels.
    """
    inputs.require_batches("scANVI")
    before = {name.removeprefix("scvi_"): value for name, value in settings.items() if name.startswith("scvi_")}
    accelerator = accelerator_of(inputs.device)

    import scvi as library

    from scfm.integration.best_epoch import torch_threads

    quiet()
    library.settings.seed = seed
    adata, warnings = registered_counts(inputs, before)
    adata.obs[LABEL] = _labels(inputs)
    _refuse_labels_as_covariates(adata, before["categorical_covariates"])
    about = {"dataset": inputs.dataset, "method": "scanvi", "seed": seed}
    with torch_threads(before["threads"]):
        if inputs.start is not None:
            first = library.model.SCVI.load(str(inputs.start), adata=adata, accelerator=accelerator)
        else:
            first, facts = trained_model(adata, before, seed, accelerator)
            warnings += judged(history_table(first.history), facts, before, about)[1]
        library.settings.seed = seed  # the same from here on, wherever the first model came from
        model, facts = _continued(first, settings, before, seed, accelerator)
        values = model.get_latent_representation()
    history = history_table(model.history)
    training, told = judged(history, facts, before, about)
    details = {
        "device": DEVICES[accelerator],
        "n_genes": adata.n_vars,
        "n_labelled": int((adata.obs[LABEL] != UNLABELLED).sum()),
        "continues": "the scVI model of the run" if inputs.start is not None else "a scVI model of its own",
        "training": training,
    }
    return MethodOutput(values, save_model(model, history, inputs.workdir, before), warnings + told, details)


def _labels(inputs: MethodInputs) -> "np.ndarray":
    """Return the label of every cell as scANVI takes it, :data:`UNLABELLED` where it has none or it is hidden."""
    import numpy as np

    known = np.array([label is not None for label in inputs.labels])
    names = sorted(set(inputs.labels[known]))
    if UNLABELLED in names:
        raise ScfmError(f"{inputs.dataset}: a label is called '{UNLABELLED}', scANVI's word for none. Rename it.")
    if len(names) < 2:
        raise NotApplicable(
            f"scANVI learns to tell labels apart, and {inputs.dataset} has {len(names)} outside of the held-out cells.",
            "one_label",
        )
    return np.where(known, inputs.labels, UNLABELLED)


def _refuse_labels_as_covariates(adata: "AnnData", names: list[str]) -> None:
    """Raise :class:`ScfmError` where a covariate says the labels, also those that are hidden."""
    known = adata.obs[adata.obs[LABEL] != UNLABELLED]
    for name in names:
        if determines_label(known[covariate_column(name)], known[LABEL]):
            raise ScfmError(
                f"scvi_categorical_covariates: column '{name}' of obs determines the label, so it would give scANVI"
                " the labels of the held-out cells. Leave it out."
            )


def _continued(first: Any, settings: dict, before: dict, seed: int, accelerator: str) -> tuple[Any, dict]:
    """Return scANVI trained from a scVI model, and the facts of the training. The split of validation cells is scVI's.

    All epochs are trained and the last weights kept: the ELBO of the best epoch, which scVI goes by, says nothing of
    the classifier.
    """
    import numpy as np
    import scvi as library

    n_cells = first.adata.n_obs
    train, validation = split_cells(n_cells, before["validation_share"], before["batch_size"], seed)
    max_epochs = settings["max_epochs"] or min(_MOST_EPOCHS, max(_LEAST_EPOCHS, round(default_epochs(n_cells) / 3)))
    model = library.model.SCANVI.from_scvi_model(first, unlabeled_category=UNLABELLED, labels_key=LABEL)
    labels = first.adata.obs[LABEL].to_numpy()[train]
    drawn = labelled_per_epoch(labels[labels != UNLABELLED], settings["samples_per_label"])
    batch_size = usable_minibatch(before["batch_size"], (len(train), drawn))
    model.train(
        max_epochs=max_epochs,
        n_samples_per_label=settings["samples_per_label"],
        batch_size=batch_size,
        accelerator=accelerator,
        devices=1,
        check_val_every_n_epoch=1 if len(validation) else None,
        enable_progress_bar=False,
        plan_kwargs={"classification_ratio": settings["classification_ratio"]},
        datasplitter_kwargs={"external_indexing": [train, validation, np.array([], dtype=int)]},
    )
    return model, {
        "max_epochs": max_epochs,
        "patience": None,
        "n_train": len(train),
        "n_validation": len(validation),
        "cells_per_epoch": len(train),
        "labelled_per_epoch": drawn,
        "batch_size": batch_size,
        "restored_epoch": None,
    }


def usable_minibatch(wanted: int, sizes: "Sequence[int]") -> int:
    """Return the largest minibatch up to ``wanted`` that leaves none of the sizes a last minibatch of one or two cells.

    Where there is none the wanted one is returned. Unlike dropping the last minibatch, this leaves no cells out, and
    none without any minibatch.
    """
    usable = (size for size in range(wanted, 0, -1) if not any(0 < n % size < _LEAST_MINIBATCH for n in sizes))
    found = next(usable, wanted)
    return found if found >= _LEAST_MINIBATCH else wanted


def labelled_per_epoch(labels: "np.ndarray", most: int) -> int:
    """Return how many labelled cells an epoch has: of every label all, or ``most`` where it has more."""
    import numpy as np

    return int(np.minimum(np.unique(labels.astype(str), return_counts=True)[1], most).sum())
