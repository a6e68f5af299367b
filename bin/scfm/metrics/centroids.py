"""Centroids per batch and label: is the nearest group of another batch the same label?

A cell type that batches tear apart has its centroids nearer to other types of the own batch than to itself elsewhere;
the *alignment rate* counts how often that is so across batches. Labels are used, so it is a score and no correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scfm.inputs.keys import PAIR_COLUMNS
from scfm.io.tables import IDENTITY
from scfm.metrics.inputs import MetricInputs

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: places of a centroid in the maps that ``--centroid_maps`` asks for
PLACES = ("umap_1", "umap_2", "tsne_1", "tsne_2")
COLUMNS = (
    *(*IDENTITY, *PAIR_COLUMNS, "batch", "label", "n_cells"),
    *("nearest_batch", "nearest_label", "aligned", "chance"),
    *PLACES,
)


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

    from scfm.neighbors.search import find_outside

    batch, label = (np.unique(names.astype(str), return_inverse=True)[1] for names in (found.batch, found.label))

    def other_labels_first(own: "np.ndarray", other: "np.ndarray") -> "np.ndarray":
        """Order equally near centroids: another label first, then by position."""
        return ((label[own] == label[other]) * len(label) + other + 1).astype(np.uint64)

    (best,) = find_outside(found.means, [batch], 1, ties=other_labels_first)
    nearest = best[:, 0]
    sizes, shared = np.bincount(batch), np.zeros((batch.max() + 1, label.max() + 1), dtype=int)
    shared[batch, label] = 1
    some = len(batch) - sizes[batch]
    likes = shared.sum(axis=0)[label] - 1  # a batch and label that occur together are one centroid
    counts = likes > 0
    chance = np.where(counts, likes / np.maximum(some, 1), np.nan)
    return Alignment(nearest, counts, (nearest >= 0) & (label[nearest] == label), chance)


def centroid_table(data: MetricInputs, identity: dict[str, Any]) -> "pd.DataFrame":
    """Return the centroids of one embedding with their alignment.

    Parameters
    ----------
    data
        The scored cells of the embedding.
    identity
        ``dataset, embedding, method, family, correction, seed, batch_key, label_key``.

    Returns
    -------
    One row per batch and label, sorted by both, columns as in ``assets/schema_centroids.json``. The places in maps are
    NA: COLLECT_RESULTS takes them from the tables of DRAW_UMAPS.

    Raises
    ------
    NotApplicable
        The embedding is a graph, which has no coordinates to average.
    """
    import numpy as np
    import pandas as pd

    batch, label = (np.array(g.names, dtype=object)[g.codes] for g in (data.batches, data.labels))
    found = compute_centroids(data.cell_ids, data.values(), batch, label)
    near = align(found)
    some = near.nearest >= 0
    return pd.DataFrame(
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
        columns=list(COLUMNS),
    )
