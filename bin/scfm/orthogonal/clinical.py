"""Parts of a label that stay apart in an embedding, and the clinical fields of the samples that go with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.design.confounding import theils_u
from scfm.errors import NotApplicable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: fewest samples that a p value may rest on
MIN_SAMPLES = 6
#: share of a label in a cluster from which on the cluster is a part of the label
MAJORITY = 0.5


@dataclass(frozen=True)
class Association:
    """How a field is related to the clusters of a label, counted in samples.

    Attributes
    ----------
    measure
        ``theils_u`` (of the field given the cluster; 0 none, 1 the cluster determines it) for text,
        ``epsilon_squared`` (of Kruskal and Wallis; 0 none, 1 complete) for numbers.
    value
        Its value.
    p_value
        Of Kruskal and Wallis for numbers; None for text and with fewer than six samples.
    n_samples
        Samples.
    """

    measure: str
    value: float
    p_value: float | None
    n_samples: int


def parts_of_labels(cluster: "np.ndarray", label: "np.ndarray", *, min_cells: int) -> dict[str, list[int]]:
    """Return the labels that an embedding keeps in several parts, each with its clusters.

    Parameters
    ----------
    cluster, label
        Of every cell, shape (n_cells,).
    min_cells
        Fewest cells of the label in a cluster that counts as a part of it.
    """
    import pandas as pd

    table = pd.crosstab(pd.Series(cluster, name="cluster"), pd.Series(label, name="label"))
    share = table.div(table.sum(axis=1), axis=0)
    owned = (share >= MAJORITY) & (table >= min_cells)
    return {str(name): list(owned.index[owned[name]]) for name in owned.columns if owned[name].sum() > 1}


def sample_parts(cluster: "pd.Series", sample: "pd.Series") -> "pd.Series":
    """Return, for every sample, the cluster that holds most of its cells (the first of several)."""
    import pandas as pd

    return pd.crosstab(sample, cluster).idxmax(axis=1)


def associate(part: "pd.Series", field: "pd.Series") -> Association:
    """Return how a field is related to the parts of a label.

    Parameters
    ----------
    part
        Cluster of every sample, indexed by sample.
    field
        Value of every sample, numbers or text, indexed by sample; samples without a value are left out.

    Raises
    ------
    NotApplicable
        ``one_level``: the samples are in one part, or have one value.
    """
    import pandas as pd
    from scipy.stats import kruskal

    table = pd.DataFrame({"part": part, "value": field}).dropna()
    n = len(table)
    if table["part"].nunique() < 2 or table["value"].nunique() < 2:
        raise NotApplicable("The samples are in one part of the label, or have one value.", "one_level")
    if not pd.api.types.is_numeric_dtype(field.dtype):
        counts = pd.crosstab(table["part"], table["value"]).to_numpy()
        return Association("theils_u", theils_u(counts), None, n)
    statistic, p = kruskal(*(group["value"] for _, group in table.groupby("part")))
    epsilon = float(statistic) / (n - 1)
    return Association("epsilon_squared", epsilon, float(p) if n >= MIN_SAMPLES else None, n)
