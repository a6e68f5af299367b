"""Design matrices of batch and of columns that a correction keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import NotApplicable, ScfmError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from scfm.integration.base import MethodInputs


def batch_and_kept(inputs: "MethodInputs", keep: list[str], method: str) -> tuple["np.ndarray", "np.ndarray"]:
    """Return the design of the batches and that of what is kept, for a model with both.

    Parameters
    ----------
    inputs
        The data set.
    keep
        Columns of obs.
    method
        Name for the sentence.

    Returns
    -------
    Shapes (n_cells, n_batches - 1) and (n_cells, 1 + n_columns), both of full column rank: the first column of the
    second is the intercept.

    Raises
    ------
    NotApplicable
        One batch only (``one_batch``), or batches can't be told from the kept columns (``confounded_design``).
    ScfmError
        A kept column says the labels.
    """
    import numpy as np

    inputs.require_batches(method)
    batch = deviations(inputs.batches)
    kept = np.ones((len(batch), 1))
    if keep:
        columns = inputs.obs_columns(keep)
        _refuse_labels(columns, inputs.labels, f"{inputs.dataset}: {method}")
        kept = np.hstack([kept, independent(kept_design(columns))])
    rank = np.linalg.matrix_rank
    if rank(np.hstack([kept, batch])) < rank(kept) + batch.shape[1]:
        raise NotApplicable(
            f"{inputs.dataset}: {method} can't tell the batches from {' and '.join(keep)}: one follows from the other, "
            "so that the effect of the batch is not defined. Take a batch key that is crossed with it, or keep less.",
            "confounded_design",
        )
    return batch, kept


def determines_label(column: "pd.Series", labels: "pd.Series") -> bool:
    """Return whether all cells of every level of a column have one label, so that the column says the labels.

    Parameters
    ----------
    column
        Levels of the labelled cells; cells without one are not looked at.
    labels
        Their labels, in the same order.
    """
    return bool(labels.groupby(column.to_numpy(), observed=True).nunique().max() == 1)


def _refuse_labels(columns: "pd.DataFrame", labels: "np.ndarray", who: str) -> None:
    """Raise :class:`ScfmError` where levels of a kept column determine the label: label metrics would be circular."""
    import pandas as pd
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    known = pd.notna(labels)
    names = pd.Series(labels[known])
    if names.nunique() < 2:
        return
    for name in columns:
        column = columns[name][known]
        is_number = is_numeric_dtype(column) and not is_bool_dtype(column)
        if not is_number and determines_label(column.astype(str), names):
            raise ScfmError(
                f"{who} is asked to keep '{name}', which determines the label: it would be given the labels that it is"
                " scored by, and ranked beside methods that are not. Leave this column out."
            )


def independent(columns: "np.ndarray") -> "np.ndarray":
    """Return orthogonal columns that explain what the given ones do beside an intercept.

    A constant column, or donors together with the condition that follows from them, would make a model singular, and
    its coefficients noise.

    Parameters
    ----------
    columns
        Shape (n_cells, n_columns).

    Returns
    -------
    Shape (n_cells, rank), each of length 1 and mean 0.
    """
    import numpy as np

    centred = columns - columns.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=0)
    scale = np.abs(columns).max(axis=0, initial=0) * np.sqrt(len(columns))
    varied = lengths > scale * 1e-12
    left, singular, _ = np.linalg.svd(centred[:, varied] / lengths[varied], full_matrices=False)
    return left[:, singular > singular.max(initial=0) * 1e-9]


def deviations(levels: "np.ndarray") -> "np.ndarray":
    """Code levels as deviations from their unweighted mean, shape (n_cells, n_levels - 1)."""
    import numpy as np

    names, codes = np.unique(levels.astype(str), return_inverse=True)
    columns = np.eye(len(names))[:, :-1]
    columns[-1] = -1
    return columns[codes]


def kept_design(columns: "pd.DataFrame") -> "np.ndarray":
    """Return columns of the design that stay: numbers centred, everything else as deviations of its levels.

    Parameters
    ----------
    columns
        Shape (n_cells, n_kept), without missing values.

    Returns
    -------
    Shape (n_cells, n_columns), float64.
    """
    import numpy as np
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    parts = []
    for name in columns:
        column = columns[name]
        if is_numeric_dtype(column) and not is_bool_dtype(column):
            numbers = column.to_numpy(dtype=np.float64)
            parts.append((numbers - numbers.mean())[:, None])
        else:
            parts.append(deviations(column.astype(str).to_numpy()))
    return np.hstack(parts)
