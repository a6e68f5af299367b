"""Counts of a simulated data set, and the h5ad that holds them, chunk by chunk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.io.hdf5 import put_anndata, writing_hdf5
from scfm.simulation.truth import Truth, generator

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

#: cells that share a generator: counts depend on the seed and the cell, not on how many are drawn at once
_BLOCK = 256
#: stream of the counts, behind those of the truth
_COUNTS = 100
#: cells written at once
CHUNK = 4096


def gamma_poisson(means: "np.ndarray", dispersion: float, rng: "np.random.Generator") -> "np.ndarray":
    """Draw counts with the given means and variance mean + dispersion * mean^2.

    Parameters
    ----------
    means
        Shape (n_cells, n_genes), 0 or more.
    dispersion
        0 or more; 0 is Poisson.
    rng
        Generator.

    Returns
    -------
    Shape of ``means``, integers.
    """
    if dispersion > 0:
        means = means * rng.gamma(1 / dispersion, dispersion, size=means.shape)
    return rng.poisson(means)


def _block(truth: Truth, number: int) -> "np.ndarray":
    """Return the counts of one block of cells, float32."""
    import numpy as np

    rows = slice(number * _BLOCK, min((number + 1) * _BLOCK, truth.design.n_cells))
    means = truth.shares(rows) * truth.obs["depth"].to_numpy()[rows, None]
    rng = generator(truth.seed, _COUNTS, number)
    return gamma_poisson(means, truth.design.dispersion, rng).astype(np.float32)


def draw_counts(truth: Truth, chunk_cells: int = CHUNK) -> "Iterator[sp.csr_matrix]":
    """Draw the counts of all cells, some at a time.

    Parameters
    ----------
    truth
        Cells and their expected expression.
    chunk_cells
        Cells per matrix; has no influence on the counts.

    Yields
    ------
    CSR matrices, shape (up to ``chunk_cells``, n_genes), float32, whole numbers, in the order of ``truth.obs``.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    if chunk_cells < 1:
        raise ScfmError(f"chunk_cells is {chunk_cells}; expected 1 or more.")
    n = truth.design.n_cells
    for start in range(0, n, chunk_cells):
        stop = min(start + chunk_cells, n)
        first, last = start // _BLOCK, (stop - 1) // _BLOCK
        dense = np.concatenate([_block(truth, b) for b in range(first, last + 1)])
        yield csr_matrix(dense[start - first * _BLOCK : stop - first * _BLOCK])


def gene_table(truth: Truth) -> "pd.DataFrame":
    """Return the genes: index of their names, the log expression, the effects of every level of every factor but the
    donor, and of every programme (``programme_<name>``, 0 for genes that are not in it).
    """
    import pandas as pd

    columns: dict[str, Any] = {"log_expression": truth.base}
    for factor, effects in truth.effects.items():
        if factor != "donor":
            levels = truth.obs[factor].cat.categories
            columns |= {f"effect_{level}": row for level, row in zip(levels, effects, strict=True)}
    columns |= {f"programme_{name}": effect for name, effect in truth.programmes.items()}
    return pd.DataFrame(columns, index=pd.Index(truth.genes, name="gene"))


def write_h5ad(truth: Truth, path: Path, chunk_cells: int = CHUNK) -> None:
    """Write a simulated data set; never more than a chunk of counts is in memory.

    Parameters
    ----------
    truth
        What is simulated.
    path
        h5ad file: counts in ``X``, ``obs``, ``var`` with the effects, design and seed as JSON in
        ``uns['simulation']``. It appears under its name when it is complete.
    chunk_cells
        Cells drawn and written at once.
    """
    import anndata as ad

    settings = json.dumps({"seed": truth.seed, "design": asdict(truth.design)}, sort_keys=True)
    compressed = {"compression": "gzip", "compression_opts": 1}
    with writing_hdf5(path) as file:
        put_anndata(file, ad.AnnData(obs=truth.obs, var=gene_table(truth), uns={"simulation": settings}))
        for number, chunk in enumerate(draw_counts(truth, chunk_cells)):
            if number == 0:
                ad.io.write_elem(file, "X", chunk, dataset_kwargs=compressed)
            else:
                ad.io.sparse_dataset(file["X"]).append(chunk)
