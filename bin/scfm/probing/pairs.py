"""Probe an embedding with every pair of a batch key and a label key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.inputs.keys import key_pairs
from scfm.io.tables import CELL_ID
from scfm.probing.probe import TASKS, ProbeSettings, probe
from scfm.probing.splits import KFOLD, scored_cells, splits_of
from scfm.registries.messages import about_keys
from scfm.task.device import CPU

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from scfm.neighbors.table import Neighbors

#: the only task that needs no batch
LABEL_KFOLD = ("label", KFOLD)


def probed_cells(
    ids: "np.ndarray", values: "np.ndarray", obs: "pd.DataFrame", *, name: str
) -> "tuple[pd.DataFrame, np.ndarray]":
    """Join an embedding with the obs table by cell id and keep the scored cells.

    Returns
    -------
    ``cell_id, batch, label``; the coordinates of these cells in the same order.

    Raises
    ------
    ScfmError
        If ids repeat, coordinates are not finite, or no cell is in both tables.
    """
    import numpy as np
    import pandas as pd

    position = pd.Series(np.arange(len(ids)), index=ids.astype(str))
    if position.index.has_duplicates:
        raise ScfmError(f"{name}: {int(position.index.duplicated().sum())} cell ids occur more than once.")
    broken = int((~np.isfinite(values).all(axis=1)).sum())
    if broken:
        raise ScfmError(f"{name}: {broken} cells have coordinates that are not finite; validate the embedding first.")
    scored = scored_cells(obs).astype({"batch": "category", "label": "category"})  # the classes of the study
    cells = scored[scored[CELL_ID].isin(position.index)].reset_index(drop=True)
    if cells.empty and len(scored):
        raise ScfmError(
            f"{name}: none of its {len(ids)} cells is among the {len(scored)} scored cells. Are the ids the same?"
        )
    return cells, values[position.loc[cells[CELL_ID]].to_numpy()]


def probe_pairs(
    ids: "np.ndarray",
    values: "np.ndarray",
    obs: "pd.DataFrame",
    splits: "pd.DataFrame",
    settings: ProbeSettings,
    *,
    name: str,
    known: "Neighbors | None" = None,
    n_threads: int = 1,
    labels_seen: bool = False,
    device: str = CPU,
) -> "tuple[pd.DataFrame, list[dict]]":
    """Probe an embedding with every pair of keys, the primary pair first.

    The label under k-fold needs no batch key, so it is probed once per label key and set of cells.

    Parameters
    ----------
    ids, values
        Cell ids, shape (n_cells,), and coordinates, shape (n_cells, n_dims).
    obs
        The obs table.
    splits
        From :func:`scfm.probing.splits.split_pairs`.
    settings
        See :class:`ProbeSettings`.
    name
        File of the embedding, for errors.
    known, n_threads, labels_seen, device
        As in :func:`probe`.

    Returns
    -------
    Columns ``batch_key, label_key`` and those of :func:`probe`; the warnings, naming keys that are not the primary.
    """
    import pandas as pd

    probed: dict[tuple[str, bytes], pd.DataFrame] = {}
    tables, warnings = [], []
    for pair in key_pairs(list(obs.columns)):
        view = pair.view(obs)
        cells, rows = probed_cells(ids, values, view, name=name)
        mark = (pair.label_key, view["scored"].to_numpy(dtype=bool).tobytes())
        wanted = [t for t in TASKS if t != LABEL_KFOLD or mark not in probed]
        table, notes = probe(
            cells,
            rows,
            splits_of(splits, pair),
            settings,
            tasks_wanted=wanted,
            known=known,
            n_threads=n_threads,
            labels_seen=labels_seen,
            device=device,
        )
        if mark in probed:
            table = pd.concat([probed[mark], table], ignore_index=True)
        else:
            probed[mark] = table[(table["target"] == LABEL_KFOLD[0]) & (table["scheme"] == LABEL_KFOLD[1])]
        tables.append(pd.DataFrame({**pair.names, **table}))
        warnings += notes if pair.is_primary else [about_keys(n, pair.batch_key, pair.label_key) for n in notes]
    return pd.concat(tables, ignore_index=True), warnings
