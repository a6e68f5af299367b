"""How much of the uncorrected principal components the batch and other covariates explain, alone and together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from scipy import sparse

#: covariates of the full model, as far as they are declared and vary
PARTITION = ("batch", "condition", "label", "depth")


def columns_of(values: "pd.Series") -> "sparse.csr_matrix":
    """Return the columns of a covariate in a linear model: a number as it is, levels as one-hot columns.

    Parameters
    ----------
    values
        No missing values.

    Returns
    -------
    Shape (n_cells, 1) for numbers, (n_cells, levels) else; float64.
    """
    import numpy as np
    import pandas as pd
    from scipy.sparse import csr_matrix

    if pd.api.types.is_numeric_dtype(values.dtype):
        numbers = values.to_numpy(dtype=np.float64)
        spread = numbers.std()
        return csr_matrix(((numbers - numbers.mean()) / (spread or 1))[:, None])
    codes, levels = pd.factorize(values)
    return csr_matrix((np.ones(len(codes)), (np.arange(len(codes)), codes)), shape=(len(codes), len(levels)))


def r_squared(scores: "np.ndarray", columns: Iterable["sparse.csr_matrix"]) -> "np.ndarray":
    """Return the share of every component's variance that a linear model with intercept explains.

    Parameters
    ----------
    scores
        Shape (n_cells, n_components).
    columns
        Blocks of columns, shape (n_cells, k); they may be collinear.

    Returns
    -------
    Shape (n_components,), 0 to 1; 0 for a component without variance.
    """
    import numpy as np
    from scipy.sparse import hstack

    centred = scores - scores.mean(axis=0)
    total = (centred**2).sum(axis=0)
    blocks = list(columns)
    if not blocks:
        return np.zeros(scores.shape[1])
    design = hstack(blocks, format="csr")
    mean = np.asarray(design.mean(axis=0)).ravel()
    gram = (design.T @ design).toarray() - design.shape[0] * np.outer(mean, mean)  # of centred columns: the intercept
    cross = design.T @ centred
    explained = (cross * (np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ cross)).sum(axis=0)
    return np.clip(np.divide(explained, total, out=np.zeros_like(total), where=total > 0), 0, 1)


@dataclass(frozen=True)
class Strength:
    """Variance of the principal components that covariates explain.

    Attributes
    ----------
    r2
        ``{covariate: R2 per component}``, each alone, over the cells that have it.
    pcr
        ``{covariate: share}``: R2 weighted by the variance of the components (principal component regression).
    full
        Share explained by all covariates of the partition together; None where there is only one.
    unique
        ``{covariate: share}`` that only this covariate explains.
    shared_with_batch
        ``{covariate: share}`` that batch and covariate explain alike, beside the others; negative where they mask each
        other.
    n_cells
        ``{covariate: cells}`` behind its R2; ``full``: cells of the partition.
    """

    r2: "dict[str, np.ndarray]"
    pcr: dict[str, float]
    full: float | None = None
    unique: dict[str, float] = field(default_factory=dict)
    shared_with_batch: dict[str, float] = field(default_factory=dict)
    n_cells: dict[str, int] = field(default_factory=dict)


def measure_strength(scores: "np.ndarray", covariates: Mapping[str, "pd.Series"]) -> Strength:
    """Measure what covariates explain of the uncorrected principal components.

    Parameters
    ----------
    scores
        Shape (n_cells, n_components).
    covariates
        Values per cell by name, missing allowed; one without two values is left out.

    Notes
    -----
    Principal component regression after Buettner et al. 2019, doi 10.1038/s41592-018-0254-1; the partition compares
    nested models, each weighted by the variance of the components.
    """
    import numpy as np

    varying = {name: values for name, values in covariates.items() if len(values.dropna().unique()) > 1}
    r2: dict[str, np.ndarray] = {}
    pcr: dict[str, float] = {}
    n_cells: dict[str, int] = {}
    for name, values in varying.items():
        known = values.notna().to_numpy()
        r2[name] = r_squared(scores[known], [columns_of(values[known])])
        pcr[name] = _weighted(r2[name], scores[known])
        n_cells[name] = int(known.sum())
    together = [name for name in PARTITION if name in varying]
    if "batch" not in together or len(together) < 2:
        return Strength(r2, pcr, n_cells=n_cells)
    known = np.all([varying[name].notna().to_numpy() for name in together], axis=0)
    part = scores[known]
    blocks = {name: columns_of(varying[name][known]) for name in together}

    def share(without: set[str]) -> float:
        return _weighted(r_squared(part, [b for name, b in blocks.items() if name not in without]), part)

    full = share(set())
    unique = {name: full - share({name}) for name in together}
    shared = {name: share({name}) - share({name, "batch"}) - unique["batch"] for name in together if name != "batch"}
    return Strength(r2, pcr, full, unique, shared, n_cells | {"full": int(known.sum())})


def _weighted(r2: "np.ndarray", scores: "np.ndarray") -> float:
    """Return the mean of R2 weighted by the variance of the components."""
    variance = scores.var(axis=0)
    return float((r2 * variance).sum() / variance.sum()) if variance.sum() > 0 else 0.0
