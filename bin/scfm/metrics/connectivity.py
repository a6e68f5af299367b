"""Graph connectivity: does every label hang together in the 15-NN graph?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.metrics.inputs import MetricInputs, MetricResult, Score, mean_over_labels

if TYPE_CHECKING:
    import numpy as np

K = 15


def largest_component(indices: "np.ndarray", cells: "np.ndarray", connection: str) -> float:
    """Share of ``cells`` in the largest component of the neighbour graph restricted to them.

    Parameters
    ----------
    indices
        Neighbours of all cells, shape (n_cells, k): directed edges from each cell.
    cells
        Rows of the label's cells.
    connection
        ``strong`` (paths both ways, along the direction) or ``weak`` (direction does not count).
    """
    import numpy as np
    import scipy.sparse as sp
    from scipy.sparse.csgraph import connected_components

    place = np.full(len(indices), -1)
    place[cells] = np.arange(len(cells))
    target = place[indices[cells]]
    source = np.broadcast_to(np.arange(len(cells))[:, None], target.shape)
    inside = target >= 0
    edges = (np.ones(int(inside.sum()), dtype=np.int8), (source[inside], target[inside]))
    _, component = connected_components(sp.csr_array(edges, shape=(len(cells), len(cells))), connection=connection)
    return float(np.bincount(component).max() / len(cells))


def _connectivity(data: MetricInputs, connection: str) -> MetricResult:
    """Compute the share per label and the plain mean over labels of two cells or more."""
    import numpy as np

    indices = data.nearest(K).indices
    parts = {}
    for code, name in enumerate(data.labels.names):
        cells = np.flatnonzero(data.labels.codes == code)
        if len(cells) < 2:  # a single cell hangs together with itself
            parts[name] = Score(None, len(cells), "too_few_cells")
            continue
        parts[name] = Score(largest_component(indices, cells, connection), len(cells))
    return mean_over_labels(parts, "Graph connectivity")


def graph_connectivity(data: MetricInputs) -> MetricResult:
    """Strong components of the directed graph, as in scib-metrics; 0 to 1, higher is better."""
    return _connectivity(data, "strong")


def graph_connectivity_undirected(data: MetricInputs) -> MetricResult:
    """Components of the graph without directions, as in scib (Luecken et al. 2022); 0 to 1, higher is better."""
    return _connectivity(data, "weak")
