"""Embeddings and columns of an AnnData in memory, for the public Python interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.keys import as_text
from scfm.text import did_you_mean

if TYPE_CHECKING:
    import anndata
    import numpy as np
    import pandas as pd


def embedding_of(adata: "anndata.AnnData", key: str) -> "tuple[np.ndarray, np.ndarray]":
    """Return ids and rows of an embedding that passes the validation gate, sorted by id; rows of NaN are no rows."""
    import numpy as np

    from scfm.embeddings.gate import check_embedding

    if key not in adata.obsm:
        raise ScfmError(
            f"adata.obsm has no '{key}'.{did_you_mean(key, list(adata.obsm))} It has:"
            f" {', '.join(adata.obsm) or 'none'}."
        )
    cell_ids = adata.obs_names.astype(str).to_numpy(dtype=object)
    values = in_memory(adata.obsm[key])
    has_row = ~np.isnan(values).all(axis=tuple(range(1, values.ndim))) if values.dtype.kind == "f" else slice(None)
    expected = np.array(sorted(set(cell_ids)), dtype=object)
    checked = check_embedding(cell_ids[has_row], values[has_row], expected, embedding=key)
    return checked.cell_ids, checked.values  # noqa: PD011 (no pandas)


def in_memory(values: Any) -> "np.ndarray":
    """Return an entry of obsm, also a sparse one or a frame, as an array."""
    import numpy as np
    from scipy import sparse

    return values.toarray() if sparse.issparse(values) else np.asarray(values)


def column_of(adata: "anndata.AnnData", name: str, parameter: str) -> "pd.Series":
    """Return a column of obs as text by cell id, None for missing values: the same rule as in the pipeline."""
    if name not in adata.obs:
        raise ScfmError(
            f"{parameter}: adata.obs has no column '{name}'.{did_you_mean(name, list(adata.obs))} It has:"
            f" {', '.join(map(str, adata.obs.columns)) or 'none'}."
        )
    column = as_text(adata.obs[name])
    column.index = adata.obs_names.astype(str)
    return column


def keep_embedding(adata: "anndata.AnnData", frame: "pd.DataFrame", key: str) -> None:
    """Write rows by cell id into obsm; cells without one get NaN."""
    adata.obsm[key] = frame.reindex(adata.obs_names.astype(str)).to_numpy()
