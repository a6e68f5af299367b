"""Centroids per batch and label: is the nearest group of another batch the same label?

A cell type that batches tear apart has its centroids nearer to other types of the own batch than to itself elsewhere;
the *alignment rate* counts how often that is so across batches. Labels are used, so it is a score and no correction.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import EXIT_RESOURCE, ScfmError
from scfm.io.tables import message, read_embedding

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MAPS = ("umap", "tsne")
#: settings of the study's maps of centroids
MAP_SEED, UMAP_NEIGHBORS, UMAP_MIN_DIST, TSNE_PERPLEXITY = 42, 15, 0.1, 30.0
#: fewer points make no map: UMAP's start needs more components than they have
MIN_POINTS = 5
_BLOCK = 512
COLUMNS = [
    "dataset",
    "embedding",
    "method",
    "family",
    "correction",
    "seed",
    "batch",
    "label",
    "n_cells",
    "nearest_batch",
    "nearest_label",
    "aligned",
    "chance",
    "umap_1",
    "umap_2",
    "tsne_1",
    "tsne_2",
]


@dataclass(frozen=True, slots=True)
class Centroids:
    """Mean embedding of every batch and label that occur together, sorted by batch, then label.

    Attributes
    ----------
    batch, label
        Names, shape (n_groups,), dtype object.
    n_cells
        Cells behind each mean, shape (n_groups,).
    means
        Means, shape (n_groups, n_dims), float64.
    """

    batch: "np.ndarray"
    label: "np.ndarray"
    n_cells: "np.ndarray"
    means: "np.ndarray"


@dataclass(frozen=True, slots=True)
class Alignment:
    """Nearest centroid of another batch, for every centroid.

    Attributes
    ----------
    nearest
        Its position, -1 where there is one batch only; shape (n_groups,).
    counts
        Whether the centroid counts: its label occurs in another batch; bool, shape (n_groups,).
    aligned
        Whether the nearest has the same label; only meaningful where ``counts``; bool, shape (n_groups,).
    chance
        Probability of that for a centroid of the other batches drawn at random; NaN where it does not count.
    """

    nearest: "np.ndarray"
    counts: "np.ndarray"
    aligned: "np.ndarray"
    chance: "np.ndarray"

    def rate(self) -> tuple[float, float]:
        """Return the alignment rate (0 to 1, higher is better) and its chance level; NaN where no centroid counts."""
        if not self.counts.any():
            return float("nan"), float("nan")
        return float(self.aligned[self.counts].mean()), float(self.chance[self.counts].mean())


def compute_centroids(
    cell_ids: "np.ndarray", values: "np.ndarray", batch: "np.ndarray", label: "np.ndarray"
) -> Centroids:
    """Return the mean of every batch and label.

    Cells are added up in the order of their ids in double precision, so the order of the rows changes no digit. Only
    one group is copied at a time.

    Parameters
    ----------
    cell_ids
        Ids, shape (n_cells,), unique.
    values
        Embedding, shape (n_cells, n_dims).
    batch, label
        Names without missing values, shape (n_cells,).
    """
    import numpy as np
    import pandas as pd

    batch, label = (np.asarray(v, dtype=object).astype(str) for v in (batch, label))
    frame = pd.DataFrame({"batch": batch, "label": label, "cell": np.asarray(cell_ids, dtype=object).astype(str)})
    order = frame.sort_values(["batch", "label", "cell"], kind="stable").index.to_numpy()
    groups = frame.loc[order].groupby(["batch", "label"], sort=True).size()
    ends = np.cumsum(groups.to_numpy())
    starts = ends - groups.to_numpy()
    means = np.array([np.mean(values[order[i:j]], axis=0, dtype=np.float64) for i, j in zip(starts, ends, strict=True)])
    names = [groups.index.get_level_values(level).to_numpy(dtype=object) for level in ("batch", "label")]
    return Centroids(names[0], names[1], groups.to_numpy(), means.reshape(len(groups), values.shape[1]))


def align(found: Centroids) -> Alignment:
    """Return the nearest centroid in another batch of every centroid, by Euclidean distance.

    A centroid counts if its label occurs in another batch. It is aligned if a centroid of its label is *nearer* than
    every other one of the other batches: where several are equally near and one is of another label, the embedding does
    not tell the labels apart, so it is not aligned. The chance level of a centroid is the share of its label among the
    centroids of the other batches.
    """
    import numpy as np
    from scipy.spatial.distance import cdist

    n = len(found.batch)
    _, batch = np.unique(found.batch.astype(str), return_inverse=True)
    _, label = np.unique(found.label.astype(str), return_inverse=True)
    nearest, aligned, chance = np.full(n, -1), np.zeros(n, dtype=bool), np.full(n, np.nan)
    for start in range(0, n, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, n))
        other, same = batch[rows, None] != batch[None], label[rows, None] == label[None]
        away = np.where(other, cdist(found.means[rows], found.means), np.inf)
        # among equally near ones another label stands first
        best = np.lexsort((same, away), axis=1)[:, 0]
        some, likes = other.sum(axis=1), (other & same).sum(axis=1)
        nearest[rows] = np.where(some > 0, best, -1)
        aligned[rows] = (some > 0) & (label[best] == label[rows])
        chance[rows] = np.where(likes > 0, likes / np.maximum(some, 1), np.nan)
    return Alignment(nearest, ~np.isnan(chance), aligned, chance)


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
        warnings.simplefilter("ignore")  # repeated points and separate components are no fault
        if kind == "umap":
            from scfm.umap.layout import layout

            # with the types of the cells' UMAPs: what is compiled for those is not compiled again
            near, far = _nearest_points(values, min(UMAP_NEIGHBORS, n - 1))
            coordinates = layout(values, near, far, min_dist=UMAP_MIN_DIST, seed=MAP_SEED)
        else:
            from sklearn.manifold import TSNE

            reducer = TSNE(perplexity=min(TSNE_PERPLEXITY, n - 1), random_state=MAP_SEED, n_jobs=1)
            coordinates = np.asarray(reducer.fit_transform(values))
    if not np.isfinite(coordinates).all():
        raise ScfmError(f"The {kind} of {n} centroids gave coordinates that are not finite.")
    return coordinates


def _nearest_points(values: "np.ndarray", k: int) -> "tuple[np.ndarray, np.ndarray]":
    """Return the k nearest points of each, itself first: positions and euclidean distances, shape (n_points, k)."""
    import numpy as np
    from scipy.spatial.distance import cdist

    away = cdist(values, values)
    np.fill_diagonal(away, -1.0)
    near = np.argsort(away, axis=1, kind="stable")[:, :k]
    return near, np.maximum(np.take_along_axis(away, near, axis=1), 0).astype(np.float32)


def centroid_table(
    embedding: Path, obs: "pd.DataFrame", *, identity: dict[str, Any], maps: Sequence[str] = ()
) -> tuple["pd.DataFrame", list[dict]]:
    """Return the centroids of one embedding with their alignment and maps.

    Parameters
    ----------
    embedding
        Embedding table.
    obs
        ``batch`` and ``label``, indexed by cell id; cells without one of them are left out.
    identity
        ``dataset, embedding, method, family, correction, seed``.
    maps
        Kinds of maps, see :func:`parse_maps`.

    Returns
    -------
    Table ``COLUMNS``, sorted by batch and label, and warnings. A map that can't be made is a warning (``W-MAP-01``)
    with NA for coordinates: the rate does not hang on a picture. A lack of memory is raised.

    Raises
    ------
    ScfmError
        Cells of the embedding are not in obs.
    """
    import numpy as np
    import pandas as pd

    ids, values = read_embedding(embedding)
    known = obs.reindex(ids.astype(str))
    absent = int((~pd.Index(ids.astype(str)).isin(obs.index)).sum())
    if absent:
        raise ScfmError(
            f"{embedding}: {absent} of {len(ids)} cells are not in the obs table. Are the two of one data set?"
        )
    kept = known.notna().all(axis=1).to_numpy()
    if not kept.all():
        ids, values, known = ids[kept], values[kept], known[kept]
    found = compute_centroids(ids, values, known["batch"].to_numpy(dtype=object), known["label"].to_numpy(dtype=object))
    near = align(found)
    some = near.nearest >= 0
    table = pd.DataFrame(
        {
            **identity,
            "batch": found.batch,
            "label": found.label,
            "n_cells": found.n_cells,
            "nearest_batch": np.where(some, found.batch[near.nearest], ""),
            "nearest_label": np.where(some, found.label[near.nearest], ""),
            "aligned": pd.Series(near.aligned, dtype="boolean").mask(~near.counts),
            "chance": near.chance,
        },
        index=range(len(found.batch)),
    )
    notes = []
    for kind in MAPS:
        coordinates = np.full((len(table), 2), np.nan)
        if kind in maps:
            try:
                coordinates = map_centroids(found.means, kind)
            except Exception as error:  # noqa: BLE001, documented above: a picture's fault is told and costs no score
                notes.append(_map_fault(error, kind, identity))
        table[f"{kind}_1"], table[f"{kind}_2"] = coordinates[:, 0], coordinates[:, 1]
    return table[COLUMNS], notes


def _map_fault(error: Exception, kind: str, identity: dict[str, Any]) -> dict:
    """Return W-MAP-01; raise the error again where it is a lack of memory or disk."""
    from scfm.task.cli import describe_error, exit_code_of

    if exit_code_of(error) == EXIT_RESOURCE:
        raise error
    return message(
        "W-MAP-01",
        "warning",
        f"{identity['embedding']}: the {'UMAP' if kind == 'umap' else 't-SNE'} of the centroids could not be made "
        f"({describe_error(error)}). The alignment rate does not depend on it.",
        dataset=identity["dataset"],
        method=identity["method"],
    )
