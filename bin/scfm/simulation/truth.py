"""The truth of a simulated data set: who the cells are, and what they would express without noise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.simulation.cells import draw_cells
from scfm.simulation.design import Design
from scfm.simulation.programmes import named_genes

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: streams of random numbers: one per purpose, so that more of one changes nothing else
_BASE, _TYPES, _BATCHES, _CONDITIONS, _DONORS, _CELLS, _PROGRAMMES, _RETYPED = range(8)


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
        See :func:`scfm.simulation.cells.draw_cells`; ``depth`` is the expected total.
    genes
        Names, those that programmes name first.
    base
        Log expression of the genes, shape (n_genes,).
    effects
        Log fold changes by factor: ``cell_type`` (n_types, n_genes), ``batch``, ``condition`` (0 for the first) and
        ``donor``.
    programmes
        Log fold changes by name of the programme, shape (n_genes,).
    ambient
        Share of every gene in the ambient counts, shape (n_batches, n_genes): the batch's mean profile by depth; None
        where the design has no ambient counts.
    """

    design: Design
    seed: int
    obs: "pd.DataFrame"
    genes: list[str]
    base: "np.ndarray"
    effects: "dict[str, np.ndarray]"
    programmes: "dict[str, np.ndarray]" = field(default_factory=dict)
    ambient: "np.ndarray | None" = None

    def shares(self, rows: slice) -> "np.ndarray":
        """Return the expected share of every gene in the counts of some cells, shape (n, n_genes), rows sum to 1."""
        import numpy as np

        cells = self.obs.iloc[rows]
        own = self.own_shares(cells)
        if self.ambient is None:
            return own
        batch = cells["batch"].cat.codes.to_numpy()
        foreign = np.asarray(self.design.ambient_shares, dtype=float)[batch][:, None]
        return (1 - foreign) * own + foreign * self.ambient[batch]

    def own_shares(self, cells: "pd.DataFrame") -> "np.ndarray":
        """Return the expected share of every gene in what some cells, rows of ``obs``, express themselves."""
        import numpy as np

        codes = {factor: cells[factor].cat.codes.to_numpy() for factor in self.effects}
        logs = self.base + self.effects["cell_type"][codes["cell_type"]] + self.effects["batch"][codes["batch"]]
        logs += self.effects["donor"][codes["donor"]]
        responds = np.ones(self.design.n_types, dtype=bool)
        if self.design.responding_types is not None:
            responds[:] = np.isin(np.arange(self.design.n_types), list(self.design.responding_types))
        logs += self.effects["condition"][codes["condition"]] * responds[codes["cell_type"]][:, None]
        for name, effect in self.programmes.items():
            logs += cells[f"programme_{name}"].to_numpy(dtype=float)[:, None] * effect
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

    def effect(stream: int, levels: int, size: float, share: float = 1.0) -> "np.ndarray":
        rng = generator(seed, stream)
        return size * rng.standard_normal((levels, g)) * (rng.random((levels, g)) < share)

    conditions = effect(_CONDITIONS, d.n_conditions, d.condition_effect, d.condition_genes)
    conditions[0] = 0
    effects = {
        "cell_type": effect(_TYPES, d.n_types, d.type_effect, d.type_genes),
        "batch": effect(_BATCHES, d.n_batches, d.batch_effect),
        "condition": conditions,
        "donor": effect(_DONORS, d.all_donors, d.donor_effect),
    }
    named = named_genes(d.programmes)
    width = len(str(g))
    genes = [*named, *(f"SIM{i + 1:0{width}d}" for i in range(len(named), g))]
    base = np.asarray(d.gene_spread * generator(seed, _BASE).standard_normal(g))
    base[: len(named)] = np.maximum(base[: len(named)], 0)  # a programme of silent genes could not be found
    obs = draw_cells(d, generator(seed, _CELLS), generator(seed, _RETYPED))
    truth = Truth(d, seed, obs, genes, base, effects, _draw_programmes(d, genes, base, seed))
    return truth if d.ambient_shares is None else replace(truth, ambient=_ambient(truth))


def _draw_programmes(design: Design, genes: list[str], base: "np.ndarray", seed: int) -> "dict[str, np.ndarray]":
    """Return the log fold changes of every programme; unnamed genes belong to one programme at most."""
    import numpy as np

    n_named = len(named_genes(design.programmes))
    free = n_named + np.flatnonzero(base[n_named:] >= np.median(base))
    free = generator(seed, _PROGRAMMES).permutation(free)
    found, used = {}, 0
    for programme in design.programmes:
        effect = np.zeros(len(genes))
        if isinstance(programme.genes, int):
            chosen = free[used : used + programme.genes]
            if len(chosen) < programme.genes:
                raise ScfmError(
                    f"The simulated design is not possible: programme '{programme.name}' asks for {programme.genes} "
                    f"genes of the upper half of expression and {len(chosen)} are left; give more n_genes."
                )
            used += len(chosen)
            effect[chosen] = programme.size * np.where(np.arange(len(chosen)) % 2 == 0, 1, -1)
        else:
            effect[[genes.index(g) for g in programme.genes]] = programme.size
        found[programme.name] = effect
    return found


def _ambient(truth: Truth) -> "np.ndarray":
    """Return the mean profile of every batch, weighted by depth; cells that express the same are computed once."""
    import numpy as np

    alike = truth.obs.drop(columns=["depth", "replicate", "sex"])
    groups = alike.assign(depth=truth.obs["depth"]).groupby(list(alike), observed=True, sort=True)["depth"].sum()
    kinds = groups.index.to_frame(index=False)
    for name in ("cell_type", "batch", "condition", "donor"):
        kinds[name] = kinds[name].astype(truth.obs[name].dtype)
    totals = np.zeros((truth.design.n_batches, truth.design.n_genes))
    for start in range(0, len(kinds), 256):
        part = kinds.iloc[start : start + 256]
        weights = groups.to_numpy()[start : start + 256, None]
        np.add.at(totals, part["batch"].cat.codes.to_numpy(), truth.own_shares(part) * weights)
    sums = totals.sum(axis=1, keepdims=True)
    return totals / np.where(sums > 0, sums, 1)
