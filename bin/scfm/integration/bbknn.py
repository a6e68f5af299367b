"""BBKNN (Polanski et al. 2020, doi 10.1093/bioinformatics/btz625): every cell is linked to its nearest cells in every
batch. The result is a graph, without coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.integration.base import MethodInputs, MethodOutput
from scfm.registries.messages import message
from scfm.text import listing

if TYPE_CHECKING:
    import numpy as np

#: ``search``: ``exact`` (a k-d tree per batch) or ``annoy`` (approximate, for many cells)
DEFAULTS: dict = {"n_pcs": 50, "neighbors_within_batch": 3, "search": "exact"}
#: the library's names of the searches; both give the same graph in every run
_SEARCHES = {"exact": "cKDTree", "annoy": "annoy"}


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Link every cell to its nearest cells in each batch, in the uncorrected PCA, and weigh the edges as UMAP does.

    Parameters
    ----------
    inputs
        PCA and batches are read.
    settings
        ``n_pcs`` components, ``neighbors_within_batch`` per cell and batch, ``search``.
    seed
        Not used: the method is deterministic.

    Returns
    -------
    The connectivities, shape (n_cells, n_cells), CSR, symmetric, as ``graph``.
    """
    import numpy as np
    import scipy.sparse as sp

    inputs.require_batches("BBKNN")
    if settings["search"] not in _SEARCHES:
        raise ScfmError(f"bbknn_search is '{settings['search']}'; it can be {' or '.join(_SEARCHES)}.")
    nearest = settings["neighbors_within_batch"]
    _require_cells(inputs.batches, nearest, inputs.dataset)

    from bbknn import matrix as library

    from scfm.integration.annoy_threads import one_annoy_thread

    n_pcs = min(settings["n_pcs"], inputs.pca.shape[1])
    with one_annoy_thread(library):
        _, connectivities, _ = library.bbknn(
            inputs.pca.astype(np.float32),
            inputs.batches.astype(str),
            neighbors_within_batch=nearest,
            n_pcs=n_pcs,
            computation=_SEARCHES[settings["search"]],
            metric="euclidean",
        )
    graph = sp.csr_array(connectivities)
    n_batches = len(set(inputs.batches))
    n_parts = int(sp.csgraph.connected_components(graph, directed=False)[0])
    facts = {
        "n_edges": graph.nnz // 2,
        "n_parts": n_parts,
        "neighbors_per_cell": nearest * n_batches,
        "n_pcs_used": n_pcs,
    }
    told = message("I-GRF-01", dataset=inputs.dataset, method="bbknn", values={"n_batches": n_batches, "n": nearest})
    return MethodOutput(graph=graph, warnings=[told], details=facts)


def _require_cells(batches: "np.ndarray", nearest: int, dataset: str) -> None:
    """Raise :class:`ScfmError` where a batch has fewer cells than every cell is linked to in it."""
    import numpy as np

    names, sizes = np.unique(batches.astype(str), return_counts=True)
    small = [f"{name} ({size})" for name, size in zip(names, sizes, strict=True) if size < nearest]
    if small:
        raise ScfmError(
            f"{dataset}: BBKNN links every cell to {nearest} cells of every batch, and {listing(small)} have fewer."
            " Lower --bbknn_neighbors_within_batch, or merge or drop these batches in the file."
        )
