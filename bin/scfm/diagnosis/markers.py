"""Marker specificity: does the expression of a label's markers still tell its clusters from the rest?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from scfm.diagnosis.contrasts import Moments, moments
from scfm.diagnosis.data import Cells, Embedded
from scfm.diagnosis.settings import DiagnosisSettings

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: markers taken from the data, candidates per batch, and genes compared between batches
N_MARKERS, N_CANDIDATES, N_TOP = 10, 50, 50
#: smallest AUROC of a marker inside a batch, batches that must agree, and cells of the label they need
MIN_AUROC, MIN_BATCHES, MIN_CELLS = 0.6, 2, 10
MEASURES = ("auroc", "tau", "agreement")
COLUMNS = (
    "label",
    "source",
    "markers",
    "n_markers",
    *(f"{name}_{when}" for name in ("n_clusters", *MEASURES) for when in ("before", "after")),
    "flags",
    "status",
    "reason",
)


@dataclass(frozen=True)
class MarkerList:
    """Markers of a label: symbols that the data have, where they come from (``user``, ``data``), and why there are
    none."""

    genes: tuple[str, ...]
    source: str
    reason: str = ""


def specificity(found: Moments, one: Sequence[int], rest: Sequence[int]) -> "np.ndarray":
    """Return by how many standard deviations genes are higher in some groups than in others, shape (n_genes,)."""
    import numpy as np

    means, variances = [], []
    for groups in (list(one), list(rest)):
        n = found.n[groups][:, None]
        mean = (n * found.mean[groups]).sum(axis=0) / n.sum()
        between = (n * np.square(found.mean[groups] - mean)).sum(axis=0)
        variances.append(((np.maximum(n - 1, 0) * found.var[groups]).sum(axis=0) + between, n.sum()))
        means.append(mean)
    sd = np.sqrt(sum(s for s, _ in variances) / max(sum(n for _, n in variances) - 2, 1))
    return np.divide(means[0] - means[1], sd, out=np.zeros(len(sd)), where=sd > 0)


def top_genes(found: Moments, one: Sequence[int], rest: Sequence[int], n: int) -> "np.ndarray":
    """Return the positions of the genes that are most specific to some groups, at most ``n``, best first."""
    import numpy as np

    effect = specificity(found, one, rest)
    order = np.argsort(-effect, kind="stable")[:n]
    return order[effect[order] > 0]


def find_markers(
    cells: Cells, given: Mapping[str, Sequence[str]] | None = None, n_markers: int = N_MARKERS
) -> dict[str, MarkerList]:
    """Return the markers of every label: those given, else the genes with the best AUROC inside batches.

    A gene counts if it is among the most specific ones, with an AUROC of 0.6 or more, in two batches at least.

    Parameters
    ----------
    cells
        The data set.
    given
        The user's markers per label.
    n_markers
        How many are taken from the data.
    """
    import numpy as np

    n_batches = len(cells.batches.names)
    codes = cells.labels.codes * n_batches + cells.batches.codes
    found = moments(cells.logged, codes, len(cells.labels.names) * n_batches)
    known = set(cells.genes)
    lists = {}
    for code, label in enumerate(cells.labels.names):
        named = tuple(g for g in (given or {}).get(label, ()) if g in known)
        if named:
            lists[label] = MarkerList(named, "user")
            continue
        scores: dict[int, list[float]] = {}
        usable = 0
        for batch in range(n_batches):
            own = code * n_batches + batch
            rest = [g for g in range(batch, len(found.n), n_batches) if g != own and found.n[g]]
            if found.n[own] < MIN_CELLS or not rest:
                continue
            usable += 1
            inside = np.flatnonzero(cells.batches.codes == batch)
            best = top_genes(found, [own], rest, N_CANDIDATES)
            values = cells.logged[inside][:, best].toarray()
            for gene, auroc in zip(best, column_auroc(values, cells.labels.codes[inside] == code), strict=True):
                scores.setdefault(int(gene), []).extend([float(auroc)] if auroc >= MIN_AUROC else [])
        agreed = {g: float(np.mean(a)) for g, a in scores.items() if len(a) >= MIN_BATCHES}
        chosen = sorted(agreed, key=lambda g: (-agreed[g], str(cells.genes[g])))[:n_markers]
        reason = "" if chosen else "too_few_batches" if usable < MIN_BATCHES else "no_marker"
        lists[label] = MarkerList(tuple(str(cells.genes[g]) for g in chosen), "data", reason)
    return lists


def column_auroc(values: "np.ndarray", positive: "np.ndarray") -> "np.ndarray":
    """Return the AUROC of every column for some rows against the others, shape (n_columns,), 0 to 1, ties half."""
    import numpy as np
    from scipy.stats import rankdata

    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return np.full(values.shape[1], np.nan)
    ranks = rankdata(values, axis=0)[positive].sum(axis=0)
    return (ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


class MarkerMeasure:
    """Measures the markers of every label on the clusters of an embedding.

    Parameters
    ----------
    cells
        The data set.
    markers
        Those of :func:`find_markers`.
    """

    def __init__(self, cells: Cells, markers: dict[str, MarkerList]) -> None:
        import numpy as np

        self.cells, self.markers = cells, markers
        first = {g: i for i, g in reversed(list(enumerate(cells.genes)))}  # of genes with one symbol the first
        self.positions = {x: [first[g] for g in m.genes] for x, m in markers.items()}
        self.scores = {x: np.asarray(cells.logged[:, p].mean(axis=1)).ravel() for x, p in self.positions.items() if p}

    def of(self, clusters: "np.ndarray", embedded: Embedded) -> dict[str, dict[str, float]]:
        """Return ``{label: {n_clusters, auroc, tau, agreement}}``; NaN for a label that is the largest in no cluster.

        Parameters
        ----------
        clusters
            Cluster of every cell of the embedding, shape (n,).
        embedded
            The embedding.
        """
        import numpy as np

        labels = self.cells.labels.codes[embedded.rows]
        n_labels, n_batches = len(self.cells.labels.names), len(self.cells.batches.names)
        table = np.zeros((int(clusters.max()) + 1, n_labels), dtype=int)
        np.add.at(table, (clusters, labels), 1)
        owner = table.argmax(axis=1)  # the label that a cluster is counted for
        assigned = np.full(len(self.cells.obs), -1)
        assigned[embedded.rows] = owner[clusters]
        codes = np.where(assigned < 0, -1, assigned * n_batches + self.cells.batches.codes)
        found = moments(self.cells.logged, codes, n_labels * n_batches)
        means = self._label_means(found, n_labels, n_batches)
        inside = embedded.rows
        result = {}
        for code, label in enumerate(self.cells.labels.names):
            n_clusters = int((owner == code).sum())
            values = dict.fromkeys(MEASURES, float("nan"))
            if n_clusters and label in self.scores:
                values["auroc"] = float(column_auroc(self.scores[label][inside][:, None], assigned[inside] == code)[0])
                values["tau"] = float(np.median(tau(means[:, self.positions[label]], code)))
                values["agreement"] = self._agreement(found, code, n_labels, n_batches)
            result[label] = {"n_clusters": n_clusters, **values}
        return result

    @staticmethod
    def _label_means(found: Moments, n_labels: int, n_batches: int) -> "np.ndarray":
        """Return the mean of every gene over the clusters of each label that has some, shape (n_labels, n_genes)."""
        import numpy as np

        n = found.n.reshape(n_labels, n_batches, 1)
        sums = (n * found.mean.reshape(n_labels, n_batches, -1)).sum(axis=1)
        total = n.sum(axis=1)
        return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)

    @staticmethod
    def _agreement(found: Moments, code: int, n_labels: int, n_batches: int) -> float:
        """Return the mean Jaccard index of the 50 most specific genes of a label's clusters between batches."""
        import numpy as np

        tops = []
        for batch in range(n_batches):
            own = code * n_batches + batch
            rest = [x * n_batches + batch for x in range(n_labels) if x != code and found.n[x * n_batches + batch]]
            if found.n[own] >= MIN_CELLS and rest:
                tops.append(set(top_genes(found, [own], rest, N_TOP).tolist()))
        shares = [len(a & b) / len(a | b) for a, b in combinations(tops, 2) if a | b]
        return float(np.mean(shares)) if shares else float("nan")


