"""The truth of a simulated data set: who the cells are, and what they would express without noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.simulation.design import Design

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: streams of random numbers: one per purpose, so that more of one changes nothing else
_BASE, _TYPES, _BATCHES, _CONDITIONS, _DONORS, _CELLS = range(6)


def generator(seed: int, *stream: int) -> "np.random.Generator":
    """Return the generator of a seed and a stream of it."""
    import numpy as np

    return np.random.default_rng([seed, *stream])


@dataclass(frozen=True)
class Truth:
    """A design with its random choices but the counts.

    Attributes
    ----------
    design, seed
        What it is drawn from.
    obs
        Index ``cell_id``; categorical ``cell_type, batch, condition, donor`` and the float ``depth`` (expected total).
    base
        Log expression of the genes, shape (n_genes,).
    effects
        Log fold changes by factor: ``cell_type`` (n_types, n_genes), ``batch``, ``condition`` (0 for the first) and
        ``donor``.
    """

    design: Design
    seed: int
    obs: "pd.DataFrame"
    base: "np.ndarray"
    effects: "dict[str, np.ndarray]"

    def shares(self, rows: slice) -> "np.ndarray":
        """Return the expected share of every gene in the counts of some cells, shape (n, n_genes), rows sum to 1."""
        import numpy as np

        cells = self.obs.iloc[rows]
        codes = {factor: cells[factor].cat.codes.to_numpy() for factor in self.effects}
        logs = self.base + self.effects["cell_type"][codes["cell_type"]] + self.effects["batch"][codes["batch"]]
        logs += self.effects["donor"][codes["donor"]]
        responds = np.ones(self.design.n_types, dtype=bool)
        if self.design.responding_types is not None:
            responds[:] = np.isin(np.arange(self.design.n_types), list(self.design.responding_types))
        logs += self.effects["condition"][codes["condition"]] * responds[codes["cell_type"]][:, None]
        rates = np.exp(logs - logs.max(axis=1, keepdims=True))
        return rates / rates.sum(axis=1, keepdims=True)


def draw_truth(design: Design, seed: int = 0) -> Truth:
    """Draw genes, effects and cells.

    Parameters
    ----------
    design
        Sizes and effects.
    seed
        Seed of every random choice, 0 or more.
    """
    import numpy as np

    if not isinstance(seed, int) or seed < 0:
        raise ScfmError(f"The seed is {seed}; expected a whole number of 0 or more.")
    g, d = design.n_genes, design
    n_donors = d.n_donors if d.paired else d.n_donors * d.n_conditions

    def effect(stream: int, levels: int, size: float, share: float = 1.0) -> "np.ndarray":
        rng = generator(seed, stream)
        return size * rng.standard_normal((levels, g)) * (rng.random((levels, g)) < share)

    conditions = effect(_CONDITIONS, d.n_conditions, d.condition_effect, d.condition_genes)
    conditions[0] = 0
    effects = {
        "cell_type": effect(_TYPES, d.n_types, d.type_effect, d.type_genes),
        "batch": effect(_BATCHES, d.n_batches, d.batch_effect),
        "condition": conditions,
        "donor": effect(_DONORS, n_donors, d.donor_effect),
    }
    base = d.gene_spread * generator(seed, _BASE).standard_normal(g)
    return Truth(d, seed, _draw_cells(d, generator(seed, _CELLS)), np.asarray(base), effects)


def _draw_cells(design: Design, rng: "np.random.Generator") -> "pd.DataFrame":
    """Draw batch, type, condition, donor and depth of every cell."""
    import numpy as np
    import pandas as pd

    n, d = design.n_cells, design
    batch = rng.choice(d.n_batches, n, p=_shares(d.batch_shares, d.n_batches))
    kind = np.zeros(n, dtype=int)
    for level in range(d.n_batches):
        rows = np.flatnonzero(batch == level)
        row = None if d.composition is None else d.composition[level]
        kind[rows] = rng.choice(d.n_types, len(rows), p=_shares(row, d.n_types))
    condition = rng.integers(d.n_conditions, size=n)
    donor = rng.integers(d.n_donors, size=n) + (0 if d.paired else d.n_donors * condition)
    n_donors = d.n_donors if d.paired else d.n_donors * d.n_conditions
    factor = np.ones(n) if d.batch_depth is None else np.asarray(d.batch_depth, dtype=float)[batch]
    columns = {
        "cell_type": _named("type", kind, d.n_types),
        "batch": _named("batch", batch, d.n_batches),
        "condition": _named("condition", condition, d.n_conditions),
        "donor": _named("donor", donor, n_donors),
        "depth": d.depth * factor * np.exp(d.depth_spread * rng.standard_normal(n)),
    }
    width = len(str(max(n - 1, 1)))
    index = pd.Index([f"cell_{i:0{width}d}" for i in range(n)], name="cell_id")
    return pd.DataFrame(columns, index=index)


def _shares(given: "object", n: int) -> "np.ndarray":
    """Return shares that sum to 1 exactly; equal ones where none are given."""
    import numpy as np

    shares = np.full(n, 1 / n) if given is None else np.asarray(given, dtype=float)
    return shares / shares.sum()


def _named(name: str, codes: "np.ndarray", n: int) -> "pd.Categorical":
    """Return a categorical column ``name_0 ... name_<n-1>`` with all its levels, in numeric order."""
    import pandas as pd

    width = len(str(max(n - 1, 1)))
    return pd.Categorical.from_codes(codes, [f"{name}_{i:0{width}d}" for i in range(n)])
