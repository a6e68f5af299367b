"""Who the cells of a simulated data set are: batch, type, condition, donor, replicate, sex and depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.simulation.design import Design
from scfm.simulation.programmes import FACTORS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def draw_cells(design: Design, rng: "np.random.Generator", retype: "np.random.Generator") -> "pd.DataFrame":
    """Draw the cells.

    Parameters
    ----------
    design
        Sizes, shares and nesting.
    rng
        Generator of all choices but one.
    retype
        Generator of the types of cells that can't have a type of one donor, so that such types change nothing else.

    Returns
    -------
    Index ``cell_id``; categorical ``cell_type, batch, condition, donor, replicate, sex``, the float ``depth`` and a
    bool ``programme_<name>`` per programme. Replicates are donors numbered anew in every condition, so that one name
    stands for several subjects, of different sex, unless donors are paired.
    """
    import numpy as np
    import pandas as pd

    n, d = design.n_cells, design
    batch = rng.choice(d.n_batches, n, p=_shares(d.batch_shares, d.n_batches))
    kind = np.zeros(n, dtype=int)
    for level in range(d.n_batches):
        rows = np.flatnonzero(batch == level)
        kind[rows] = rng.choice(d.n_types, len(rows), p=_type_shares(d, level))
    condition, donor = _people(d, batch, rng)
    kind = _keep_owned(d, kind, batch, donor, retype)
    replicate = donor if d.paired else donor % d.n_donors
    sex = replicate % 2 if d.paired else (replicate + donor // d.n_donors) % 2
    factor = np.ones(n) if d.batch_depth is None else np.asarray(d.batch_depth, dtype=float)[batch]
    columns = {
        "cell_type": _named("type", kind, d.n_types),
        "batch": _named("batch", batch, d.n_batches),
        "condition": _named("condition", condition, d.n_conditions),
        "donor": _named("donor", donor, d.all_donors),
        "replicate": _named("replicate", replicate, d.n_donors),
        "sex": pd.Categorical.from_codes(sex, ["female", "male"]),
        "depth": d.depth * factor * np.exp(d.depth_spread * rng.standard_normal(n)),
    }
    for programme in d.programmes:
        given = {column: getattr(programme, field) for field, column in FACTORS.items()}
        members = [np.isin(columns[c].codes, list(levels)) for c, levels in given.items() if levels is not None]
        columns[f"programme_{programme.name}"] = np.all([np.ones(n, dtype=bool), *members], axis=0)
    width = len(str(max(n - 1, 1)))
    index = pd.Index([f"cell_{i:0{width}d}" for i in range(n)], name="cell_id")
    return pd.DataFrame(columns, index=index)


def _people(d: Design, batch: "np.ndarray", rng: "np.random.Generator") -> tuple["np.ndarray", "np.ndarray"]:
    """Return condition and donor of every cell, as the nesting of the design asks."""
    import numpy as np

    condition = rng.integers(d.n_conditions, size=len(batch))
    within = rng.integers(d.n_donors, size=len(batch))
    if d.nesting == "batch_in_condition":
        condition = batch % d.n_conditions
    elif d.nesting == "batch_is_sample" and d.paired:
        within, condition = batch % d.n_donors, batch // d.n_donors
    elif d.nesting in {"batch_is_donor", "batch_is_sample"}:
        return (condition if d.paired else batch // d.n_donors), batch
    elif d.nesting == "donor_in_batch":
        sizes = np.array([len(range(b, d.all_donors, d.n_batches)) for b in range(d.n_batches)])
        donor = batch + d.n_batches * np.floor(rng.random(len(batch)) * sizes[batch]).astype(int)
        return (condition if d.paired else donor // d.n_donors), donor
    return condition, within if d.paired else within + d.n_donors * condition


def _keep_owned(
    d: Design, kind: "np.ndarray", batch: "np.ndarray", donor: "np.ndarray", rng: "np.random.Generator"
) -> "np.ndarray":
    """Return the types after cells of other donors have left the types that belong to one donor."""
    import numpy as np

    kind = kind.copy()
    owned = [kind_of for kind_of, _ in d.donor_types]
    for own, owner in d.donor_types:
        for level in range(d.n_batches):
            rows = np.flatnonzero((kind == own) & (donor != owner) & (batch == level))
            shares = _type_shares(d, level)
            shares[owned] = 0
            if len(rows):
                kind[rows] = rng.choice(d.n_types, len(rows), p=_shares(shares, d.n_types))
    return kind


def _type_shares(d: Design, batch: int) -> "np.ndarray":
    """Return the shares of the types in a batch."""
    return _shares(d.type_shares if d.composition is None else d.composition[batch], d.n_types)


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
