"""Graph connectivity: does every label hang together in the 15-NN graph, or in the graph that a method returns?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.metrics.inputs import MetricInputs
from scfm.metrics.results import MetricResult, Score, mean_over_labels

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp

K = 15


def neighbor_edges(indices: "np.ndarray") -> "sp.csr_array":
    """Return the directed edges from every cell to its neighbours, shape (n_cells, n_cells).

    Parameters
    ----------
    indices
        Neighbours of all cells, shape (n_cells, k).
    """
    import numpy as np
    import scipy.sparse as sp

    n, k = indices.shape
    pointers = np.arange(0, n * k + 1, k)
    return sp.csr_array((np.ones(n * k, dtype=np.int8), indices.ravel(), pointers), shape=(n, n))


def largest_component(edges: "sp.csr_array", cells: "np.ndarray", connection: str) -> float:
    """Share of ``cells`` in the largest component of the graph restricted to them.

    Parameters
    ----------
    edges
        Edges from each cell, shape (n_cells, n_cells).
    cells
        Rows of the label's cells.
    connection
        ``strong`` (paths both ways, along the direction) or ``weak`` (direction does not count).
    """
    import numpy as np
    from scipy.sparse.csgraph import connected_components

    _, component = connected_components(edges[cells][:, cells], connection=connection)
    return float(np.bincount(component).max() / len(cells))


def _connectivity(data: MetricInputs, connection: str) -> MetricResult:
    """Compute the share per label and the plain mean over labels of two cells or more."""
    import numpy as np

    edges = data.graph if data.graph is not None else neighbor_edges(data.nearest(K).indices)
    parts = {}
    for code, name in enumerate(data.labels.names):
        cells = np.flatnonzero(data.labels.codes == code)
        if len(cells) < 2:  # a single cell hangs together with itself
            parts[name] = Score(None, len(cells), "too_few_cells")
            continue
        parts[name] = Score(largest_component(edges, cells, connection), len(cells))
    return mean_over_labels(parts, "Graph connectivity")


def graph_connectivity(data: MetricInputs) -> MetricResult:
    """Strong components of the directed graph, as in scib-metrics; 0 to 1, higher is better."""
    return _connectivity(data, "strong")


def graph_connectivity_undirected(data: MetricInputs) -> MetricResult:
    """Components of the graph without directions, as in scib (Luecken et al. 2022); 0 to 1, higher is better."""
    return _connectivity(data, "weak")
