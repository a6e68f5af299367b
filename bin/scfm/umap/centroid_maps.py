"""Maps of the centroids of every batch and label, for looking: nothing is scored from them.

The centroids themselves and their alignment are a score, see :mod:`scfm.metrics.centroids`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.registries.messages import message

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MAPS = ("umap", "tsne")
#: settings of the study's maps of centroids
MAP_SEED, UMAP_NEIGHBORS, UMAP_MIN_DIST, TSNE_PERPLEXITY = 42, 15, 0.1, 30.0
#: fewer points make no map: UMAP's start needs more components than they have
MIN_POINTS = 5


def parse_maps(text: Any) -> tuple[str, ...]:
    """Return the maps that the parameter ``centroid_maps`` asks for: ``none``, ``umap``, ``tsne`` or both.

    Raises
    ------
    ScfmError
        Another word.
    """
    from scfm.text import split_list

    words = split_list(text)
    wrong = [w for w in words if w not in (*MAPS, "none")]
    if wrong or ("none" in words and len(words) > 1):
        raise ScfmError(f"--centroid_maps is '{text}'; it takes 'none', 'umap', 'tsne' or 'umap,tsne'.")
    return tuple(m for m in MAPS if m in words)


def map_centroids(values: "np.ndarray", kind: str) -> "np.ndarray":
    """Lay out centroids in two dimensions with the study's settings; for looking, nothing is scored from it.

    UMAP: 15 neighbours, at most all other points, smallest distance 0.1; t-SNE: perplexity 30, at most all other
    points. Seed 42 and one thread, so that the result is the same on every run.

    Parameters
    ----------
    values
        Shape (n_points, n_dims), in an order that does not depend on the rows of any file.
    kind
        ``umap`` or ``tsne``.

    Returns
    -------
    Coordinates, shape (n_points, 2); NaN for fewer than 5 points.

    Raises
    ------
    ScfmError
        The coordinates are not finite.
    """
    import numpy as np

    n = len(values)
    if n < MIN_POINTS:
        return np.full((n, 2), np.nan)
    values = values.astype(np.float32)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # repeated points and separate components are no error
        if kind == "umap":
            from scfm.neighbors.exact import by_position, nearest
            from scfm.umap.layout import layout

            # with the types of the cells' UMAPs: what is compiled for those is not compiled again
            near, far = nearest(values, min(UMAP_NEIGHBORS, n - 1), ties=by_position)
            coordinates = layout(values, near, far.astype(np.float32), min_dist=UMAP_MIN_DIST, seed=MAP_SEED)
        else:
            from sklearn.manifold import TSNE

            reducer = TSNE(perplexity=min(TSNE_PERPLEXITY, n - 1), random_state=MAP_SEED, n_jobs=1)
            coordinates = np.asarray(reducer.fit_transform(values))
    if not np.isfinite(coordinates).all():
        raise ScfmError(f"The {kind} of {n} centroids gave coordinates that are not finite.")
    return coordinates


def centroid_maps(
    embedding: Path, sidecar: dict[str, Any], obs: Path, *, maps: Sequence[str]
) -> tuple["pd.DataFrame", list[dict]]:
    """Return the places of the centroids of one embedding, with the primary keys, in maps.

    Parameters
    ----------
    embedding, sidecar, obs
        As for :func:`scfm.metrics.load.load_scored_cells`.
    maps
        Kinds of maps, see :func:`parse_maps`.

    Returns
    -------
    Table ``dataset, embedding, batch_key, label_key, batch, label`` and the coordinates of every map, sorted by batch
    and label, and warnings. A map that can't be made is a warning (``W-MAP-01``) with NA for coordinates: no score
    depends on it. A lack of memory is raised.
    """
    import numpy as np
    import pandas as pd

    from scfm.embeddings.cells import read_cells
    from scfm.inputs.keys import key_pairs
    from scfm.metrics.centroids import compute_centroids
    from scfm.metrics.load import load_scored_cells

    cells = load_scored_cells(embedding, sidecar, obs)
    found = compute_centroids(cells.cell_ids, cells.values, cells.batches, cells.labels)
    primary, *_ = key_pairs(list(read_cells(obs).columns))
    identity = {name: sidecar[name] for name in ("dataset", "embedding")} | primary.names
    table = pd.DataFrame({**identity, "batch": found.batch, "label": found.label}, index=range(len(found.batch)))
    notes = []
    for kind in MAPS:
        coordinates = np.full((len(table), 2), np.nan)
        if kind in maps:
            try:
                coordinates = map_centroids(found.means, kind)
            except Exception as error:  # noqa: BLE001, documented above: a map that fails is reported and no score is lost
                notes.append(_map_error(error, kind, sidecar))
        table[f"{kind}_1"], table[f"{kind}_2"] = coordinates[:, 0], coordinates[:, 1]
    return table, notes


def _map_error(error: Exception, kind: str, sidecar: dict[str, Any]) -> dict:
    """Return W-MAP-01; raise the error again where it is a lack of memory or disk."""
    from scfm.task.cli import describe_error, stops_task

    if stops_task(error):
        raise error
    return message(
        "W-MAP-01",
        map="UMAP" if kind == "umap" else "t-SNE",
        error=describe_error(error),
        dataset=sidecar["dataset"],
        method=sidecar["method"],
        embedding=sidecar["embedding"],
        seed=sidecar["seed"],
    )
