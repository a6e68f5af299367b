"""kBET inside each label: do the batches of a cell's neighbours look like a draw from the label's batches?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.metrics.connectivities import umap_connectivities
from scfm.metrics.inputs import MetricInputs, MetricResult, Score, mean_over_labels
from scfm.metrics.power import MIN_NEIGHBORHOODS, can_tell, separated_shares

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp

K = 50
ALPHA = 0.05
MIN_CELLS = 10
N_COMPONENTS = 100
#: components of fewer than MIN_NEIGHBORHOODS neighbourhoods are left out; a label needs this share of its cells
_MIN_SHARE = 0.75
_DENSE_CELLS = 400


def diffusion_coordinates(graph: "sp.csr_array", n_components: int, n_parts: int = 1) -> "np.ndarray":
    """Diffusion map of a graph (Coifman & Lafon 2006; density normalised), all numbers of steps summed up.

    Parameters
    ----------
    graph
        Symmetric weights, shape (n_cells, n_cells).
    n_components
        Eigenvectors to use; at most n_cells - 1.
    n_parts
        Connected components of the graph: that many eigenvalues are 1 by theory, and their vectors keep the weight 1.

    Returns
    -------
    Shape (n_cells, n_components): eigenvectors times lambda / (1 - lambda).
    """
    import numpy as np
    import scipy.sparse as sp

    weights = sp.csr_array(graph).astype(np.float64)
    degree = sp.diags_array(1 / np.asarray(weights.sum(axis=0)).ravel())
    kernel = degree @ weights @ degree
    root = sp.diags_array(1 / np.sqrt(np.asarray(kernel.sum(axis=0)).ravel()))
    values, vectors = _largest_eigenpairs(sp.csr_array(root @ kernel @ root), min(n_components, graph.shape[0] - 1))
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], vectors[:, order]
    scale = np.ones_like(values)
    scale[n_parts:] = values[n_parts:] / np.maximum(1 - values[n_parts:], 1e-12)
    return vectors * scale


def _largest_eigenpairs(matrix: "sp.csr_array", k: int) -> "tuple[np.ndarray, np.ndarray]":
    """Return the k eigenpairs of largest magnitude of a symmetric matrix; dense for small ones."""
    import numpy as np
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    n = matrix.shape[0]
    if n <= _DENSE_CELLS or k > n // 3:
        values, vectors = eigh(matrix.toarray())
        chosen = np.sort(np.argsort(-np.abs(values), kind="stable")[:k])
        return values[chosen], vectors[:, chosen]
    start = np.random.default_rng(0).standard_normal(n)
    return eigsh(matrix, k=k, which="LM", v0=start)


def acceptance(indices: "np.ndarray", codes: "np.ndarray", alpha: float = ALPHA) -> float:
    """Share of cells whose neighbours' batches pass Pearson's chi-square test against the shares of all cells.

    Parameters
    ----------
    indices
        Neighbours, shape (n_cells, k).
    codes
        Batch of every cell, 0 to n_batches - 1, none empty.
    alpha
        A cell is accepted if its p-value is at least this.

    Returns
    -------
    0 (every neighbourhood differs) to about 1 - alpha (neighbourhoods are random draws); 0 with a single batch left.
    """
    import numpy as np

    sizes = np.bincount(codes)
    if len(sizes) < 2:
        return 0.0
    observed = np.stack([(codes[indices] == b).sum(axis=1) for b in range(len(sizes))], axis=1)
    return float(_passes(observed, sizes, alpha).mean())


def _passes(observed: "np.ndarray", sizes: "np.ndarray", alpha: float) -> "np.ndarray":
    """Return which neighbourhoods (rows of counts per batch, equal sums) pass the test against the shares of sizes."""
    from scipy.special import chdtrc

    expected = sizes / sizes.sum() * observed.sum(axis=1, keepdims=True)
    statistic = ((observed - expected) ** 2 / expected).sum(axis=1)
    return chdtrc(len(sizes) - 1, statistic) >= alpha


def neighborhood_size(sizes: "np.ndarray") -> int:
    """Return the neighbours besides the cell itself: a quarter of the mean batch size of the label, 10 to 70."""
    return min(70, max(10, int(sizes.sum() / len(sizes) / 4)))


def has_power(sizes: "np.ndarray", alpha: float = ALPHA) -> bool:
    """Return whether the test can reject in a label: three neighbourhoods of cells, and separated batches fail.

    Parameters
    ----------
    sizes
        Cells of every batch of the label, all positive, shape (n_batches,).
    alpha
        As in :func:`acceptance`.
    """
    k = neighborhood_size(sizes) + 1
    if sizes.sum() < MIN_NEIGHBORHOODS * k:
        return False
    separated = k * separated_shares(sizes, k, counts_itself=True)
    return can_tell(sizes, _passes(separated, sizes, alpha), 1.0)


def label_acceptance(
    graph: "sp.csr_array",
    batches: "np.ndarray",
    cell_ids: "np.ndarray",
    n_components: int = N_COMPONENTS,
) -> tuple[float, int]:
    """kBET of one label.

    Parameters
    ----------
    graph
        Connectivities among the label's cells, shape (n, n).
    batches
        Batch of every cell of the label, shape (n,).
    cell_ids
        Their ids, sorted.
    n_components
        Diffusion components to use at most.

    Returns
    -------
    Acceptance, 0 to 1, and the number of components used.
    """
    import numpy as np
    from scipy.sparse.csgraph import connected_components

    from scfm.neighbors.search import find_neighbors

    k0 = neighborhood_size(np.unique(batches, return_counts=True)[1])
    n_parts, part = connected_components(graph, directed=False)
    if n_parts > 1:
        large = np.bincount(part) >= MIN_NEIGHBORHOODS * k0
        kept = np.flatnonzero(large[part])
        if len(kept) < _MIN_SHARE * len(batches):
            return 0.0, n_components
        graph, batches, cell_ids, n_parts = graph[kept][:, kept], batches[kept], cell_ids[kept], int(large.sum())
    coordinates = diffusion_coordinates(graph, n_components, n_parts)
    near = find_neighbors(coordinates, cell_ids, k=k0 + 1)
    return acceptance(near.indices, np.unique(batches, return_inverse=True)[1]), coordinates.shape[1]


def kbet(data: MetricInputs) -> MetricResult:
    """kBET (Büttner et al. 2019, 10.1038/s41592-018-0254-1) per label, mean over labels; 0 to 1, higher is better
    mixing.

    A label without power (:func:`has_power`) has no value and no part in the mean.

    As in scib-metrics 0.5.10, a label with fewer cells than diffusion components lowers their number for itself and for
    all labels after it in the alphabet. That is a slip there (a value depends on the names of other labels), kept
    because values are to agree.
    """
    import numpy as np

    data.need_batches()
    near = data.nearest(K, at_least=3)
    graph = data.keep("connectivities_50", lambda: umap_connectivities(near.indices, near.distances), of=())
    parts, n_components = {}, N_COMPONENTS
    for code, name in enumerate(data.labels.names):
        cells = np.flatnonzero(data.labels.codes == code)
        batches = data.batches.codes[cells]
        if len(cells) < MIN_CELLS or len(np.unique(batches)) < 2:
            single = len(np.unique(batches)) < 2
            parts[name] = Score(None, len(cells), "label_in_one_batch" if single else "too_few_cells")
            continue
        value, n_components = label_acceptance(graph[cells][:, cells], batches, data.cell_ids[cells], n_components)
        powerful = has_power(np.unique(batches, return_counts=True)[1])
        parts[name] = Score(value, len(cells)) if powerful else Score(None, len(cells), "too_few_cells")
    return mean_over_labels(parts, "kBET")
