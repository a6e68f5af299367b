"""Two-dimensional layout of cells from their neighbours with UMAP."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def layout(
    values: "np.ndarray",
    indices: "np.ndarray",
    distances: "np.ndarray",
    *,
    min_dist: float,
    seed: int,
    n_epochs: int | None = None,
) -> "np.ndarray":
    """Lay out cells in two dimensions with UMAP (McInnes et al. 2018), from given neighbours.

    Scanpy's settings: spread 1, spectral start; one thread, so that the result is the same on every run.

    Parameters
    ----------
    values
        Embedding, shape (n_cells, n_dims), float32; used for the start of separate components only.
    indices, distances
        Nearest cells with self first, shape (n_cells, k).
    min_dist
        Smallest distance of points in the layout.
    seed
        Seed of start and sampling.
    n_epochs
        Epochs; None: 500, 200 above 10,000 cells.

    Returns
    -------
    Coordinates, shape (n_cells, 2), float32.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    from scfm.metrics.connectivities import umap_connectivities

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*TBB.*")
        from umap import umap_ as umap

        warnings.filterwarnings("ignore", message="Embedding a total of")  # separate components are no error
        a, b = umap.find_ab_params(1.0, min_dist)
        # the same weights as umap-learn's own graph (tested), whose compilation takes longer than all else here
        graph = csr_matrix(umap_connectivities(indices, distances))
        coordinates, _ = umap.simplicial_set_embedding(
            values,
            graph,
            n_components=2,
            initial_alpha=1.0,
            a=a,
            b=b,
            gamma=1.0,
            negative_sample_rate=5,
            n_epochs=n_epochs,
            init="spectral",
            random_state=np.random.RandomState(seed),
            metric="euclidean",
            metric_kwds={},
            densmap=False,
            densmap_kwds={},
            output_dens=False,
            parallel=False,
        )
    return coordinates.astype(np.float32)
