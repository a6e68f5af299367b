"""The validation gate: the checks that every embedding must pass before anything is computed from it.

:func:`check_embedding` works on arrays; :func:`scfm.embeddings.validate.validate_embedding` reads, checks and writes
one embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.registries.messages import message
from scfm.text import listing, plural

if TYPE_CHECKING:
    import numpy as np


class EmbeddingValidationError(ScfmError):
    """An embedding that must not reach a metric.

    Parameters
    ----------
    reason_code
        Short reason for ``status.tsv``: ``wrong_shape``, ``duplicate_ids``, ``no_common_cells``, ``non_finite``,
        ``constant``, ``not_numeric``, ``wrong_columns``, ``missing_ids`` or, of a graph, ``not_symmetric``.
    text
        The sentences.
    """

    def __init__(self, reason_code: str, text: str) -> None:
        super().__init__(text)
        self.reason_code = reason_code


@dataclass
class CheckedCells:
    """How the rows of an embedding or graph lie to the cells of its data set.

    Parameters
    ----------
    cell_ids
        Cells with a row, in the order of the data set; shape (n_cells,).
    missing
        Cells of the data set without a row, in the order of the data set.
    extra
        Ids with a row that are no cell of the data set; their rows are dropped.
    warnings
        Entries made by :func:`scfm.registries.messages.message`.
    """

    cell_ids: "np.ndarray"
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    warnings: list[dict] = field(default_factory=list)


@dataclass
class CheckedEmbedding(CheckedCells):
    """An embedding that passed: its cells, and their coordinates, shape (n_cells, n_dims)."""

    values: "np.ndarray" = field(kw_only=True)


def match_cells(
    cell_ids: "np.ndarray", expected: "np.ndarray", *, dataset: str = "", method: str = "", embedding: str = ""
) -> "tuple[np.ndarray, CheckedCells]":
    """Join ids with the cells of their data set.

    Parameters
    ----------
    cell_ids
        Ids of the rows, shape (n_rows,).
    expected
        Ids of the data set's cells in their order, shape (n_cells,).
    dataset, method, embedding
        For the messages.

    Returns
    -------
    Rows that bring the embedding into the order of the data set, shape (n_found,); the cells.

    Raises
    ------
    EmbeddingValidationError
        Ids twice, or no common cell.
    """
    import numpy as np
    import pandas as pd

    ids = pd.Index(np.asarray(cell_ids, dtype=object))
    twice = ids[ids.duplicated()].unique()
    if len(twice):
        raise EmbeddingValidationError(
            "duplicate_ids",
            f"Cell ids that occur more than once: {len(twice):,}, e.g. {listing(twice, limit=3)}. Every cell has one"
            " row; remove the others.",
        )
    wanted = pd.Index(np.asarray(expected, dtype=object))
    rows = ids.get_indexer(wanted)
    found = rows >= 0
    if not found.any():
        raise EmbeddingValidationError(
            "no_common_cells",
            f"None of the {len(ids):,} ids is a cell of the data set. The embedding has {listing(ids, limit=3)}; the"
            f" data set has {listing(wanted, limit=3)}. Write the ids of the data set's obs index into the column"
            " cell_id.",
        )
    extra = list(ids[~ids.isin(wanted)])
    cells = CheckedCells(wanted[found].to_numpy(dtype=object), list(wanted[~found]), extra)
    if extra:
        about: dict[str, Any] = {"dataset": dataset, "method": method, "embedding": embedding}
        few = {"extra": len(extra), "first": extra[:10]}  # the text counts all of them
        cells.warnings.append(message("W-ID-02", **about, first=extra, values=few))
    return rows[found], cells


def check_embedding(
    cell_ids: "np.ndarray",
    values: "np.ndarray",
    expected: "np.ndarray",
    *,
    dataset: str = "",
    method: str = "",
    embedding: str = "",
) -> CheckedEmbedding:
    """Join an embedding with the cells of its data set and refuse what no metric can use.

    Parameters
    ----------
    cell_ids
        Ids of the rows, shape (n_rows,).
    values
        Coordinates, shape (n_rows, n_dims), numeric.
    expected
        Ids of the data set's cells in their order, shape (n_cells,).
    dataset, method, embedding
        For the messages.

    Raises
    ------
    EmbeddingValidationError
        Wrong shape, ids twice, no common cell, values that are not finite, or no variation at all.
    """
    import numpy as np

    _check_shape(cell_ids, values, expected)
    about: dict[str, Any] = {"dataset": dataset, "method": method, "embedding": embedding}
    rows, cells = match_cells(cell_ids, expected, **about)
    kept = values if np.array_equal(rows, np.arange(len(values))) else values[rows]
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and is refused as such
        kept = kept.astype(np.float32, copy=False)
    _check_finite(cells.cell_ids, kept)
    warnings = [*_check_variation(kept, about), *cells.warnings]
    return CheckedEmbedding(cells.cell_ids, cells.missing, cells.extra, warnings, values=kept)


def missing_cells_warning(
    missing: list[str], explained: dict[str, str], n_cells: int, *, dataset: str, method: str, embedding: str
) -> tuple[list[dict], list[dict]]:
    """Account for the cells without a row (E-ID-01).

    Parameters
    ----------
    missing
        Cells without a row.
    explained
        Reason by cell id, from the maker of the embedding.
    n_cells
        Cells of the data set.

    Returns
    -------
    Entries ``{cell_id, reason}`` for the sidecar, one per missing cell; warnings, none or one.
    """
    entries = [{"cell_id": c, "reason": explained.get(c, "no row, and no reason given")} for c in missing]
    if not missing:
        return entries, []
    unexplained = [c for c in missing if c not in explained]
    reasons = sorted({explained[c] for c in missing if c in explained})
    why = "No reason is given."
    if reasons:
        why = f"The method explains {len(missing) - len(unexplained):,} of them: {'; '.join(reasons[:3])}."
    values = {
        "cells_in": n_cells,
        "cells_out": n_cells - len(missing),
        "missing": len(missing),
        "unexplained": len(unexplained),
        "first": missing[:10],  # the text counts all of them
    }
    about: dict[str, Any] = {"dataset": dataset, "method": method, "embedding": embedding}
    return entries, [message("E-ID-01", **about, why=why, first=missing, values=values)]


def _check_shape(cell_ids: "np.ndarray", values: "np.ndarray", expected: "np.ndarray") -> None:
    """Refuse what is no table of cells by dimensions, with a word on transposition where it fits."""
    if values.ndim != 2:
        raise EmbeddingValidationError(
            "wrong_shape", f"The embedding has shape {tuple(values.shape)}; expected cells x dimensions."
        )
    n_rows, n_dims = values.shape
    if n_rows != len(expected) and n_dims == len(expected):
        raise EmbeddingValidationError(
            "wrong_shape",
            f"The embedding has {plural(n_rows, 'row')} and {n_dims:,} columns and the data set has {len(expected):,}"
            " cells: it looks transposed. Write one row per cell and one column per dimension.",
        )
    if len(cell_ids) != n_rows:
        raise EmbeddingValidationError(
            "wrong_shape",
            f"The embedding has {n_rows:,} rows and {plural(len(cell_ids), 'cell id')}; expected one id per row.",
        )
    if n_rows == 0:
        raise EmbeddingValidationError("wrong_shape", "The embedding has no rows; expected one per cell.")
    if n_dims < 2:
        raise EmbeddingValidationError(
            "wrong_shape", f"The embedding has {plural(n_dims, 'dimension')}; the metrics need two at least."
        )


def _check_finite(ids: "np.ndarray", values: "np.ndarray") -> None:
    """Refuse NaN and infinite values (those beyond float32 are infinite)."""
    import numpy as np

    bad = ~np.isfinite(values)
    if bad.any():
        rows = np.flatnonzero(bad.any(axis=1))
        raise EmbeddingValidationError(
            "non_finite",
            f"Values that are NaN or infinite: {int(bad.sum()):,}, in {plural(len(rows), 'cell')} and"
            f" {plural(int(bad.any(axis=0).sum()), 'dimension')}, e.g. in {listing(ids[rows], limit=3)}. A cell that"
            " can't be embedded has no row; find out what broke these values.",
        )


def _check_variation(values: "np.ndarray", about: dict[str, Any]) -> list[dict]:
    """Refuse an embedding in which all cells are equal; warn of single constant dimensions."""
    import numpy as np

    constant = np.flatnonzero(values.max(axis=0) == values.min(axis=0))
    if len(constant) == values.shape[1]:
        raise EmbeddingValidationError(
            "constant",
            f"All {values.shape[0]:,} cells have the same coordinates. The method returned nothing about the cells;"
            " check its input genes and layer.",
        )
    if not len(constant):
        return []
    return [
        message(
            "W-EMB-01",
            **about,
            n_constant=len(constant),
            constant=constant.tolist(),
            values={"constant": [int(c) for c in constant[:50]], "n_dims": values.shape[1]},
        )
    ]