def tau(means: "np.ndarray", code: int) -> "np.ndarray":
    """Return tau of genes (Yanai et al. 2005, 10.1093/bioinformatics/bti042): how specific to few labels they are.

    Parameters
    ----------
    means
        Mean of every gene in every label, shape (n_labels, n_genes); rows of NaN are left out.
    code
        A label; genes that are absent everywhere are specific to none and have 0.

    Returns
    -------
    Shape (n_genes,), 0 (the same everywhere) to 1 (in one label only).
    """
    import numpy as np

    known = means[np.isfinite(means).all(axis=1)]
    if len(known) < 2 or not np.isfinite(means[code]).all():
        return np.full(means.shape[1], np.nan)
    highest = known.max(axis=0)
    shares = np.divide(known, highest, out=np.ones_like(known), where=highest > 0)
    return (1 - shares).sum(axis=0) / (len(known) - 1)


def marker_rows(
    before: dict[str, dict[str, float]],
    after: dict[str, dict[str, float]],
    markers: dict[str, MarkerList],
    settings: DiagnosisSettings,
) -> "pd.DataFrame":
    """Compare the markers on the clusters of an embedding with those of the uncorrected one.

    Parameters
    ----------
    before, after
        What :meth:`MarkerMeasure.of` gives for both.
    markers
        The markers.
    settings
        Thresholds.

    Returns
    -------
    ``COLUMNS``, a row per label. Flags: ``auroc``, ``tau`` (fell by more than the threshold), ``no_cluster`` (a label
    that had a cluster has none).
    """
    import pandas as pd

    rows = []
    for label, found in markers.items():
        row: dict[str, Any] = {"label": label, "source": found.source, "markers": ",".join(found.genes)}
        row["n_markers"] = len(found.genes)
        for when, values in (("before", before[label]), ("after", after[label])):
            row |= {f"{name}_{when}": values[name] for name in ("n_clusters", *MEASURES)}
        reason = found.reason or ("" if row["n_clusters_after"] else "no_cluster")
        lost = row["n_clusters_before"] > 0 and not row["n_clusters_after"] and found.genes
        falls = {"auroc": settings.marker_drop, "tau": settings.tau_drop}
        flags = [name for name, limit in falls.items() if row[f"{name}_before"] - row[f"{name}_after"] > limit]
        row |= {"flags": ",".join([*flags, *(["no_cluster"] if lost else [])])}
        rows.append(row | {"status": "not_applicable" if reason else "ok", "reason": reason})
    return pd.DataFrame(rows, columns=list(COLUMNS))
