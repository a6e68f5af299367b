"""Agreement of a comparison over all batches with the same comparison inside every batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.errors import NotApplicable
from scfm.expression.moderated import ModeratedTest, moderated_test
from scfm.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd

#: genes compared by the Jaccard index
TOP = 100
#: fewest batches with both conditions
MIN_BATCHES = 2
#: fewest genes of the consensus that an area under the precision-recall curve may rest on
MIN_CONSENSUS = 10


@dataclass(frozen=True)
class Consensus:
    """The comparison inside the batches, joined; arrays of shape (n_genes,).

    Attributes
    ----------
    genes
        Names.
    log_fold_change
        Joined log2 fold change.
    q_value
        After Benjamini and Hochberg.
    batches
        Batches with both conditions.
    """

    genes: "np.ndarray"
    log_fold_change: "np.ndarray"
    q_value: "np.ndarray"
    batches: tuple[str, ...]


def within_batches(values: "np.ndarray", batch: "np.ndarray", is_level: "np.ndarray", genes: "np.ndarray") -> Consensus:
    """Compare two conditions inside every batch that has both, and join the results.

    Where batches hold replicates of their own, the moderated differences are joined by the inverse of their variances,
    and their p values as z scores, weighted by the units of each batch. Variances are no weights there: those of a few
    units would favour the batch whose variance is small by chance.
    Where a batch has one unit of each condition, its difference is one observation of a moderated one-sample test.

    Parameters
    ----------
    values
        Log2 expression of the units, shape (n_units, n_genes).
    batch, is_level
        Batch and condition of every unit, shape (n_units,).
    genes
        Names, shape (n_genes,).

    Raises
    ------
    NotApplicable
        ``not_crossed``: fewer than two batches have both conditions.
    """
    import numpy as np
    from scipy.stats import false_discovery_control

    both = [b for b in np.unique(batch) if 0 < is_level[batch == b].sum() < (batch == b).sum()]
    if len(both) < MIN_BATCHES:
        raise NotApplicable(
            f"{plural(len(both), 'batch has', 'batches have')} both conditions; the comparison inside batches needs"
            f" {MIN_BATCHES}.",
            "not_crossed",
        )
    parts = [(values[batch == b], is_level[batch == b].astype(float)) for b in both]
    names = tuple(str(b) for b in both)
    if all(len(part) > 2 for part, _ in parts):
        tests = [moderated_test(part, np.column_stack([level, np.ones(len(level))])) for part, level in parts]
        weights = np.array([test.standard_error**-2 for test in tests])
        change = (weights * np.array([test.log_fold_change for test in tests])).sum(axis=0) / weights.sum(axis=0)
        p_value = _joined(tests, [level for _, level in parts])
        return Consensus(np.asarray(genes), change, false_discovery_control(p_value), names)
    changes = np.array([part[level == 1].mean(axis=0) - part[level == 0].mean(axis=0) for part, level in parts])
    joined = moderated_test(changes, np.ones((len(both), 1)))
    return Consensus(np.asarray(genes), joined.log_fold_change, joined.q_values(), names)


def _joined(tests: "Sequence[ModeratedTest]", levels: "Sequence[np.ndarray]") -> "np.ndarray":
    """Return the two-sided p values of the weighted z scores of several batches (Stouffer), shape (n_genes,)."""
    import numpy as np
    from scipy.stats import norm

    one_sided = np.maximum([test.p_value / 2 for test in tests], np.finfo(float).tiny)
    scores = norm.isf(one_sided) * np.sign([test.statistic for test in tests])
    # the information of a difference of two means
    weights = np.sqrt([len(level) * level.mean() * (1 - level.mean()) for level in levels])
    return np.asarray(2 * norm.sf(np.abs(weights @ scores) / np.linalg.norm(weights)))


def conservation(result: "pd.DataFrame", consensus: Consensus, *, fdr: float) -> dict[str, float | int | None]:
    """Compare a result over all batches with the consensus inside batches, over the genes of both.

    Parameters
    ----------
    result
        ``gene``, ``log_fold_change`` and ``statistic``, whose size orders the genes.
    consensus
        What the batches say.
    fdr
        Limit below which a gene is in the consensus.

    Returns
    -------
    ``lfc_spearman`` of the log fold changes, -1 to 1; ``top_jaccard`` of the 100 genes of the largest statistic
    and of the smallest q values, 0 to 1; ``auprc`` of the statistic's size against the consensus, its share (chance)
    to 1, and that share as ``auprc_chance``; ``n_consensus``. Higher is better. None where not defined.
    """
    import numpy as np
    import pandas as pd
    from scipy.stats import spearmanr
    from sklearn.metrics import average_precision_score

    inside = pd.DataFrame({"gene": consensus.genes, "change": consensus.log_fold_change, "q": consensus.q_value})
    both = result.merge(inside, on="gene").dropna(subset=["log_fold_change", "statistic"])
    strength = both["statistic"].abs().to_numpy()
    agreed = (both["q"] < fdr).to_numpy()
    top = min(TOP, len(both) // 2)
    first = set(np.argsort(-strength, kind="stable")[:top])
    second = set(np.lexsort((-both["change"].abs(), both["q"]))[:top])
    varied = len(both) > 2 and min(both["log_fold_change"].nunique(), both["change"].nunique()) > 1
    enough = agreed.sum() >= MIN_CONSENSUS and not agreed.all()
    return {
        "lfc_spearman": float(spearmanr(both["log_fold_change"], both["change"])[0]) if varied else None,
        "top_jaccard": len(first & second) / len(first | second) if top else None,
        "auprc": float(average_precision_score(agreed, strength)) if enough else None,
        "auprc_chance": float(agreed.mean()) if enough else None,
        "n_consensus": int(agreed.sum()),
    }
