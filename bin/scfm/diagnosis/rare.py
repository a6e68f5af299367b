"""Rare labels: are they still found after correction?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scfm.diagnosis.clusters import K, cluster_cells
from scfm.diagnosis.data import Cells, Embedded
from scfm.diagnosis.settings import DiagnosisSettings

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: resolutions of the clusterings among which the best single cluster is looked for
RESOLUTIONS = (0.5, 1.0, 2.0, 4.0)
#: what is measured of a rare label, before and after correction
MEASURES = ("best_f1", "best_recall", "purity", "held_out_recall")
#: those whose fall loses a label; the recall is that of the cluster with the best F1, which may be a smaller one
JUDGED = ("best_f1", "purity", "held_out_recall")
COLUMNS = (
    "label",
    "n_cells",
    "share",
    *(f"{name}_{when}" for name in MEASURES for when in ("before", "after")),
    "n_seeds",
    "best_f1_low",
    "best_f1_high",
    "flags",
)


def rare_labels(labels: "np.ndarray", settings: DiagnosisSettings) -> list[str]:
    """Return the labels with few cells or a small share of them, sorted.

    Parameters
    ----------
    labels
        Label of every cell, shape (n_cells,).
    settings
        ``rare_share`` and ``rare_cells``: either makes a label rare.
    """
    import numpy as np

    names, counts = np.unique(labels, return_counts=True)
    rare = (counts < settings.rare_cells) | (counts < settings.rare_share * len(labels))
    return [str(n) for n in names[rare]]


def clusterings_of(embedded: Embedded) -> "list[np.ndarray]":
    """Return the clusterings among which the best single cluster is looked for, coarse to fine."""
    return [cluster_cells(embedded, resolution) for resolution in RESOLUTIONS]


def best_cluster(is_label: "np.ndarray", clusterings: "Sequence[np.ndarray]") -> tuple[float, float]:
    """Return F1 and recall of the single cluster with the best F1 for a label.

    Parameters
    ----------
    is_label
        Which cells have the label, shape (n_cells,).
    clusterings
        Cluster of every cell, shape (n_cells,) each.

    Returns
    -------
    Both 0 to 1, higher is better.
    """
    import numpy as np

    best = (0.0, 0.0)
    for clusters in clusterings:
        sizes = np.bincount(clusters)
        hits = np.bincount(clusters[is_label], minlength=len(sizes))
        f1 = 2 * hits / (sizes + is_label.sum())
        best = max(best, (float(f1.max()), float(hits[f1.argmax()] / is_label.sum())))
    return best


def neighbor_purity(codes: "np.ndarray", indices: "np.ndarray", is_label: "np.ndarray") -> float:
    """Return the share of a label's cells whose neighbours are mostly of it, 0 to 1.

    Parameters
    ----------
    codes
        Label of every cell, shape (n_cells,).
    indices
        Neighbours, self left out, shape (n_cells, k).
    is_label
        The cells of the label, shape (n_cells,).
    """
    import numpy as np

    own = codes[indices[is_label]] == codes[is_label][:, None]
    return float(np.mean(own.sum(axis=1) * 2 > indices.shape[1]))


def held_out_recall(embedded: Embedded, codes: "np.ndarray", batches: "np.ndarray", is_label: "np.ndarray") -> float:
    """Return the share of a label's cells that the 15 nearest cells of other batches recognise, 0 to 1.

    Only cells whose label occurs in another batch count; NaN where there are none. Ties go to the smaller code.
    """
    import numpy as np

    from scfm.neighbors.exact import by_hash, nearest

    hits, n = 0, 0
    for batch in np.unique(batches[is_label]):
        rows, columns = np.flatnonzero(is_label & (batches == batch)), np.flatnonzero(batches != batch)
        if not is_label[columns].any():
            continue
        found, _ = nearest(
            embedded.coordinates, min(K, len(columns)), ties=by_hash(embedded.near.cell_ids), rows=rows, columns=columns
        )
        for row, near in zip(rows, found, strict=True):
            hits += np.bincount(codes[near]).argmax() == codes[row]
        n += len(rows)
    return hits / n if n else float("nan")


class RareFinder:
    """Measures the rare labels of one data set in the uncorrected embedding once, and in every other.

    Parameters
    ----------
    cells
        The data set.
    settings
        Thresholds.
    """

    def __init__(self, cells: Cells, settings: DiagnosisSettings) -> None:
        self.cells, self.settings = cells, settings

    def measure(self, embedded: Embedded) -> dict[str, dict[str, float]]:
        """Return ``{label: {measure: value}}`` of the rare labels of an embedding."""
        import numpy as np

        labels = self.cells.obs["label"].to_numpy()[embedded.rows].astype(str)
        batches = self.cells.batches.codes[embedded.rows]
        rare = rare_labels(labels, self.settings)
        if not rare:
            return {}
        codes = np.unique(labels, return_inverse=True)[1].ravel()
        clusterings = clusterings_of(embedded)
        near = embedded.near.first(K + 1).indices[:, 1:]
        found = {}
        for name in rare:
            mine = labels == name
            values = (
                *best_cluster(mine, clusterings),
                neighbor_purity(codes, near, mine),
                held_out_recall(embedded, codes, batches, mine),
            )
            found[name] = dict(zip(MEASURES, values, strict=True))
        return found

    def best_f1(self, embedded: Embedded) -> dict[str, float]:
        """Return ``{label: F1 of its best cluster}`` of the rare labels of an embedding."""
        labels = self.cells.obs["label"].to_numpy()[embedded.rows].astype(str)
        rare = rare_labels(labels, self.settings)
        clusterings = clusterings_of(embedded) if rare else []
        return {name: best_cluster(labels == name, clusterings)[0] for name in rare}

    def rows(
        self, embedded: Embedded, before: dict[str, dict[str, float]], other_seeds: Sequence[Embedded] = ()
    ) -> "pd.DataFrame":
        """Compare an embedding with the uncorrected one of the same cells, and with other seeds of its method.

        Parameters
        ----------
        embedded
            The embedding.
        before
            What :meth:`measure` gives for the uncorrected one.
        other_seeds
            The same method and correction with other seeds.

        Returns
        -------
        ``COLUMNS``, one row per rare label. ``best_f1_low`` and ``best_f1_high`` are over the seeds. Flags, joined by
        commas: ``lost``, a measure of :data:`JUDGED` fell by more than ``rare_drop``, or the best F1 below ``rare_f1``;
        ``unstable``, the best F1 differs by more than ``rare_drop`` between seeds.
        """
        import numpy as np
        import pandas as pd

        labels = self.cells.obs["label"].to_numpy()[embedded.rows].astype(str)
        after, rows = self.measure(embedded), []
        seeds, limit = [self.best_f1(other) for other in other_seeds], self.settings.rare_f1
        for name, values in after.items():
            row: dict[str, Any] = {"label": name, "n_cells": int((labels == name).sum())}
            row["share"] = row["n_cells"] / len(labels)
            for measure in MEASURES:
                row |= {f"{measure}_before": before[name][measure], f"{measure}_after": values[measure]}
            drops = np.array([before[name][m] - values[m] for m in JUDGED])
            below = values["best_f1"] < limit <= before[name]["best_f1"]
            found = [values["best_f1"], *(seed[name] for seed in seeds if name in seed)]
            row |= {"n_seeds": len(found), "best_f1_low": min(found), "best_f1_high": max(found)}
            flags = {
                "lost": below or bool((drops > self.settings.rare_drop).any()),
                "unstable": max(found) - min(found) > self.settings.rare_drop,
            }
            row["flags"] = ",".join(name for name, holds in flags.items() if holds)
            rows.append(row)
        return pd.DataFrame(rows, columns=list(COLUMNS))
