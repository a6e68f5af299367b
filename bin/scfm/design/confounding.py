"""How the batch lies to biology, counted in samples: relation, estimable contrasts and strength of the association."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scfm.design.limits import DesignLimits
from scfm.preparation.design import crossing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: columns of the obs table that may be confounded with the batch
BIOLOGICAL = ("condition", "tissue", "donor")
#: relations of :func:`scfm.preparation.design.crossing` in which every batch has one level of the column
NESTED = frozenset({"one_to_one", "batch_in_column"})


@dataclass(frozen=True, slots=True)
class Pair:
    """How the levels of a column lie to the batches.

    Attributes
    ----------
    batch_key, column
        Key of the batch, and the column of the obs table.
    relation
        ``crossed``: every batch has two levels or more. ``nested``: every batch has one level. ``partial``: some have
        one and some have more. ``single``: the column has one level. ``not_declared``: there is no such key.
    detail
        The relation as :func:`scfm.preparation.design.crossing` has it; empty where there is none.
    estimable
        Whether every difference between levels can be estimated with the batch in a linear model.
    components
        Connected components of the graph of batches and levels; differences are estimable within one.
    n_samples
        Samples that have both.
    u_column, u_batch
        Theil's U of the column given the batch and of the batch given the column, 0 to 1; None with too few samples.
    cramers_v
        Cramer's V with bias correction, 0 to 1; None with too few samples.
    inside
        Batches with two levels or more: contrasts inside them are free of the batch.
    """

    batch_key: str
    column: str
    relation: str
    detail: str = ""
    estimable: bool = False
    components: int = 0
    n_samples: int = 0
    u_column: float | None = None
    u_batch: float | None = None
    cramers_v: float | None = None
    inside: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return the pair for ``<dataset>.design.json``."""
        return {
            "batch_key": self.batch_key,
            "column": self.column,
            "relation": self.relation,
            "detail": self.detail,
            "estimable": self.estimable,
            "components": self.components,
            "n_samples": self.n_samples,
            f"theils_u_{self.column}_given_batch": self.u_column,
            f"theils_u_batch_given_{self.column}": self.u_batch,
            "cramers_v": self.cramers_v,
            "batches_inside": list(self.inside),
        }

    @property
    def association(self) -> float | None:
        """The larger of Theil's U of the column given the batch and Cramer's V; None where there is none."""
        known = [v for v in (self.u_column, self.cramers_v) if v is not None]
        return max(known) if known else None


def theils_u(table: "np.ndarray") -> float:
    """Return Theil's U of the columns given the rows, 1 - H(column | row) / H(column).

    Parameters
    ----------
    table
        Counts, shape (rows, columns), at least two columns with counts.

    Returns
    -------
    0 (the row says nothing about the column) to 1 (the row determines it).
    """
    import numpy as np
    from scipy.stats import entropy

    table = np.asarray(table, dtype=float)
    within = sum(row.sum() * entropy(row) for row in table if row.sum() > 0) / table.sum()
    return float(np.clip(1 - within / entropy(table.sum(axis=0)), 0, 1))


def contrast_rank(table: "np.ndarray") -> int:
    """Return rank([1, rows, columns]) - rank([1, rows]): the contrasts between columns that can be estimated.

    Parameters
    ----------
    table
        Counts; an observation counts once, whatever its number, for repeating a row changes no rank.
    """
    import numpy as np

    rows, columns = np.nonzero(np.asarray(table))
    batches = np.eye(table.shape[0])[rows]
    return int(np.linalg.matrix_rank(np.hstack([batches, np.eye(table.shape[1])[columns]]))) - int(
        np.linalg.matrix_rank(batches)
    )


def n_components(table: "np.ndarray") -> int:
    """Return the connected components of the graph whose nodes are rows and columns and whose edges are counts."""
    from scipy.sparse import bmat, csr_matrix
    from scipy.sparse.csgraph import connected_components

    edges = csr_matrix(table > 0)
    return int(connected_components(bmat([[None, edges], [edges.T, None]]), directed=False)[0])


def describe_pair(obs: "pd.DataFrame", batch_key: str, column: str, limits: DesignLimits) -> Pair:
    """Return how a column lies to the batches.

    Parameters
    ----------
    obs
        ``batch``, ``sample`` and the column; missing values allowed.
    batch_key
        Name of the batch key.
    column
        One of :data:`BIOLOGICAL`.
    limits
        ``min_samples`` is read.
    """
    import pandas as pd

    if column not in obs or obs[column].isna().all():
        return Pair(batch_key, column, "not_declared")
    rows = obs[["sample", "batch", column]].dropna().drop_duplicates()
    n_samples, found = rows["sample"].nunique(), crossing(rows["batch"], rows[column])
    if found is None:
        return Pair(batch_key, column, "single", n_samples=n_samples)
    frame = pd.crosstab(rows["batch"], rows[column])
    table = frame.to_numpy()
    levels = (table > 0).sum(axis=1)
    relation = "nested" if found["relation"] in NESTED else "crossed" if (levels > 1).all() else "partial"
    is_enough = n_samples >= limits.min_samples
    return Pair(
        batch_key,
        column,
        relation,
        detail=found["relation"],
        estimable=contrast_rank(table) == table.shape[1] - 1,
        components=n_components(table),
        n_samples=n_samples,
        u_column=theils_u(table) if is_enough else None,
        u_batch=theils_u(table.T) if is_enough else None,
        cramers_v=found["cramers_v"] if is_enough else None,
        inside=tuple(str(b) for b in frame.index[levels > 1]),
    )
