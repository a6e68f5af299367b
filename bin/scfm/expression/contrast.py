"""One comparison: which replicates are compared, with which design, and whether the data allow it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.errors import NotApplicable, ScfmError
from scfm.text import plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: design -> column of the units whose levels are compared within; none where all are compared
BLOCKS: dict[str, str | None] = {"donor + condition": "donor", "batch + condition": "batch", "condition": None}


@dataclass(frozen=True)
class Contrast:
    """A level of the condition against the reference, for the units of one label.

    Attributes
    ----------
    rows
        Positions of the compared units, shape (n,).
    matrix
        Design, shape (n, p), full column rank: the condition (1 = level), the intercept, dummies of the blocks.
    blocks
        Block of every unit, shape (n,), integers; all 0 without blocks.
    """

    rows: "np.ndarray"
    matrix: "np.ndarray"
    blocks: "np.ndarray"

    @property
    def is_level(self) -> "np.ndarray":
        """Whether a unit has the level that is compared, shape (n,)."""
        return self.matrix[:, 0] == 1

    def with_condition(self, is_level: "np.ndarray") -> "np.ndarray":
        """Return the design with another condition, shape (n, p)."""
        matrix = self.matrix.copy()
        matrix[:, 0] = is_level
        return matrix


def make_contrast(
    units: "pd.DataFrame", *, design: str, level: str, reference: str, min_cells: int, min_samples: int
) -> Contrast:
    """Choose the units of a comparison and set up its design.

    Units with too few cells are left out, and so are blocks (donors, batches) in which one of the two conditions is
    missing: they say nothing about the difference.

    Parameters
    ----------
    units
        Units of one label: ``condition``, ``batch``, ``donor``, ``replicate``, ``n_cells``.
    design
        A name in :data:`BLOCKS`.
    level, reference
        The two conditions.
    min_cells
        Fewest cells of a unit.
    min_samples
        Fewest replicates of each condition.

    Raises
    ------
    NotApplicable
        ``few_replicates``: a condition has too few; ``no_residual``: nothing is left to estimate the spread from.
    ScfmError
        The design is unknown.
    """
    import numpy as np
    import pandas as pd

    if design not in BLOCKS:
        raise ScfmError(f"The design '{design}' is unknown; expected one of {', '.join(BLOCKS)}.")
    used = ((units["n_cells"] >= min_cells) & units["condition"].isin([level, reference])).to_numpy()
    column = BLOCKS[design]
    if column is not None:
        both = units[used].groupby(column, observed=True)["condition"].nunique()
        used &= units[column].isin(both.index[both == 2]).to_numpy()
    rows = np.flatnonzero(used)
    chosen = units.iloc[rows]
    for name in (level, reference):
        found = chosen.loc[chosen["condition"] == name, "replicate"].nunique()
        if found < min_samples:
            raise NotApplicable(
                f"'{name}' has {plural(found, 'replicate')} of {min_cells} cells or more"
                f"{f' in a {column} that has both conditions' if column else ''}; a test needs {min_samples}.",
                "few_replicates",
            )
    blocks = np.zeros(len(rows), dtype=int) if column is None else pd.factorize(chosen[column], sort=True)[0]
    dummies = np.eye(blocks.max() + 1)[blocks][:, 1:]
    is_level = (chosen["condition"] == level).to_numpy(dtype=float)
    matrix = np.column_stack([is_level, np.ones(len(rows)), dummies])
    if len(rows) <= matrix.shape[1]:
        raise NotApplicable(
            f"{plural(len(rows), 'unit')} and {matrix.shape[1]} coefficients of the design '{design}' leave nothing to"
            " estimate the spread between replicates from.",
            "no_residual",
        )
    return Contrast(rows, matrix, blocks)
