"""A trained scVI or scANVI model as arrays and JSON, from which it is built again without running code of a file.

The file of scvi-tools, ``model.pt``, is a pickle: reading one that came from elsewhere can run anything. A reference
may come from elsewhere, so what new cells are mapped by is written a second time, in two files that hold data only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.io.arrays import read_arrays
from scfm.io.tables import read_json, write_json

if TYPE_CHECKING:
    import pandas as pd

WEIGHTS, DESCRIPTION = "weights.npz", "model.json"
#: obs columns of the cells that a model is registered with
BATCH, LABEL = "batch", "_label"
#: what a cell without a label, or with a hidden one, is called
UNLABELLED = "(unlabelled)"
#: options of a model that new batches can be mapped to (Lotfollahi et al. 2022, doi 10.1038/s41587-021-01001-7). With
#: scvi-tools' defaults the encoder is not given the batch, and training on a new one would not move its cells; running
#: means of a batch normalisation would mix the new batch with the old ones.
FOR_QUERIES: dict = {"encode_covariates": True, "use_layer_norm": "both", "use_batch_norm": "none"}
#: cells per batch and label that a model is registered with when it is read; scvi-tools warns below three
_CELLS_EACH = 3
_CLASSES = ("SCVI", "SCANVI")
_PARTS = ("class", "genes", "batches", "labels", "options", "scvi_tools")


def covariate_column(name: str) -> str:
    """Return the column of a model's obs table that holds a covariate; one that is called as a column of ours has the
    name that it has in the prepared h5ad.

    Examples
    --------
    >>> covariate_column("percent_mito"), covariate_column("batch")
    ('percent_mito', 'batch_input')
    """
    from scfm.preparation.write import input_name

    return input_name(name) if name in (BATCH, LABEL) else name


def settings_of_scvi(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return scVI's settings among those of a sidecar: a scANVI has them with ``scvi_`` in front, after its own."""
    prefix = "scvi_" if method == "scanvi" else ""
    return {name.removeprefix(prefix): value for name, value in settings.items()}


def takes_queries(settings: Mapping[str, Any]) -> bool:
    """Return whether new batches can be mapped to a model of these settings of scVI: trained for it, no covariates."""
    covariates = settings["continuous_covariates"] or settings["categorical_covariates"]
    return bool(settings["for_queries"]) and not covariates


def save_model(model: Any, history: "pd.DataFrame", workdir: Path, settings: Mapping[str, Any]) -> dict[str, Path]:
    """Write the history and the model, without its data; one that takes queries in two forms.

    Returns
    -------
    Extras of the method, by the ending they are published with.
    """
    history.to_csv(workdir / "history.csv", index=False, float_format="%.10g")
    model.save(str(workdir / "model"), save_anndata=False, overwrite=True)
    if takes_queries(settings):
        write_model(model, workdir / "model")
    return {"history.csv": workdir / "history.csv", "model": workdir / "model"}


def write_model(model: Any, folder: Path) -> None:
    """Write ``weights.npz`` and ``model.json`` of a trained model into a folder that exists.

    Parameters
    ----------
    model
        ``scvi.model.SCVI`` or ``SCANVI``, registered with the batch, with or without the label, and nothing else.
    folder
        Where they are written.
    """
    import numpy as np

    params = model.init_params_
    options = dict(params["non_kwargs"]) | {k: v for group in params["kwargs"].values() for k, v in group.items()}
    manager, kind = model.adata_manager, type(model).__name__
    labels = manager.get_state_registry("labels").categorical_mapping if kind == "SCANVI" else []
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in model.module.state_dict().items()}
    np.savez(folder / WEIGHTS, **weights)
    content = {
        "class": kind,
        "genes": [str(name) for name in model.adata.var_names],
        "batches": [str(name) for name in manager.get_state_registry("batch").categorical_mapping],
        "labels": [str(name) for name in labels],
        "options": {name: value for name, value in options.items() if name != "registry"},
        "scvi_tools": scvi_version(),
    }
    write_json(folder / DESCRIPTION, content)


def scvi_version() -> str:
    """Return the version of scvi-tools."""
    from importlib.metadata import version

    return version("scvi-tools")


def read_description(folder: Path) -> dict[str, Any]:
    """Return the content of ``model.json``; raise :class:`ScfmError` where parts of it are missing or unknown."""
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise ScfmError(f"{folder / name} is missing: the model in this folder was not trained for new cells.")
    path = folder / DESCRIPTION
    content: dict[str, Any] = read_json(path)
    absent = [name for name in _PARTS if name not in content]
    if absent:
        raise ScfmError(f"{path}: {', '.join(absent)} missing. The step that trains the model writes this file.")
    if content["class"] not in _CLASSES:
        raise ScfmError(f"{path}: class '{content['class']}' is unknown; expected {' or '.join(_CLASSES)}.")
    return content


def read_model(folder: Path) -> Any:
    """Build a model from its two files, on the CPU.

    It is registered with a few cells per batch and label, which gives it their names; these cells mean nothing.

    Raises
    ------
    ScfmError
        A file is missing or damaged, or the model is of another version of scvi-tools (major and minor number).
    """
    import numpy as np
    import pandas as pd
    import scvi as library
    import torch
    from anndata import AnnData

    about = read_description(folder)
    _check_version(about["scvi_tools"], folder)
    n_rows = _CELLS_EACH * max(len(about["batches"]), len(about["labels"]))
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n_rows)])
    for column, names in ((BATCH, about["batches"]), (LABEL, about["labels"])):
        if names:
            obs[column] = pd.Categorical([names[i % len(names)] for i in range(n_rows)], categories=names)
    counts = np.ones((n_rows, len(about["genes"])), dtype=np.float32)
    cells = AnnData(counts, obs=obs, var=pd.DataFrame(index=about["genes"]))
    if about["class"] == "SCANVI":
        library.model.SCANVI.setup_anndata(cells, batch_key=BATCH, labels_key=LABEL, unlabeled_category=UNLABELLED)
        model = library.model.SCANVI(cells, **about["options"])
    else:
        library.model.SCVI.setup_anndata(cells, batch_key=BATCH)
        model = library.model.SCVI(cells, **about["options"])
    damaged = "{path}: no readable file of arrays ({error}). Make the reference again."
    stored = read_arrays(folder / WEIGHTS, damaged=damaged)
    own = model.module.state_dict()
    unlike = [n for n in {*own, *stored} if n not in own or n not in stored or own[n].shape != stored[n].shape]
    if unlike:
        raise ScfmError(
            f"{folder / WEIGHTS}: {len(unlike)} arrays do not fit the model of {DESCRIPTION}, first:"
            f" {min(unlike)}. The two files belong together; train the reference again."
        )
    model.module.load_state_dict({name: torch.from_numpy(values) for name, values in stored.items()})
    model.module.eval()
    model.is_trained_ = True
    return model


def _check_version(trained: str, folder: Path) -> None:
    """Raise :class:`ScfmError` where scvi-tools is of another major or minor version than the model's."""
    here = scvi_version()
    if trained.split(".")[:2] != here.split(".")[:2]:
        raise ScfmError(
            f"{folder.name} of the reference was trained with scvi-tools {trained}, this run has {here}: weights are"
            " not compatible between minor versions. Make the reference again with this version, or map with the"
            " version of the pipeline that made it."
        )
