"""Differential expression of a trained scVI model, with the batches that the design allows to decode.

Boyeau et al. 2023, doi 10.1073/pnas.2209124120. A model that is given the batch can decode a cell as if it came from
any batch. Where every batch has one condition only, decoding both groups over all batches averages the condition away.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import NotApplicable
from scfm.text import listing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from scfm.integration.base import MethodInputs

#: analysis that a reader should use
SCVI = "scvi"
#: correction over all batches of a nested design: computed to show what it loses
SCVI_ALL_BATCHES = "scvi_all_batches"


def decoded_batches(
    relation: str, batch: "np.ndarray", is_level: "np.ndarray"
) -> dict[str, tuple[bool, tuple[list[str], list[str]] | None]]:
    """Return how the two groups are decoded, by analysis.

    Parameters
    ----------
    relation
        Of batches and conditions: ``crossed``, ``nested`` or ``partial``.
    batch, is_level
        Batch and condition of the compared cells, shape (n_cells,).

    Returns
    -------
    ``{analysis: (correction for the batch, batches of level and reference)}``; None for the batches of the cells
    themselves (without correction), or all (with it).

    Raises
    ------
    NotApplicable
        ``partial_overlap``: batches overlap with conditions in part, or this label has no batch with both.
    """
    import numpy as np

    if relation == "nested":
        return {SCVI: (False, None), SCVI_ALL_BATCHES: (True, None)}
    both = sorted(set(map(str, np.unique(batch[is_level]))) & set(map(str, np.unique(batch[~is_level]))))
    if relation != "crossed" or not both:
        named = f" (both conditions: {listing(both)})" if both else ""
        raise NotApplicable(
            f"Some batches have both conditions and others one{named}. Decoding the groups over different but"
            " overlapping batches is not reliable, and over all of them removes a part of the difference.",
            "partial_overlap",
        )
    return {SCVI: (True, (both, both))}


class TrainedModel:
    """A scVI model of the run with its cells.

    Parameters
    ----------
    folder
        ``<id>.model`` as the integration left it.
    inputs
        The data set that it was trained on.
    settings
        Those of the embedding's sidecar.
    seed
        Seed of the draws.
    """

    def __init__(self, folder: Path, inputs: "MethodInputs", settings: dict[str, Any], seed: int) -> None:
        import scvi as library

        from scfm.integration.scvi import quiet, registered_counts

        quiet()
        library.settings.seed = seed
        self.seed = seed
        adata, _ = registered_counts(inputs, settings)
        self._model = library.model.SCVI.load(str(folder), adata=adata, accelerator="cpu")

    @property
    def genes(self) -> "np.ndarray":
        """Names of the genes of the model, shape (n_genes,)."""
        return self._model.adata.var_names.to_numpy(dtype=object)

    def compare(
        self,
        level: Sequence[str],
        reference: Sequence[str],
        *,
        corrected: bool,
        batches: tuple[list[str], list[str]] | None,
        delta: float,
        fdr: float,
    ) -> "pd.DataFrame":
        """Compare two groups of cells in the mode ``change``.

        Parameters
        ----------
        level, reference
            Cell ids of the groups.
        corrected
            Whether cells are decoded over ``batches`` instead of their own.
        batches
            Batches of the two groups; None for all.
        delta
            Absolute log2 fold change from which a gene counts as changed.
        fdr
            Expected share of false discoveries among the genes called changed.

        Returns
        -------
        One row per gene of the model: ``gene``, ``mean`` (of raw counts over both groups), ``log_fold_change`` (log2,
        mean of the posterior), ``statistic`` (posterior probability of a change, signed by its direction) and
        ``is_changed``.
        """
        import numpy as np
        import pandas as pd
        import scvi as library

        library.settings.seed = self.seed
        names = self._model.adata.obs_names
        found = self._model.differential_expression(
            idx1=np.asarray(names.isin(level)),
            idx2=np.asarray(names.isin(reference)),
            mode="change",
            delta=delta,
            batch_correction=corrected,
            batchid1=batches[0] if batches else None,
            batchid2=batches[1] if batches else None,
            fdr_target=fdr,
            silent=True,
        ).loc[self.genes]
        change = found["lfc_mean"].to_numpy(dtype=float)
        return pd.DataFrame(
            {
                "gene": self.genes,
                "mean": (found["raw_mean1"] + found["raw_mean2"]).to_numpy(dtype=float) / 2,
                "log_fold_change": change,
                "statistic": np.where(change < 0, -1.0, 1.0) * found["proba_de"].to_numpy(dtype=float),
                "is_changed": found[f"is_de_fdr_{fdr}"].to_numpy(dtype=bool),
            }
        )
