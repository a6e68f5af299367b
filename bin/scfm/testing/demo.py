"""Demo data with known truth: real PBMC cells that ship with scanpy, in three batches with planted technical effects.

The 700 cells of scanpy's ``10x_pbmc68k_reduced.h5ad`` come as log values. Their counts are recovered (the smallest
non-zero value of a cell is one count) and dealt to three batches, stratified by cell type, except that one type is
kept out of one batch. Then every batch is degraded by itself: counts are thinned binomially by a depth shared by all
genes and a factor per gene, and ambient counts are drawn from the batch's mean profile. So the right answer is known:
batches differ by technique alone, and the labels are the same everywhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import ScfmError

if TYPE_CHECKING:
    import anndata as ad
    import numpy as np
    from scipy import sparse

#: sorted cells' labels, and the coarser types that the rare ones are merged to
CELL_TYPES = {
    "CD14+ Monocyte": "Monocyte",
    "CD19+ B": "B",
    "CD34+": "Progenitor",
    "CD4+/CD25 T Reg": "CD4 T",
    "CD4+/CD45RA+/CD25- Naive T": "CD4 T",
    "CD4+/CD45RO+ Memory": "CD4 T",
    "CD56+ NK": "NK",
    "CD8+ Cytotoxic T": "CD8 T",
    "CD8+/CD45RA+ Naive Cytotoxic": "CD8 T",
    "Dendritic": "Dendritic",
}
#: largest distance of a recovered count from a whole number
TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class Planted:
    """The effects that are planted.

    Attributes
    ----------
    depth
        Share of the counts that each batch keeps.
    ambient_share
        Expected share of ambient counts among all counts of a cell, per batch.
    gene_factor_sd
        Standard deviation of the log of the factors per gene and batch.
    missing_label, missing_from
        The cell type that is kept out of a batch.
    """

    depth: tuple[float, ...] = (0.70, 0.40, 0.55)
    ambient_share: tuple[float, ...] = (0.02, 0.05, 0.10)
    gene_factor_sd: float = 0.7
    missing_label: str = "B"
    missing_from: str = "batch_3"

    @property
    def batches(self) -> list[str]:
        """Names of the batches."""
        return [f"batch_{i + 1}" for i in range(len(self.depth))]


def source_path() -> Path:
    """Return the file inside the installed scanpy package.

    Raises
    ------
    ScfmError
        The installed scanpy does not ship it.
    """
    from importlib.util import find_spec

    spec = find_spec("scanpy")
    path = Path(spec.origin).parent / "datasets" / "10x_pbmc68k_reduced.h5ad" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ScfmError(
            "The demo needs the file datasets/10x_pbmc68k_reduced.h5ad of the scanpy package; install scanpy 1.11."
        )
    return path


def recover_counts(logged: "sparse.spmatrix") -> "sparse.csr_matrix":
    """Undo log1p(counts x factor) where every cell has its own unknown factor.

    The smallest non-zero value of a cell is taken for one count; the factor is then refined by least squares.

    Parameters
    ----------
    logged
        Shape (n_cells, n_genes), sparse.

    Returns
    -------
    Counts, CSR float32.

    Raises
    ------
    ScfmError
        A value is not a whole number of counts within :data:`TOLERANCE`.
    """
    import numpy as np
    from scipy import sparse

    matrix = sparse.csr_matrix(logged).astype(np.float64)
    matrix.eliminate_zeros()
    matrix.sort_indices()
    counts = np.empty_like(matrix.data)
    worst = 0.0
    for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        values = np.expm1(matrix.data[start:stop])
        if not values.size:
            continue
        unit = values.min()
        for _ in range(3):
            whole = np.rint(values / unit)
            unit = float(values @ whole / (whole @ whole))
        worst = max(worst, float(np.abs(values / unit - whole).max()))
        counts[start:stop] = whole
    if worst > TOLERANCE or (counts < 1).any():
        raise ScfmError(
            f"The log values are not whole counts times a factor per cell: a recovered count lies {worst:.2g} "
            f"from a whole number (limit {TOLERANCE})."
        )
    return sparse.csr_matrix((counts.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


def deal_batches(labels: "np.ndarray", planted: Planted, rng: "np.random.Generator") -> "np.ndarray":
    """Return a batch per cell: every label is dealt evenly, the missing one to the other batches only."""
    import numpy as np

    batch = np.empty(len(labels), dtype=object)
    for label in sorted(set(labels)):
        cells = rng.permutation(np.flatnonzero(labels == label))
        names = [b for b in planted.batches if label != planted.missing_label or b != planted.missing_from]
        batch[cells] = np.asarray(names, dtype=object)[np.arange(len(cells)) % len(names)]
    return batch


def gene_factors(profile: "np.ndarray", depth: float, sd: float, rng: "np.random.Generator") -> "np.ndarray":
    """Return log-normal factors per gene, of mean 1 over counts, none above 1 / depth (a thinning can't add counts).

    Parameters
    ----------
    profile
        Shape (n_genes,): counts per gene before the effect.
    depth
        Share of counts the batch keeps.
    sd
        Standard deviation of the log.
    rng
        Generator.
    """
    import numpy as np

    factors = np.exp(rng.normal(0.0, sd, len(profile)))
    for _ in range(100):
        factors = np.minimum(factors * profile.sum() / (factors @ profile), 1.0 / depth)
    return factors


def degrade(
    counts: "sparse.csr_matrix", keep: "np.ndarray", ambient: float, rng: "np.random.Generator"
) -> "sparse.csr_matrix":
    """Thin counts and add ambient ones.

    Parameters
    ----------
    counts
        Shape (n_cells, n_genes) of one batch.
    keep
        Shape (n_genes,): probability that a count is kept.
    ambient
        Expected share of ambient counts among all counts of a cell.
    rng
        Generator.
    """
    import numpy as np
    from scipy import sparse

    thinned = counts.copy()
    thinned.data = rng.binomial(counts.data.astype(np.int64), keep[counts.indices]).astype(np.float32)
    profile = np.asarray(thinned.sum(axis=0, dtype=np.float64)).ravel()
    profile /= profile.sum()
    expected = np.asarray(thinned.sum(axis=1, dtype=np.float64)).ravel() * ambient / (1.0 - ambient)
    soup = sparse.csr_matrix(np.vstack([rng.multinomial(n, profile) for n in rng.poisson(expected)]).astype(np.float32))
    result = (thinned + soup).tocsr()
    result.eliminate_zeros()
    result.sort_indices()
    return result


def make_demo(seed: int = 0, planted: Planted | None = None) -> "ad.AnnData":
    """Make the demo data set.

    Parameters
    ----------
    seed
        Same seed, same numbers.
    planted
        Effects; the defaults leave the batches clearly apart and the labels intact.

    Returns
    -------
    Counts in X (CSR float32); obs ``batch``, ``cell_type``, ``bulk_labels``, ``donor`` (two per batch, no effect of
    their own); var index gene symbols, ``ensembl_id`` invented ids, ``factor_<batch>`` the planted factors;
    ``uns['planted']`` the rest of the truth.
    """
    import warnings

    import anndata as ad
    import numpy as np
    import pandas as pd
    from scipy import sparse

    planted, rng = planted or Planted(), np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the file is of an old anndata, which says so dozens of times
        source = ad.read_h5ad(source_path())
    cells, fine, genes = (
        source.obs_names.to_numpy(),
        source.obs["bulk_labels"].astype(str).to_numpy(),
        source.raw.var_names.to_numpy(),
    )
    counts = recover_counts(source.raw.X)
    labels = np.asarray([CELL_TYPES[name] for name in fine], dtype=object)
    batch = deal_batches(labels, planted, rng)
    profile = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel()
    depths = dict(zip(planted.batches, planted.depth, strict=True))
    factors = {name: gene_factors(profile, depth, planted.gene_factor_sd, rng) for name, depth in depths.items()}
    parts, order = [], []
    for name, depth, ambient in zip(planted.batches, planted.depth, planted.ambient_share, strict=True):
        rows = np.flatnonzero(batch == name)
        parts.append(degrade(counts[rows], depth * factors[name], ambient, rng))
        order.append(rows)
    back = np.argsort(np.concatenate(order), kind="stable")
    obs = pd.DataFrame({"batch": batch, "cell_type": labels, "bulk_labels": fine}, index=pd.Index(cells, dtype=object))
    obs["donor"] = [
        f"{b.replace('batch', 'donor')}{'ab'[i]}" for b, i in zip(batch, rng.integers(0, 2, len(batch)), strict=True)
    ]
    # the source has symbols only; these ids are of an unused range, so that models that read Ensembl ids can run on the
    # demo
    identifiers = {"ensembl_id": [f"ENSG{99_000_000_001 + i:011d}" for i in range(len(genes))]}
    var = pd.DataFrame(
        identifiers | {f"factor_{name}": values for name, values in factors.items()},
        index=pd.Index(genes, dtype=object),
    )
    data = ad.AnnData(sparse.vstack(parts, format="csr")[back], obs=obs.astype("category"), var=var)
    truth = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(planted).items()}
    data.uns["planted"] = truth | {"batches": planted.batches, "seed": seed}
    return data
