"""kBET inside each label: do the batches of a cell's neighbours look like a draw from the label's batches?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.metrics.connectivities import umap_connectivities
from scfm.metrics.evaluated import Sample
from scfm.metrics.inputs import MetricInputs
from scfm.metrics.power import MIN_NEIGHBORHOODS, can_tell, separated_shares
from scfm.metrics.results import MetricResult, Score, mean_over_labels
from scfm.task.device import CPU

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
#: in large data: largest standard error of the mean over labels, whatever the shares of accepted cells are
MAX_ERROR = 0.002
#: in light data: labels of more cells have eigenvectors of single precision, to this tolerance
_SINGLE_CELLS, _TOLERANCE = 1000, 2e-2


def diffusion_coordinates(
    graph: "sp.csr_array", n_components: int, n_parts: int = 1, *, is_light: bool = False
) -> "np.ndarray":
    """Diffusion map of a graph (Coifman & Lafon 2006; density normalised), all numbers of steps summed up.

    Parameters
    ----------
    graph
        Symmetric weights, shape (n_cells, n_cells).
    n_components
        Eigenvectors to use; at most n_cells - 1.
    n_parts
        Connected components of the graph: that many eigenvalues are 1 by theory, and their vectors keep the weight 1.
    is_light
        Whether eigenvectors may be of single precision.

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
    k = min(n_components, graph.shape[0] - 1)
    values, vectors = _largest_eigenpairs(sp.csr_array(root @ kernel @ root), k, is_light=is_light)
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], vectors[:, order]
    scale = np.ones_like(values)
    scale[n_parts:] = values[n_parts:] / np.maximum(1 - values[n_parts:], 1e-12)
    return vectors * scale


def _largest_eigenpairs(matrix: "sp.csr_array", k: int, *, is_light: bool = False) -> "tuple[np.ndarray, np.ndarray]":
    """Return the k eigenpairs of largest magnitude of a symmetric matrix; dense for small ones.

    In light data the eigenvectors of large labels are computed in single precision to a tolerance, in half the time.
    """
    import numpy as np
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    n = matrix.shape[0]
    if n <= _DENSE_CELLS or k > n // 3:
        values, vectors = eigh(matrix.toarray())
        chosen = np.sort(np.argsort(-np.abs(values), kind="stable")[:k])
        return values[chosen], vectors[:, chosen]
    start = np.random.default_rng(0).standard_normal(n)
    if is_light and n > _SINGLE_CELLS:
        found = eigsh(matrix.astype(np.float32), k=k, which="LM", v0=start.astype(np.float32), tol=_TOLERANCE)
        return found[0].astype(np.float64), found[1].astype(np.float64)
    return eigsh(matrix, k=k, which="LM", v0=start)


