"""Pseudobulk test with PyDESeq2 (Muzellec et al. 2023, doi 10.1093/bioinformatics/btad547)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from scfm.expression.pseudobulk import has_reference_genes

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def deseq_test(counts: "np.ndarray", matrix: "np.ndarray", genes: "np.ndarray", *, cpus: int = 1) -> "pd.DataFrame":
    """Test the first coefficient of a design with the negative binomial model of DESeq2 (Wald test, no shrinkage).

    Parameters
    ----------
    counts
        Shape (n_units, n_genes), whole numbers.
    matrix
        Design, shape (n_units, p), full column rank.
    genes
        Names, shape (n_genes,).
    cpus
        Processes.

    Returns
    -------
    One row per gene, in their order: ``gene``, ``mean`` (of normalised counts), ``log_fold_change`` (log2),
    ``standard_error``, ``statistic`` (Wald), ``p_value`` and ``q_value``; NA where DESeq2 gives none: both of a gene
    with an outlying count, ``q_value`` of genes below its independent filter.
    """
    import numpy as np
    import pandas as pd
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.default_inference import DefaultInference
    from pydeseq2.ds import DeseqStats

    # names of our own: what a user called genes, units or levels is never read as a formula
    units = [f"unit_{i}" for i in range(len(counts))]
    names = [f"gene_{j}" for j in range(counts.shape[1])]
    design = pd.DataFrame(matrix, index=units, columns=[f"term_{k}" for k in range(matrix.shape[1])])
    inference = DefaultInference(n_cpus=cpus)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that did not converge; such genes have their fallback in PyDESeq2
        data = DeseqDataSet(
            counts=pd.DataFrame(counts, index=units, columns=names),
            metadata=pd.DataFrame({"unit": units}, index=units),
            design=design,
            size_factors_fit_type="ratio" if has_reference_genes(counts) else "poscounts",
            inference=inference,
            quiet=True,
        )
        data.deseq2()
        contrast = np.eye(matrix.shape[1])[0]
        tested = DeseqStats(data, contrast=contrast, inference=inference, quiet=True)
        tested.summary()
    found = tested.results_df.loc[names]
    columns = {
        "mean": "baseMean",
        "log_fold_change": "log2FoldChange",
        "standard_error": "lfcSE",
        "statistic": "stat",
        "p_value": "pvalue",
        "q_value": "padj",
    }
    return pd.DataFrame({"gene": np.asarray(genes), **{new: found[old].to_numpy() for new, old in columns.items()}})
