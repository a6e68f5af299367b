"""Activity of gene sets and regulators in every label and batch, and whether batches agree on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from scfm.errors import NotApplicable
from scfm.expression.pseudobulk import Pseudobulk, expressed, log_cpm
from scfm.expression.settings import MIN_COUNT
from scfm.text import plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: fewest genes of a set, or targets of a regulator, among those of the data
MIN_GENES = 5
#: fewest sets that a rank correlation may rest on
MIN_SETS = 5


@dataclass(frozen=True)
class Agreement:
    """Spearman correlations of a label's activities between pairs of batches.

    Attributes
    ----------
    by_pair
        ``{(batch, other batch): correlation}``, -1 to 1; higher is better.
    n_sets
        Sets or regulators that they rest on.
    """

    by_pair: Mapping[tuple[str, str], float]
    n_sets: int


def edges_of_sets(sets: Mapping[str, Sequence[str]]) -> "pd.DataFrame":
    """Return gene sets as edges: ``source`` (set), ``target`` (gene), ``weight`` 1."""
    import pandas as pd

    rows = [(name, gene, 1.0) for name, genes in sets.items() for gene in dict.fromkeys(genes)]
    return pd.DataFrame(rows, columns=["source", "target", "weight"])


def label_profiles(bulk: Pseudobulk, symbols: "np.ndarray", *, min_cells: int) -> "pd.DataFrame":
    """Return how every label differs from the others of its batch.

    Parameters
    ----------
    bulk
        Counts by ``label`` and ``batch``.
    symbols
        Symbol of every gene, shape (n_genes,); of several genes of one symbol the one with most counts is taken.
    min_cells
        Fewest cells of a label in a batch.

    Returns
    -------
    log2 counts per million less their mean over the labels of the batch; index ``label, batch``, columns symbols.
    Batches with fewer than two labels are left out.
    """
    import numpy as np
    import pandas as pd

    large = (bulk.units["n_cells"] >= min_cells).to_numpy()
    several = bulk.units[large].groupby("batch")["label"].transform("nunique").reindex(bulk.units.index).ge(2)
    used = np.flatnonzero(large & several.to_numpy())
    if len(used) == 0:
        raise NotApplicable(f"No batch has two labels of {min_cells} cells or more.", "one_label")
    counts = bulk.counts[used].toarray()
    totals = counts.sum(axis=0)
    order = np.argsort(-totals, kind="stable")
    first = np.sort(order[np.unique(symbols[order].astype(str), return_index=True)[1]])
    keep = first[expressed(counts[:, first], min_count=MIN_COUNT, min_units=1)]
    index = pd.MultiIndex.from_frame(bulk.units.iloc[used][["label", "batch"]])
    table = pd.DataFrame(log_cpm(counts[:, keep]), index=index, columns=symbols[keep].astype(str))
    return table - table.groupby(level="batch").transform("mean")


def activities(profiles: "pd.DataFrame", edges: "pd.DataFrame") -> "pd.DataFrame":
    """Return the activity of every set or regulator in every profile by decoupler's univariate linear model.

    Badia-i-Mompel et al. 2022, doi 10.1093/bioadv/vbac016.

    Parameters
    ----------
    profiles
        From :func:`label_profiles`.
    edges
        ``source, target, weight``.

    Returns
    -------
    t values: index of ``profiles``, columns sources; positive where the targets are higher than other genes.

    Raises
    ------
    NotApplicable
        ``no_targets``: no source has five targets among the genes.
    """
    known = edges[edges["target"].isin(profiles.columns)]
    sizes = known["source"].value_counts()
    known = known[known["source"].isin(sizes.index[sizes >= MIN_GENES])]
    if known.empty:
        raise NotApplicable(
            f"None of {plural(edges['source'].nunique(), 'gene set or regulator', 'gene sets or regulators')} has"
            f" {MIN_GENES} genes among the {profiles.shape[1]:,} of the data; check that both use the same gene names.",
            "no_targets",
        )
    import decoupler

    names = ["\x1f".join(key) for key in profiles.index]
    scores, _ = decoupler.mt.ulm(profiles.set_axis(names), known.reset_index(drop=True), tmin=MIN_GENES)
    return scores.loc[names].set_axis(profiles.index)


def agreement_between_batches(scores: "pd.DataFrame") -> dict[str, Agreement | NotApplicable]:
    """Return, for every label, how batches agree on its activities.

    Parameters
    ----------
    scores
        From :func:`activities`.

    Returns
    -------
    ``{label: agreement}``, or why there is none: ``one_batch``, ``few_sets``.
    """
    from scipy.stats import spearmanr

    found: dict[str, Agreement | NotApplicable] = {}
    for label, part in scores.groupby(level="label", sort=True):
        table = part.droplevel("label")
        if len(table) < 2:
            found[str(label)] = NotApplicable("The label has enough cells in one batch only.", "one_batch")
        elif table.shape[1] < MIN_SETS:
            few = f"{plural(table.shape[1], 'set')}; a rank correlation needs {MIN_SETS}."
            found[str(label)] = NotApplicable(few, "few_sets")
        else:
            pairs = combinations(table.index, 2)
            values = {(a, b): float(spearmanr(table.loc[a], table.loc[b])[0]) for a, b in pairs}
            found[str(label)] = Agreement(values, table.shape[1])
    return found