def accepted(indices: "np.ndarray", codes: "np.ndarray", alpha: float = ALPHA) -> "np.ndarray":
    """Return which cells' neighbours' batches pass Pearson's chi-square test against the shares of all cells.

    Parameters
    ----------
    indices
        Neighbours, shape (n_rows, k).
    codes
        Batch of every cell, 0 to n_batches - 1, none empty, shape (n_cells,).
    alpha
        A cell is accepted if its p-value is at least this.

    Returns
    -------
    Shape (n_rows,); nearly all False where neighbourhoods differ, about 1 - alpha True where they are random draws; all
    False with a single batch left.
    """
    import numpy as np

    sizes = np.bincount(codes)
    if len(sizes) < 2:
        return np.zeros(len(indices), dtype=bool)
    observed = np.stack([(codes[indices] == b).sum(axis=1) for b in range(len(sizes))], axis=1)
    return _passes(observed, sizes, alpha)


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
    rows: "np.ndarray | None" = None,
    *,
    is_light: bool = False,
    device: str = CPU,
) -> "tuple[np.ndarray, int]":
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
    rows
        Positions of the cells to test, ascending; all by default. With them distances are of single precision on the
        processor.
    is_light
        Whether eigenvectors may be of single precision.
    device
        Where neighbours are searched.

    Returns
    -------
    Whether each tested cell is accepted, and the number of components used. Cells of components that are left out are
    not tested, unless they are too many: then no cell is accepted.
    """
    import numpy as np
    from scipy.sparse.csgraph import connected_components

    from scfm.neighbors.exact import by_hash, nearest
    from scfm.neighbors.products import candidates_of_single

    k0 = neighborhood_size(np.unique(batches, return_counts=True)[1])
    n_parts, part = connected_components(graph, directed=False)
    if n_parts > 1:
        large = np.bincount(part) >= MIN_NEIGHBORHOODS * k0
        kept = np.flatnonzero(large[part])
        if len(kept) < _MIN_SHARE * len(batches):
            return np.zeros(len(batches) if rows is None else len(rows), dtype=bool), n_components
        graph, batches, cell_ids, n_parts = graph[kept][:, kept], batches[kept], cell_ids[kept], int(large.sum())
        rows = None if rows is None else np.flatnonzero(np.isin(kept, rows))
    coordinates = diffusion_coordinates(graph, n_components, n_parts, is_light=is_light)
    if rows is not None and device == CPU:  # less is lost than by the eigenvectors
        coordinates = coordinates.astype(np.float32)
        near, _ = candidates_of_single(coordinates[rows], coordinates, min(k0 + 1, len(coordinates)))
    else:
        near, _ = nearest(coordinates, k0 + 1, ties=by_hash(cell_ids), rows=rows, device=device)
    return accepted(near, np.unique(batches, return_inverse=True)[1]), coordinates.shape[1]


def _score(passed: "np.ndarray", n_cells: int, rows: "np.ndarray | None") -> Score:
    """Return the share of accepted cells of a label; with ``rows`` these are a sample and it has a standard error."""
    value = float(passed.mean())
    if rows is None:
        return Score(value, n_cells)
    error = (value * (1 - value) / max(1, len(passed) - 1) * (1 - len(rows) / n_cells)) ** 0.5
    return Score(value, len(passed), stderr=error)


def _tested(data: MetricInputs, n_powerful: int) -> Sample | None:
    """Return the cells to test, as many of every label as :data:`MAX_ERROR` asks for; None for all cells.

    All labels have an equal part in the mean, so small ones are tested as thoroughly as large ones.

    Parameters
    ----------
    n_powerful
        Labels that have a part in the mean.
    """
    import numpy as np

    if not data.is_large:
        return None
    of_endless_label = 0.25 / MAX_ERROR**2 / max(1, n_powerful)
    per_label = np.ceil(of_endless_label / (1 + of_endless_label / data.labels.sizes))
    return Sample.draw(data.cell_ids, data.labels.codes, n=0, per_label=per_label, seed=data.seed)


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
    powerful = [(row > 0).sum() > 1 and has_power(row[row > 0]) for row in data.batches_per_label]
    parts, n_components, sample = {}, N_COMPONENTS, _tested(data, sum(powerful))
    for code, name in enumerate(data.labels.names):
        cells = np.flatnonzero(data.labels.codes == code)
        batches = data.batches.codes[cells]
        if len(cells) < MIN_CELLS or len(np.unique(batches)) < 2:
            single = len(np.unique(batches)) < 2
            parts[name] = Score(None, len(cells), "label_in_one_batch" if single else "too_few_cells")
            continue
        rows = None if sample is None else np.flatnonzero(np.isin(cells, sample.rows, assume_unique=True))
        passed, n_components = label_acceptance(
            graph[cells][:, cells],
            batches,
            data.cell_ids[cells],
            n_components,
            rows,
            is_light=data.is_light,
            device=data.device,
        )
        parts[name] = _score(passed, len(cells), rows) if powerful[code] else Score(None, len(cells), "too_few_cells")
    return mean_over_labels(parts, "kBET")
