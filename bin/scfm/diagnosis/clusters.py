"""Red flags of clusters: of one donor, of one batch inside a label, of many labels or tissues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scfm.diagnosis.causes import Explainer, Explanation
from scfm.diagnosis.data import Cells, Embedded
from scfm.diagnosis.settings import DiagnosisSettings
from scfm.errors import NotApplicable
from scfm.metrics.connectivities import umap_connectivities
from scfm.metrics.leiden import leiden_clusters

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: neighbours of the graph that is clustered, self counted
K = 15
#: donors in the study from which on a cluster of one donor is a finding
MIN_DONORS = 3
#: tissue entropy of the cells' neighbourhoods before correction, below which tissues were apart
TISSUES_APART = 0.5
#: flags of clusters that are explained
_EXPLAINED = frozenset({"single_donor", "donor_dominated", "few_donors", "batch_island"})
#: causes whose difference from the label's other cells is a column, in standard deviations (ambient: correlation)
EVIDENCE = ("doublet", "depth", "mitochondrial", "sex", "ambient")
COLUMNS = (
    "cluster",
    "n_cells",
    "label",
    "label_share",
    "batch",
    "batch_share",
    "batch_share_of_label",
    "donor",
    "donor_share",
    "donor_share_of_label",
    "donor_entropy",
    "p_value",
    "q_value",
    "tissue_entropy",
    "tissue_entropy_before",
    *EVIDENCE,
    "hint",
    "causes",
    "n_genes",
    "top_genes",
    "flags",
)


def cluster_cells(embedded: Embedded, resolution: float) -> "np.ndarray":
    """Return the Leiden cluster of every cell of an embedding's 15-NN graph, largest first, shape (n_cells,).

    Raises
    ------
    NotApplicable
        Fewer than three cells.
    """
    import numpy as np

    if len(embedded.rows) < 3:
        raise NotApplicable("Fewer than three cells can't be clustered.", "too_few_cells")
    near = embedded.near.first(K)
    (found,) = leiden_clusters(umap_connectivities(near.indices, near.distances), [resolution])
    sizes = np.bincount(found)
    rank = np.empty_like(sizes)
    rank[np.lexsort((np.arange(len(sizes)), -sizes))] = np.arange(len(sizes))
    return rank[found]


def cluster_rows(
    clusters: "np.ndarray",
    embedded: Embedded,
    before: Embedded,
    explainer: Explainer,
    settings: DiagnosisSettings,
) -> "pd.DataFrame":
    """Describe the clusters of an embedding that have enough cells, and flag those that mislead.

    Parameters
    ----------
    clusters
        Those of :func:`cluster_cells`.
    embedded, before
        The embedding, and the uncorrected one of the same cells.
    explainer
        Of the data set.
    settings
        Thresholds.

    Returns
    -------
    ``COLUMNS``. The p-value is that of the largest donor's share against its share of the label's cells in the other
    clusters (one-sided binomial), adjusted over the clusters of the embedding. Flags: ``single_donor``,
    ``donor_dominated``, ``few_donors``, ``batch_island``, ``rainbow``; what tells clusters with one of the first four
    from their label is explained.
    """
    import numpy as np
    import pandas as pd
    from scipy.stats import false_discovery_control

    cells = explainer.cells
    sizes = np.bincount(clusters)
    rows = [
        _describe(np.flatnonzero(clusters == c), int(c), embedded, before, cells)
        for c in np.flatnonzero(sizes >= settings.cluster_cells)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    known = table["p_value"].notna()
    if known.any():
        table.loc[known, "q_value"] = false_discovery_control(table.loc[known, "p_value"].to_numpy(dtype=float))
    for i in table.index:
        flags = _flags(table.loc[i], settings)
        table.loc[i, "flags"] = ",".join(flags)
        if _EXPLAINED & set(flags):
            why = _against_label(
                embedded.rows[clusters == int(table.loc[i, "cluster"])], table.loc[i, "label"], explainer
            )
            table.loc[i, [*EVIDENCE, "hint", "causes", "n_genes", "top_genes"]] = [
                *(why.measured[cause] for cause in EVIDENCE),
                why.cause(settings.genes),
                ",".join(why.causes),
                why.n_genes,
                ",".join(why.genes),
            ]
    return table


def _largest(values: "np.ndarray") -> tuple[str, float]:
    """Return the most frequent value and its share; of equally frequent ones the first by name."""
    import numpy as np

    names, counts = np.unique(values, return_counts=True)
    return str(names[counts.argmax()]), float(counts.max() / counts.sum())


def normalised_entropy(values: "np.ndarray", n_levels: int) -> float:
    """Return the entropy of the shares of values over its maximum for a number of levels, 0 to 1; NaN for one level.

    Examples
    --------
    >>> import numpy as np
    >>> normalised_entropy(np.array(["a", "b"]), 2), normalised_entropy(np.array(["a", "a"]), 2)
    (1.0, 0.0)
    """
    import numpy as np

    if n_levels < 2:
        return float("nan")
    shares = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(shares * np.log(shares)).sum() / np.log(n_levels)) + 0.0


def _describe(inside: "np.ndarray", cluster: int, embedded: Embedded, before: Embedded, cells: Cells) -> dict[str, Any]:
    """Return the row of a cluster without its flags."""
    import numpy as np
    from scipy.stats import binomtest

    rows = embedded.rows[inside]
    labels, batches = cells.obs["label"].to_numpy(), cells.obs["batch"].to_numpy()
    label, label_share = _largest(labels[rows])
    batch, batch_share = _largest(batches[rows])
    in_label = embedded.rows[labels[embedded.rows] == label]
    row: dict[str, Any] = {
        "cluster": str(cluster),
        "n_cells": len(rows),
        "label": label,
        "label_share": label_share,
        "batch": batch,
        "batch_share": batch_share,
        "batch_share_of_label": float(np.mean(batches[in_label] == batch)),
        **dict.fromkeys(("hint", "causes", "top_genes", "flags", "donor"), ""),
    }
    donors = cells.column("donor")
    if donors is not None and len(np.unique(donors[embedded.rows])) >= MIN_DONORS:
        donor, share = _largest(donors[rows])
        outside = np.setdiff1d(in_label, rows)
        rest = outside if len(outside) >= len(rows) else embedded.rows  # a label of its own: against all cells
        expected = float(np.mean(donors[rest] == donor))
        row |= {"donor": donor, "donor_share": share, "donor_share_of_label": expected}
        row["donor_entropy"] = normalised_entropy(donors[rows], len(np.unique(donors[embedded.rows])))
        row["p_value"] = binomtest(round(share * len(rows)), len(rows), expected, alternative="greater").pvalue
    tissues = cells.column("tissue")
    if tissues is not None:
        n_tissues = len(np.unique(tissues[embedded.rows]))
        row["tissue_entropy"] = normalised_entropy(tissues[rows], n_tissues)
        near = embedded.rows[before.near.first(K).indices[inside]]
        row["tissue_entropy_before"] = float(np.mean([normalised_entropy(tissues[n], n_tissues) for n in near]))
    return row


def _flags(row: "pd.Series", settings: DiagnosisSettings) -> list[str]:
    """Return the flags of a cluster; comparisons with a value that is not there are false."""
    flags = []
    if row["q_value"] <= settings.fdr and row["donor_share"] >= settings.single_donor:
        flags.append("single_donor")
    elif row["q_value"] <= settings.fdr and row["donor_share"] >= settings.donor_dominated:
        flags.append("donor_dominated")
    elif row["q_value"] <= settings.fdr and row["donor_entropy"] < settings.donor_entropy:
        flags.append("few_donors")
    if row["batch_share"] >= settings.island and row["batch_share_of_label"] < settings.island_label:
        flags.append("batch_island")
    mixed = row["tissue_entropy"] > settings.tissue_entropy and row["tissue_entropy_before"] < TISSUES_APART
    if row["label_share"] < settings.purity or mixed:
        flags.append("rainbow")
    return flags


def _against_label(rows: "np.ndarray", label: str, explainer: Explainer) -> Explanation:
    """Explain a cluster against the other cells of its label; where it is nearly all of it, against all other cells."""
    import numpy as np

    cells = explainer.cells
    labels = cells.obs["label"].to_numpy()
    inside = np.zeros(len(labels), dtype=bool)
    inside[rows] = True
    own = labels == label
    rest = own & ~inside
    if rest.sum() < explainer.settings.min_cells:
        rest = ~inside
    codes = np.full(len(labels), -1)
    codes[rest], codes[inside] = 0, 1
    genes, scores = explainer.groups(codes, 2)
    others = cells.logged[np.flatnonzero(~own)]
    profile = np.asarray(others.mean(axis=0)).ravel() if others.shape[0] else np.zeros(len(cells.genes))
    return explainer.with_doublets(explainer.explain(genes, scores, ([0], [1]), (None, profile)), codes)
