"""Which embeddings are diagnosed: the uncorrected one, the best by total, and those that the user names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.inputs.keys import PAIR_COLUMNS
from scfm.metrics.totals import TotalRules, compute_totals
from scfm.registries.messages import message
from scfm.text import split_list

if TYPE_CHECKING:
    import pandas as pd

    from scfm.metrics.registry import Metric

#: embeddings taken by their total
N_BEST = 2
#: the method whose embedding is the uncorrected one
UNCORRECTED = "pca"


def is_uncorrected(method: Any, correction: Any) -> Any:
    """Return whether nothing was corrected: the PCA of the preparation as it is; element by element for columns."""
    return (method == UNCORRECTED) & (correction == "raw")


def choose_embeddings(
    scores: "pd.DataFrame",
    metrics: Mapping[str, "Metric"],
    *,
    profile: str,
    bio_weight: float,
    wanted: str | None = None,
    never_best: Collection[str] = (),
    batch_role: str = "",
) -> dict[str, Any]:
    """Choose the embeddings of one data set.

    Parameters
    ----------
    scores
        Rows of ``scores.tsv`` of all its embeddings.
    metrics
        The metrics table.
    profile, bio_weight
        Profile of the run and weight of bio in the total that counts.
    wanted
        ``--diagnose``: names of embeddings or methods, joined by commas.
    never_best
        Methods and corrections that were given the labels, and random twins of models: never among the best.
    batch_role
        Declared role of the batch; where it is ``biological`` there is no total, and the bio mean counts.

    Returns
    -------
    ``dataset``; ``embeddings``, in the order uncorrected, best first, named; ``reasons``, ``{embedding: why}``;
    ``other_seeds``, embeddings that differ from a chosen one in the seed alone; ``warnings``.

    Raises
    ------
    ScfmError
        The rows are of several data sets, or there are none.
    """
    datasets = sorted(set(scores["dataset"]))
    if len(datasets) != 1:
        raise ScfmError(f"The scores to choose from must be of one data set; found {', '.join(datasets) or 'no rows'}.")
    known = scores.drop_duplicates("embedding").set_index("embedding")
    chosen = {name: "uncorrected" for name, row in known.iterrows() if is_uncorrected(row["method"], row["correction"])}
    rules = TotalRules(roles={datasets[0]: batch_role})
    totals = _totals(scores, metrics, profile, bio_weight, rules)
    for name in best_embeddings(totals, never_best):
        chosen.setdefault(name, "best by total")
    names, absent = split_list(wanted), []
    for name in names:
        found = [e for e, row in known.iterrows() if name in _names_of(e, row)]
        absent += [] if found else [name]
        chosen |= {e: "named in --diagnose" for e in found if e not in chosen}
    told = [message("W-DIAG-01", dataset=datasets[0], n_names=len(absent), names=absent)] if absent else []
    kinds = {tuple(known.loc[name, ["method", "correction"]]) for name in chosen}
    others = [e for e, row in known.iterrows() if (row["method"], row["correction"]) in kinds and e not in chosen]
    return {
        "dataset": datasets[0],
        "embeddings": list(chosen),
        "reasons": chosen,
        "other_seeds": sorted(others),
        "warnings": told,
    }


def _names_of(embedding: str, row: "pd.Series") -> set[str]:
    """Return the names under which a user may ask for an embedding."""
    return {embedding, row["method"], f"{row['method']}.{row['correction']}"}


def _totals(
    scores: "pd.DataFrame", metrics: Mapping[str, "Metric"], profile: str, bio_weight: float, rules: TotalRules
) -> "pd.DataFrame":
    """Return the raw totals with the primary keys, which come first in every table of scores."""
    import pandas as pd

    table = pd.DataFrame(
        [asdict(m) | {"profile": ",".join(m.profile), "in_total": profile in m.in_total} for m in metrics.values()]
    )
    batch_key, label_key = scores.iloc[0][list(PAIR_COLUMNS)]
    primary = scores[(scores["batch_key"] == batch_key) & (scores["label_key"] == label_key)]
    totals = compute_totals(primary, table, (bio_weight,), profile, rules)
    return totals[totals["scaling"] == "raw"]


def best_embeddings(totals: "pd.DataFrame", never_best: Collection[str], n: int = N_BEST) -> list[str]:
    """Return the first seeds of the best methods and corrections, by their mean total over seeds; ties by name.

    Parameters
    ----------
    totals
        Raw totals, a row per embedding. Where none has a total (the batch is declared biological), bio counts.
    never_best
        Methods and corrections that are left out; so are controls and the uncorrected embedding.
    n
        How many.
    """
    left_out = (totals["family"] == "control") | totals["method"].isin(list(never_best))
    left_out |= totals["correction"].isin(list(never_best))
    left_out |= is_uncorrected(totals["method"], totals["correction"])
    rows = totals[~left_out]
    value = rows["total"].astype(float)
    rows = rows.assign(value=rows["bio"].astype(float) if value.isna().all() else value).dropna(subset=["value"])
    means = rows.groupby(["method", "correction"]).agg(value=("value", "mean"), seed=("seed", "min")).reset_index()
    means = means.sort_values(["value", "method", "correction"], ascending=[False, True, True])
    return [f"{r.method}.{r.correction}.{r.seed}" for r in means.head(n).itertuples()]
