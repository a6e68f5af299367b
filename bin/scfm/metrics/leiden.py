"""Leiden clusters of the 15-NN graph, or of the graph that a method returns, against the labels."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.metrics.agreement import adjusted_rand_index, normalized_mutual_information
from scfm.metrics.connectivities import umap_connectivities
from scfm.metrics.evaluated import LIGHT_ABOVE
from scfm.metrics.inputs import LEIDEN_SEED, MetricInputs
from scfm.metrics.results import MetricResult, Score

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import scipy.sparse as sp

    from scfm.metrics.leiden_large import LargeGraph

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
    10.1038/s41598-019-41695-z), compiled above ``LIGHT_ABOVE`` cells, else by igraph.

    Parameters
    ----------
    graph
        Shape (n_cells, n_cells), symmetric.
    resolutions
        One clustering for each.
    seed
        Every clustering starts from this seed.

    Returns
    -------
    Cluster of every cell, shape (n_cells,), per resolution.
    """
    network = _network_of(graph, is_light=graph.shape[0] > LIGHT_ABOVE)
    return [network.clusters(float(resolution), seed) for resolution in resolutions]


def _network_of(graph: "sp.csr_array", *, is_light: bool) -> "_Network | LargeGraph":
    """Return the graph, made once for many clusterings, as igraph or as the compiled code takes it."""
    from scfm.metrics.leiden_large import LargeGraph

    return LargeGraph(graph) if is_light else _Network(graph)


class _Network:
    """The graph as igraph takes it.

    Both directions of an edge become edges, as in scanpy and scib-metrics. igraph's random numbers are Python's.

    Parameters
    ----------
    graph
        Shape (n_cells, n_cells), symmetric.
    """

    def __init__(self, graph: "sp.csr_array") -> None:
        import igraph
        import numpy as np

        edges = graph.tocoo()
        self.weights = edges.data.astype(float).tolist()
        self.graph = igraph.Graph(n=graph.shape[0], edges=np.column_stack([edges.row, edges.col]), directed=False)

    def clusters(self, resolution: float, seed: int) -> "np.ndarray":
        """Return the cluster of every cell, shape (n_cells,)."""
        import igraph
        import numpy as np

        igraph.set_random_number_generator(random.Random(seed))
        try:
            # of the base class: a list, where Graph makes an object that counts the clusters in a Python loop
            membership, _ = igraph.GraphBase.community_leiden(
                self.graph, edge_weights=self.weights, resolution=resolution, normalize_resolution=True
            )
        finally:
            igraph.set_random_number_generator(random)
        return np.asarray(membership)


def best_agreement(
    clusterings: "Sequence[np.ndarray]", labels: "np.ndarray", resolutions: "Sequence[float]" = RESOLUTIONS
) -> Agreement:
    """Return the clustering with the highest NMI (the first of equals), with its ARI."""
    scored = [
        Agreement(r, normalized_mutual_information(labels, c), adjusted_rand_index(labels, c), int(c.max()) + 1)
        for r, c in zip(resolutions, clusterings, strict=True)
    ]
    return max(scored, key=lambda a: a.nmi)


def _leiden(data: MetricInputs) -> list[Agreement]:
    """Choose the resolution with the first seed, then cluster at it with the others; for NMI and ARI."""
    data.need_labels()

    def connect() -> "_Network | LargeGraph":
        graph = data.graph
        if graph is None:
            near = data.nearest(K, at_least=3)
            graph = umap_connectivities(near.indices, near.distances)
        return _network_of(graph, is_light=data.is_light)

    def search() -> "list[np.ndarray]":
        return [network.clusters(resolution, data.seed) for resolution in RESOLUTIONS]

    def compute() -> list[Agreement]:
        best = best_agreement(data.keep("leiden_clusters", search, of=()), labels)
        others = [network.clusters(best.resolution, data.seed + i) for i in range(1, data.n_seeds)]
        return [best, *(best_agreement([clusters], labels, [best.resolution]) for clusters in others)]

    network, labels = data.keep("leiden_network", connect, of=()), data.labels.codes
    return data.keep("leiden", compute, of=("labels",))


def leiden_nmi(data: MetricInputs) -> MetricResult:
    """NMI at the resolution that has the best one, median over seeds; 0 to 1, higher is better."""
    return MetricResult(Score.of_seeds([found.nmi for found in _leiden(data)], data.n_cells))


def leiden_ari(data: MetricInputs) -> MetricResult:
    """ARI at the resolution that has the best NMI, median over seeds; -0.5 to 1, higher is better."""
    return MetricResult(Score.of_seeds([found.ari for found in _leiden(data)], data.n_cells))
