"""Cells of the stand-ins: profiles of classes, counts drawn from them, and files as an author would leave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scfm.testing.demo import degrade, gene_factors

if TYPE_CHECKING:
    import anndata as ad
    import numpy as np
    import pandas as pd
    from scipy import sparse


N_GENES = 250


#: counts per cell before batches are degraded
DEPTH = 500


#: cells that every class has at least in all batches together
MIN_CELLS = 6


def gene_ids(prefix: str = "ENSG", n: int = N_GENES, first: int = 0) -> list[str]:
    """Return invented Ensembl ids of an unused range."""
    return [f"{prefix}{99_100_000_001 + i:011d}" for i in range(first, first + n)]


def make_profiles(
    classes: Sequence[str], rng: "np.random.Generator", n_genes: int = N_GENES
) -> "dict[str, np.ndarray]":
    """Return the expected share of every gene per class: a common base, and twelve genes that the class expresses much
    more.
    """
    import numpy as np

    base = rng.gamma(0.25, 1.0, n_genes) + 0.008
    profiles = {}
    for name in classes:
        profile = base * np.exp(rng.normal(0.0, 0.25, n_genes))
        profile[rng.choice(n_genes, 12, replace=False)] += base.mean() * rng.uniform(3.0, 6.0, 12)
        profiles[name] = profile / profile.sum()
    return profiles


def draw_cells(
    profiles: "Mapping[str, np.ndarray]",
    labels: Sequence[str],
    batches: Sequence[str],
    rng: "np.random.Generator",
    *,
    sd: float = 0.5,
) -> "sparse.csr_matrix":
    """Draw counts: negative binomial around the class's profile, then degraded batch by batch.

    Parameters
    ----------
    profiles
        Share of every gene per class.
    labels, batches
        Class and batch of each cell, shape (n,).
    rng
        Generator.
    sd
        Standard deviation of the log of the batches' factors per gene.

    Returns
    -------
    CSR float32, shape (n, n_genes); every cell has a count.
    """
    import numpy as np
    from scipy import sparse

    shares = np.stack([profiles[label] for label in labels])
    expected = shares * DEPTH * np.exp(rng.normal(0.0, 0.2, (len(labels), 1)))
    clean = rng.poisson(rng.gamma(6.0, expected / 6.0))
    clean[np.arange(len(labels)), shares.argmax(axis=1)] += 5
    parts, order = [], []
    for name in dict.fromkeys(batches):
        rows = np.flatnonzero(np.asarray(batches, dtype=object) == name)
        counts = sparse.csr_matrix(clean[rows].astype(np.float32))
        depth = rng.uniform(0.3, 0.6)
        profile = np.asarray(clean.sum(axis=0), dtype=np.float64)
        parts.append(degrade(counts, depth * gene_factors(profile, depth, sd, rng), rng.uniform(0.01, 0.05), rng))
        order.append(rows)
    back = np.argsort(np.concatenate(order), kind="stable")
    return sparse.vstack(parts, format="csr")[back]


def deal(
    sizes: Mapping[str, int],
    allowed: Mapping[str, Sequence[str]],
    rng: "np.random.Generator",
    *,
    minimum: int = MIN_CELLS,
) -> tuple[list[str], list[str]]:
    """Deal classes to the cells of batches, unequally, every class at least ``minimum`` times over all batches.

    Parameters
    ----------
    sizes
        Cells per batch.
    allowed
        Classes that each batch may have.
    rng
        Generator.
    minimum
        Cells of each class.

    Returns
    -------
    Batch and class of each cell, cells in random order.
    """
    import numpy as np

    classes = list(dict.fromkeys(c for some in allowed.values() for c in some))
    weights = dict(zip(classes, rng.dirichlet(np.full(len(classes), 2.0)) + 0.3 / len(classes), strict=True))
    batch = [name for name, size in sizes.items() for _ in range(size)]
    labels = []
    for name, size in sizes.items():
        share = np.array([weights[c] for c in allowed[name]])
        labels += [allowed[name][i] for i in rng.choice(len(share), size, p=share / share.sum())]
    for rare in classes:
        while labels.count(rare) < minimum:
            common = max(classes, key=labels.count)
            cells = [
                i for i, (b, c) in enumerate(zip(batch, labels, strict=True)) if c == common and rare in allowed[b]
            ]
            labels[cells[int(rng.integers(len(cells)))]] = rare
    order = rng.permutation(len(batch))
    return [batch[i] for i in order], [labels[i] for i in order]


def as_file(
    counts: "sparse.csr_matrix", obs: "pd.DataFrame", ids: Sequence[str], symbols: Sequence[str], title: str
) -> "ad.AnnData":
    """Return an object as CELLxGENE Discover offers it: X normalised, raw.X counts, Ensembl ids, symbols in
    ``feature_name``.
    """
    import anndata as ad
    import numpy as np
    import pandas as pd
    from scipy import sparse

    obs = obs.copy()
    obs["observation_joinid"] = [f"j{i:06x}" for i in range(len(obs))]
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    logged = sparse.csr_matrix(sparse.diags(1e4 / totals) @ counts.astype(np.float64))
    logged.data = np.log1p(logged.data)
    var = pd.DataFrame(
        {"feature_name": pd.Categorical(symbols), "feature_biotype": pd.Categorical(["gene"] * len(ids))},
        index=list(ids),
    )
    data = ad.AnnData(logged.astype(np.float32), obs=obs, var=var.assign(feature_is_filtered=False))
    data.raw = ad.AnnData(counts, obs=obs[[]], var=var)
    data.obsm["X_umap"] = np.column_stack([np.arange(len(obs)), np.arange(len(obs))[::-1]]).astype(np.float32)
    data.uns["title"] = title
    return data


def obs_frame(columns: Mapping[str, Any], prefix: str, *, plain: Sequence[str] = ()) -> "pd.DataFrame":
    """Return obs with barcodes as ids; columns are categorical unless they are named in ``plain``."""
    import pandas as pd

    n = len(next(iter(columns.values())))
    frame = pd.DataFrame({c: pd.Series(v, dtype=object) for c, v in columns.items()})
    index = [f"{prefix}_{(i * 7919) % 99991:05d}-1" for i in range(n)]  # in no order
    return frame.astype({c: "category" for c in frame.columns if c not in plain}).set_axis(index, axis=0)
