"""Small studies for the probing tests."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scfm.probing.probe import ProbeSettings, probe
from scfm.probing.splits import make_splits, scored_cells

BATCHES, LABELS = ["b0", "b1", "b2"], ["B", "NK", "T", "mono"]


def study(n: int = 240, *, label_signal: float = 0.0, batch_signal: float = 0.0, dims: int = 8, seed: int = 0):
    """Return obs table and embedding; labels shift the first dimensions, batches the last ones."""
    rng = np.random.default_rng(seed)
    label, batch = rng.integers(0, 4, n), rng.integers(0, 3, n)
    values = rng.normal(size=(n, dims))
    values[:, :4] += label_signal * np.eye(4)[label]
    values[:, -3:] += batch_signal * np.eye(3)[batch]
    ids = rng.permutation([f"cell{i:04d}" for i in range(n)])
    obs = pd.DataFrame(
        {
            "cell_id": ids,
            "batch": np.array(BATCHES)[batch],
            "label": np.array(LABELS)[label],
            "scored": True,
        }
    )
    return obs, values.astype(np.float32)


def run_probe(obs: pd.DataFrame, values: np.ndarray, *, n_folds: int = 5, **settings) -> pd.DataFrame:
    """Probe with fresh splits; ``values`` in the order of ``obs``."""
    splits = make_splits(obs, n_folds=n_folds, seed=123)
    position = pd.Series(np.arange(len(obs)), index=obs["cell_id"])
    cells = scored_cells(obs)
    return probe(cells, values[position[cells["cell_id"]].to_numpy()], splits, ProbeSettings(**settings))[0]


def pick(
    table: pd.DataFrame,
    target: str,
    scheme: str,
    classifier: str,
    *,
    metric: str,
    fold: str = "mean",
    group: str = "all",
):
    """Return the one row that these keys name."""
    keys = {
        "target": target,
        "scheme": scheme,
        "classifier": classifier,
        "metric": metric,
        "fold": fold,
        "group": group,
    }
    rows = table[np.logical_and.reduce([table[k] == v for k, v in keys.items()])]
    assert len(rows) == 1, f"{len(rows)} rows for {keys}"
    return rows.iloc[0]
