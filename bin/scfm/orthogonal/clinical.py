"""Parts of a label that stay apart in an embedding, and the clinical fields of the subjects that go with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from scfm.design.confounding import theils_u
from scfm.errors import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd

#: fewest samples that a p value may rest on
MIN_SAMPLES = 6
#: ways to deal values into groups up to which a p value is exact
MAX_WAYS = 10_000
#: share of a label in a cluster from which on the cluster is a part of the label
MAJORITY = 0.5


@dataclass(frozen=True)
class Association:
    """How a field is related to the clusters of a label, counted in subjects (:func:`subjects`).

    Attributes
    ----------
    measure
        ``theils_u`` (of the field given the cluster; 0 none, 1 the cluster determines it) for text,
        ``epsilon_squared`` (of Kruskal and Wallis; 0 none, 1 complete) for numbers.
    value
        Its value.
    p_value
        Of Kruskal and Wallis for numbers; None for text and with fewer than six subjects.
    n_samples
        Subjects.
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


def subjects(cells: "pd.DataFrame", column: str) -> "pd.Series":
    """Return the subject of every cell: what may count as one observation of a field.

    The samples of a donor that have one value of the field are one observation, for they share the donor: age is
    measured once in a donor of three lanes, a time point as often as it differs. A cell without a donor is of its
    sample.

    Parameters
    ----------
    cells
        ``sample`` and the field, without missing values; ``donor`` where donors are declared.
    column
        The field.
    """
    names = "sample " + cells["sample"].astype(str)
    if "donor" in cells:
        names = ("donor " + cells["donor"].astype(str)).where(cells["donor"].notna(), names)
    return names.groupby([names, cells[column]], observed=True).ngroup()


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
    groups = [group["value"].to_numpy(dtype=float) for _, group in table.groupby("part")]
    statistic, p = kruskal(*groups)
    epsilon = float(statistic) / (n - 1)
    if n < MIN_SAMPLES:
        return Association("epsilon_squared", epsilon, None, n)
    exact = exact_p(groups)
    return Association("epsilon_squared", epsilon, float(p) if exact is None else exact, n)


def exact_p(groups: "Sequence[np.ndarray]") -> float | None:
    """Return the p value of Kruskal and Wallis over all ways to deal the values into groups of these sizes.

    The chi-square distribution is too optimistic for few values: of three against three that do not overlap it says
    0.0495, and such a division comes up once in ten.

    Parameters
    ----------
    groups
        Values of every group.

    Returns
    -------
    Above 0 to 1; None where there are more than 10,000 ways, for which chi-square is good enough.
    """
    import numpy as np
    from scipy.stats import rankdata

    sizes = [len(group) for group in groups]
    if math.factorial(sum(sizes)) // math.prod(math.factorial(n) for n in sizes) > MAX_WAYS:
        return None
    ranks = rankdata(np.concatenate(groups)).tolist()
    found = np.array(_dealt(ranks, sizes))
    observed = sum(sum(part) ** 2 / len(part) for part in np.split(ranks, np.cumsum(sizes)[:-1]))
    return float((found >= observed * (1 - 1e-9)).mean())


def _dealt(ranks: list[float], sizes: "Sequence[int]") -> list[float]:
    """Return the sum over groups of (sum of ranks)^2 / size, which orders as Kruskal and Wallis do, of all ways."""
    first, *others = sizes
    if not others:
        return [sum(ranks) ** 2 / first]
    found = []
    for chosen in combinations(range(len(ranks)), first):
        inside = set(chosen)
        rest = [rank for place, rank in enumerate(ranks) if place not in inside]
        own = sum(ranks[place] for place in chosen) ** 2 / first
        found += [own + value for value in _dealt(rest, others)]
    return found
