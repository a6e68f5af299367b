"""Parts of a label that stay apart in an embedding, and the clinical fields of the subjects that go with them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from scfm.design.confounding import theils_u
from scfm.errors import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import pandas as pd

#: fewest samples that a p value may rest on
MIN_SAMPLES = 6
#: ways to deal values into groups up to which a p value is exact; of more, so many are drawn for text
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
        Of Kruskal and Wallis for numbers, of permuted levels for text; None with fewer than six subjects.
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
    groups = [group["value"].tolist() for _, group in table.groupby("part")]
    if not pd.api.types.is_numeric_dtype(field.dtype):
        counts = pd.crosstab(table["part"], table["value"]).to_numpy()
        p = None if n < MIN_SAMPLES else _p_of_text(groups, counts)
        return Association("theils_u", theils_u(counts), p, n)
    statistic, p = kruskal(*groups)
    exact = exact_p(_ranked(groups), _squared_sum)
    p = float(p) if exact is None else exact
    return Association("epsilon_squared", float(statistic) / (n - 1), p if n >= MIN_SAMPLES else None, n)


def exact_p(groups: "Sequence[Sequence]", score: "Callable[[Sequence], float]") -> float | None:
    """Return the p value of a sum of scores of groups, over all ways to deal their values into groups of these sizes.

    Few subjects need it. The chi-square distribution of Kruskal and Wallis says 0.0495 of three values against three
    that do not overlap, and such a division comes up once in ten; and where every part is a single donor, every field
    has the largest association that there is. :func:`scipy.stats.permutation_test` takes no group of one value.

    Parameters
    ----------
    groups
        Values of every group.
    score
        Of a group; a larger sum is a stronger association.

    Returns
    -------
    Above 0 to 1; None where there are more than 10,000 ways.
    """
    import numpy as np

    sizes = [len(group) for group in groups]
    if math.factorial(sum(sizes)) // math.prod(math.factorial(n) for n in sizes) > MAX_WAYS:
        return None
    found = np.array(_dealt([value for group in groups for value in group], sizes, score))
    observed = sum(score(group) for group in groups)
    return float((found >= observed - 1e-9 * max(1.0, abs(observed))).mean())


def _dealt(values: list, sizes: "Sequence[int]", score: "Callable[[Sequence], float]") -> list[float]:
    """Return the sum of the scores of the groups, of all ways to deal values into them."""
    first, *others = sizes
    if not others:
        return [score(values)]
    found = []
    for chosen in combinations(range(len(values)), first):
        inside = set(chosen)
        rest = [value for place, value in enumerate(values) if place not in inside]
        own = score([values[place] for place in chosen])
        found += [own + more for more in _dealt(rest, others, score)]
    return found


def _squared_sum(ranks: "Sequence[float]") -> float:
    """Return (sum of ranks)^2 / size of a group; their sum orders as the statistic of Kruskal and Wallis."""
    return sum(ranks) ** 2 / len(ranks)


def _likeness(levels: "Sequence[str]") -> float:
    """Return the sum of n log n over the levels of a group; their sum orders as Theil's U."""
    return sum(n * math.log(n) for n in Counter(levels).values())


def _ranked(groups: "Sequence[Sequence[float]]") -> "list[list[float]]":
    """Return the ranks of the values of groups among all."""
    import numpy as np
    from scipy.stats import rankdata

    ends = np.cumsum([len(group) for group in groups])[:-1]
    return [part.tolist() for part in np.split(rankdata(np.concatenate(groups)), ends)]


def _p_of_text(groups: "Sequence[Sequence[str]]", counts: "np.ndarray") -> float:
    """Return the p value of Theil's U over all ways to deal the levels into the parts, or over 9,999 drawn ones.

    Parameters
    ----------
    groups
        Levels of the subjects of every part.
    counts
        Subjects by part and level.
    """
    import numpy as np
    from scipy.special import xlogy

    exact = exact_p(groups, _likeness)
    if exact is not None:
        return exact
    n_parts, n_levels = counts.shape
    part = np.repeat(np.arange(n_parts), counts.sum(axis=1))
    level = np.concatenate([np.repeat(np.arange(n_levels), row) for row in counts])
    drawn = np.random.default_rng(0).permuted(np.tile(level, (MAX_WAYS - 1, 1)), axis=1)
    cells = (np.arange(MAX_WAYS - 1)[:, None] * n_parts + part) * n_levels + drawn
    tables = np.bincount(cells.ravel(), minlength=(MAX_WAYS - 1) * n_parts * n_levels).reshape(-1, n_parts * n_levels)
    reached = (xlogy(tables, tables).sum(axis=1) >= xlogy(counts, counts).sum() - 1e-9).sum()
    return float(1 + reached) / MAX_WAYS
