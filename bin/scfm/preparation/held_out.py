"""Held-out cells: those whose labels are given to no method that reads labels, so that labels can score it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.keyed import cell_keys

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

COLUMN = "held_out"


def held_out_cells(obs: "pd.DataFrame", share: float, seed: int) -> "np.ndarray":
    """Draw the held-out cells: a share of every label, in proportion to its batches.

    A cell's place in the draw is a hash of seed and id, so the order of the rows does not matter. The cells of a label
    are sorted by batch and hash, and cells at equal distances are taken: of n cells of a label ``share * n``, rounded,
    and of every batch of it the same share to within one cell. At least half of a label stays; a very small one may
    have no cell drawn.

    Parameters
    ----------
    obs
        ``cell_id, batch, label, scored``; cells that are not scored are never drawn.
    share
        Share of the cells of a label, above 0 and at most 0.5.
    seed
        Seed of the draw.

    Returns
    -------
    Shape (n_cells,), bool, in the order of the rows.

    Raises
    ------
    ScfmError
        The share is out of its range.
    """
    import numpy as np
    import pandas as pd

    if not 0 < share <= 0.5:
        raise ScfmError(f"--held_out_share is {share}; expected a number above 0 and at most 0.5.")
    drawn = np.zeros(len(obs), dtype=bool)
    scored = np.flatnonzero(obs["scored"].to_numpy(dtype=bool))
    cells = pd.DataFrame({"row": scored, "key": cell_keys(seed, obs["cell_id"].iloc[scored], stream=COLUMN)})
    for name in ("label", "batch"):
        cells[name] = obs[name].iloc[scored].astype(str).to_numpy()
    for _, part in cells.sort_values(["label", "batch", "key"], kind="stable").groupby("label", sort=False):
        n = len(part)
        n_drawn = min(int(np.floor(share * n + 0.5)), n // 2)
        places = ((np.arange(n_drawn) + 0.5) * n / max(n_drawn, 1)).astype(int)
        drawn[part["row"].to_numpy()[places]] = True
    return drawn
