"""Leiden clusters of the 15-NN graph against the labels."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.metrics.agreement import adjusted_rand_index, normalized_mutual_information
from scfm.metrics.connectivities import umap_connectivities
from scfm.metrics.inputs import LEIDEN_SEED, MetricInputs, MetricResult, Score

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import scipy.sparse as sp

K = 15
RESOLUTIONS = tuple(round(0.2 * i, 1) for i in range(1, 11))


@dataclass(frozen=True)
class Agreement:
    """Agreement of one clustering with the labels."""

    resolution: float
    nmi: float
    ari: float
    n_clusters: int


def leiden_clusters(
    graph: "sp.csr_array", resolutions: "Sequence[float]" = RESOLUTIONS, seed: int = LEIDEN_SEED
) -> "list[np.ndarray]":
    """Cluster a symmetric weighted graph by Leiden with the modularity objective (Traag et al. 2019,
    10.1038/s41598-019-41695-z).

    Parameters
    ----------
    graph
        Shape (n_cells, n_cells), symmetric.
    resolutions
        One clustering for each.
    seed
        Every clustering starts from this seed; igraph's random numbers are Python's.

    Returns
    -------
    Cluster of every cell, shape (n_cells,), per resolution.
    """
    import igraph
    import numpy as np

    edges = graph.tocoo()  # both directions of an edge stay, as in scanpy and scib-metrics; modularity is the same
    network = igraph.Graph(n=graph.shape[0], edges=np.column_stack([edges.row, edges.col]), directed=False)
    weights = edges.data.astype(float).tolist()
    found = []
    try:
        for resolution in resolutions:
            igraph.set_random_number_generator(random.Random(seed))
            parts = network.community_leiden(
                objective_function="modularity", weights=weights, resolution=float(resolution)
            )
            found.append(np.asarray(parts.membership))
    finally:
        igraph.set_random_number_generator(random)
    return found


def best_agreement(
    clusterings: "Sequence[np.ndarray]", labels: "np.ndarray", resolutions: "Sequence[float]" = RESOLUTIONS
) -> Agreement:
    """Return the clustering with the highest NMI (the first of equals), with its ARI."""
    scored = [
        Agreement(r, normalized_mutual_information(labels, c), adjusted_rand_index(labels, c), int(c.max()) + 1)
        for r, c in zip(resolutions, clusterings, strict=True)
    ]
    return max(scored, key=lambda a: a.nmi)


def _leiden(data: MetricInputs) -> Agreement:
    """Cluster once for NMI and ARI."""
    data.need_labels()

    def cluster() -> "list[np.ndarray]":
        near = data.nearest(K, at_least=3)
        return leiden_clusters(umap_connectivities(near.indices, near.distances), seed=data.seed)

    def compute() -> Agreement:
        return best_agreement(data.keep("leiden_clusters", cluster, of=()), data.labels.codes)

    return data.keep("leiden", compute, of=("labels",))


def leiden_nmi(data: MetricInputs) -> MetricResult:
    """NMI at the resolution that has the best one; 0 to 1, higher is better."""
    return MetricResult(Score(_leiden(data).nmi, data.n_cells))


def leiden_ari(data: MetricInputs) -> MetricResult:
    """ARI at the resolution that has the best NMI; -0.5 to 1, higher is better."""
    return MetricResult(Score(_leiden(data).ari, data.n_cells))
