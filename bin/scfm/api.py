"""The public Python interface: embed, correct and score on an AnnData in memory.

>>> import scfm
>>> scfm.embed(adata, model="scgpt", weights="weights/scgpt")                            # doctest: +SKIP
>>> scfm.correct(adata, embedding="X_scgpt", method="center_l2", batch_key="batch")      # doctest: +SKIP
>>> scfm.score(adata, embedding="X_scgpt_center_l2", batch_key="batch", label_key="cell_type")  # doctest: +SKIP

Every table is keyed by ``adata.obs_names``. The functions call what the executables of the pipeline call, and every
embedding passes the same validation gate. Preparation, seeds, controls and the report are the pipeline's: use it for a
comparison of methods.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.embeddings.adata import column_of, embedding_of, in_memory, keep_embedding
from scfm.errors import ScfmError
from scfm.text import listing, plural

if TYPE_CHECKING:
    import anndata
    import pandas as pd

    from scfm.metrics.inputs import MetricInputs

log = logging.getLogger(__name__)

#: columns of the table of :func:`score`
SCORE_COLUMNS = ["embedding", "metric", "group", "value", "stderr", "n_cells", "status", "reason", "higher_is_better"]


def embed(
    adata: "anndata.AnnData",
    model: str,
    weights: "Path | str",
    *,
    key: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    seed: int = 0,
    random_init: bool = False,
    **settings: Any,
) -> "pd.DataFrame":
    """Embed cells with a foundation model and keep the result in ``adata.obsm``.

    Parameters
    ----------
    adata
        Raw counts, cells x genes; ``obs_names`` are unique.
    model
        Name of the model, see :func:`scfm.models.available_models`.
    weights
        The model's folder of weights (``bin/fetch_weights.py`` downloads it).
    key
        Key in ``adata.obsm``; ``X_<model>`` by default.
    device
        ``auto``, ``cpu`` or ``cuda``.
    precision
        ``fp32`` or ``bf16``.
    seed
        Seed of random draws and of random weights.
    random_init
        Use randomly initialised weights: the control for what pretraining adds.
    settings
        Settings of the model by name, such as ``input_layer="counts"`` or ``gene_column="ensembl_id"``
        (``docs/models/``).

    Returns
    -------
    Columns ``dim_0`` ..., float32, index ``cell_id``. Cells that could not be embedded have no row here and NaN in
    ``adata.obsm``; ``.attrs["report"]`` lists them with the reason.

    Raises
    ------
    ScfmError
        The model is unknown, weights are missing or damaged, the matrix is not counts, or too few genes are known.
    """
    from scfm.models import load_model

    loaded = load_model(
        model, weights, device=device, precision=precision, seed=seed, random_init=random_init, **settings
    )
    frame = loaded.embed(adata)
    keep_embedding(adata, frame, key or f"X_{model}")
    return frame


def correct(
    adata: "anndata.AnnData",
    embedding: str,
    *,
    method: str = "center_l2",
    batch_key: str,
    label_key: str | None = None,
    key: str | None = None,
    max_cells: int = 10_000,
    seed: int = 42,
) -> "pd.DataFrame":
    """Correct an embedding of ``adata.obsm`` and keep the result beside it.

    Parameters
    ----------
    adata
        Holds the embedding and the columns of ``obs``.
    embedding
        Key in ``adata.obsm``. Rows of NaN are cells without an embedding and stay so.
    method
        Name of the correction: ``center``, ``l2``, ``center_l2``, ``center_label_balanced`` or ``drop_pc1``.
    batch_key
        Column of ``adata.obs`` with the batch; no embedded cell may lack it.
    label_key
        Column with the label, for ``center_label_balanced``: label metrics of its result are not independent of it.
    key
        Key of the result; ``<embedding>_<method>`` by default.
    max_cells, seed
        Cells of a batch that its mean is taken over, and the seed of their sample.

    Returns
    -------
    Columns ``dim_0`` ..., float64, index ``cell_id`` in the order of ``adata``.

    Raises
    ------
    ScfmError
        A key is missing, the correction is unknown or lacks its labels, or a cell has no batch.
    EmbeddingValidationError
        The embedding does not pass the validation gate.
    """
    import numpy as np
    import pandas as pd

    from scfm.corrections.run import find_correction, settings_of
    from scfm.registries.corrections import load_corrections

    function = find_correction(method)
    settings = settings_of(function, {"center_max_cells": max_cells, "center_seed": seed})
    if load_corrections()[method].needs_labels and label_key is None:
        raise ScfmError(f"{method} needs labels: name the column of adata.obs with label_key.")
    # sorted by id, as in the pipeline: the sample of a large batch does not depend on the order of the rows
    cell_ids, values = embedding_of(adata, embedding)
    batches = column_of(adata, batch_key, "batch_key").loc[cell_ids]
    if batches.isna().any():
        raise ScfmError(
            f"adata.obs['{batch_key}'] is missing in {plural(int(batches.isna().sum()), 'embedded cell')}"
            f" ({listing(batches.index[batches.isna()], limit=3)}). Fill in the batch or leave these cells out."
        )
    if label_key is None:
        labels = np.full(len(cell_ids), None, dtype=object)
    else:
        column = column_of(adata, label_key, "label_key").loc[cell_ids]
        labels = column.where(column.notna(), None).to_numpy(dtype=object)
    made = function(values, batches.to_numpy(dtype=object), labels, **settings)
    frame = pd.DataFrame(
        made, index=pd.Index(cell_ids, name="cell_id"), columns=[f"dim_{j}" for j in range(made.shape[1])]
    )
    frame = frame.loc[[cell for cell in adata.obs_names.astype(str) if cell in frame.index]]
    keep_embedding(adata, frame, key or f"{embedding}_{method}")
    return frame


def score(
    adata: "anndata.AnnData",
    embedding: str = "X_pca",
    *,
    batch_key: str,
    label_key: str,
    profile: str = "standard",
    pca_key: str = "X_pca",
    k: int = 90,
    seed: int = 42,
    cpus: int = 1,
) -> "pd.DataFrame":
    """Score how far batches mix and labels are kept in an embedding of ``adata.obsm``.

    Parameters
    ----------
    adata
        Holds the embedding and the columns of ``obs``. Cells without a batch, a label or an embedding (a row of NaN)
        are not scored; ``.attrs["not_scored"]`` of the result lists them and a warning is logged.
    embedding
        Key in ``adata.obsm``.
    batch_key, label_key
        Columns of ``adata.obs``.
    profile
        Set of metrics: ``paper``, ``standard`` or ``full`` (``docs/metrics.md``).
    pca_key
        Key of the PCA of the uncorrected data, for the comparison of principal components; where ``adata`` has none,
        that metric is NA with the reason ``no_pca``.
    k
        Neighbours per cell, the cell itself being one.
    seed
        Seed of the clusterings.
    cpus
        Threads of the neighbour search.

    Returns
    -------
    One row per metric and group (``all`` or a label), columns :data:`SCORE_COLUMNS`. ``value`` is NaN unless ``status``
    is ``ok``; ``reason`` then says why. ``higher_is_better`` is the direction; ranges are in ``docs/metrics.md``.

    Raises
    ------
    ScfmError
        A key is missing, the profile is unknown, or no cell can be scored.
    EmbeddingValidationError
        The embedding does not pass the validation gate.
    """
    from scfm.io.tables import IDENTITY
    from scfm.metrics.registry import load_metrics, metrics_of
    from scfm.metrics.scoring import score as score_inputs

    metrics = metrics_of(load_metrics(), profile)
    data = _inputs(adata, embedding, batch_key, label_key, pca_key=pca_key, k=k, seed=seed, cpus=cpus)
    left_out = sorted(set(adata.obs_names.astype(str)) - set(data.cell_ids))
    if left_out:
        log.warning(
            "%s of %s not scored: no batch, label or embedding (%s)",
            plural(len(left_out), "cell"),
            f"{adata.n_obs:,}",
            listing(left_out, limit=3),
        )
    table = score_inputs(data, metrics, dict.fromkeys(IDENTITY, "") | {"embedding": embedding})[SCORE_COLUMNS]
    table.attrs["not_scored"] = left_out
    return table


def _inputs(
    adata: "anndata.AnnData",
    embedding: str,
    batch_key: str,
    label_key: str,
    *,
    pca_key: str,
    k: int,
    seed: int,
    cpus: int,
) -> "MetricInputs":
    """Return what the metrics read: cells with batch, label and embedding, sorted by id."""
    import numpy as np
    import pandas as pd
    from threadpoolctl import threadpool_limits

    from scfm.metrics.inputs import Groups, MetricInputs
    from scfm.neighbors.search import find_neighbors

    cell_ids, values = embedding_of(adata, embedding)
    keys = pd.DataFrame(
        {"batch": column_of(adata, batch_key, "batch_key"), "label": column_of(adata, label_key, "label_key")}
    ).loc[cell_ids]
    scored = keys.notna().all(axis=1).to_numpy()
    if not scored.any():
        raise ScfmError(f"No cell has a batch ('{batch_key}'), a label ('{label_key}') and a row in '{embedding}'.")
    cell_ids, values, keys = cell_ids[scored], values[scored], keys[scored]
    with threadpool_limits(cpus):
        near = find_neighbors(values, cell_ids, k=k)
    pca = None
    if pca_key in adata.obsm:
        whole = pd.DataFrame(in_memory(adata.obsm[pca_key]), index=adata.obs_names.astype(str))
        pca = whole.loc[cell_ids].to_numpy(dtype=np.float32)
    return MetricInputs(
        cell_ids,
        Groups.of(keys["label"].to_numpy(dtype=object)),
        Groups.of(keys["batch"].to_numpy(dtype=object)),
        values,
        near,
        pca,
        seed,
    )
