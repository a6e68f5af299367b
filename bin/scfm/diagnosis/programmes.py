"""Gene programmes (``assets/programmes.tsv``) and their scores per cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.registries.reader import ASSETS, read_registry

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp

#: programmes in the order of the columns of ``residual.tsv``
PROGRAMMES = (
    "early_response",
    "interferon",
    "ribosomal",
    "mitochondrial",
    "cell_cycle",
    "hypoxia_stress",
    "sex",
)
#: genes of a programme that the data must have; the sexes differ in few genes
MIN_FOUND = dict.fromkeys(PROGRAMMES, 5) | {"sex": 2}
#: settings of scanpy's score: control genes per gene, and bins of similar expression
_CONTROLS, _BINS = 50, 25


@dataclass(frozen=True)
class Programme:
    """Genes that rise together.

    Attributes
    ----------
    up, down
        Symbols that rise and fall, of all organisms.
    """

    up: frozenset[str]
    down: frozenset[str]


def load_programmes(path: Path | str | None = None) -> dict[str, Programme]:
    """Return the programmes of ``assets/programmes.tsv`` by name."""
    rows = read_registry(Path(path) if path else ASSETS / "programmes.tsv", kind="programme").values()
    return {
        name: Programme(
            *(frozenset(r["gene"] for r in rows if r["programme"] == name and r["sign"] == s) for s in ("1", "-1"))
        )
        for name in PROGRAMMES
    }


def genes_found(programmes: Mapping[str, Programme], genes: "np.ndarray") -> dict[str, list[str]]:
    """Return the rising genes of every programme that the data have, sorted."""
    known = set(genes)
    return {name: sorted(p.up & known) for name, p in programmes.items()}


def programme_scores(logged: "sp.csr_matrix", genes: "np.ndarray", programmes: Mapping[str, Programme]) -> "np.ndarray":
    """Score every cell for every programme: mean of its genes minus that of genes of similar expression.

    The score is scanpy's ``score_genes`` (Tirosh et al. 2016, 10.1126/science.aad0501); falling genes are subtracted.

    Parameters
    ----------
    logged
        log1p of counts per 10,000, shape (n_cells, n_genes).
    genes
        Symbols, shape (n_genes,).
    programmes
        Programmes by name.

    Returns
    -------
    Shape (n_cells, n_programmes), in log units; NaN where the data have too few genes of a programme
    (``MIN_FOUND``).
    """
    import anndata as ad
    import numpy as np
    import pandas as pd
    import scanpy as sc

    index = pd.Index(genes)
    first = ~index.duplicated()  # of genes with the same symbol the first counts
    data = ad.AnnData(logged[:, first], var=pd.DataFrame(index=index[first]))
    present = set(data.var_names)
    scores = np.full((logged.shape[0], len(programmes)), np.nan)
    for column, (name, programme) in enumerate(programmes.items()):
        sides = [(sorted(programme.up & present), 1), (sorted(programme.down & present), -1)]
        if sum(len(found) for found, _ in sides) < MIN_FOUND[name] or len(present) <= len(sides[0][0]):
            continue
        scores[:, column] = 0
        for found, sign in sides:
            if found:
                sc.tl.score_genes(data, found, ctrl_size=_CONTROLS, n_bins=_BINS, score_name="score", random_state=0)
                scores[:, column] += sign * data.obs["score"].to_numpy()
    return scores
