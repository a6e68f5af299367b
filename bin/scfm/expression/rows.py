"""Rows of ``de.tsv`` and ``de_genes.tsv``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scfm.errors import NotApplicable

if TYPE_CHECKING:
    import pandas as pd

#: analyses in the order of the tables
PSEUDOBULK, RANKING, SCVI, SCVI_ALL_BATCHES = "pseudobulk", "ranking", "scvi", "scvi_all_batches"
ANALYSES = (PSEUDOBULK, RANKING, SCVI, SCVI_ALL_BATCHES)
#: columns of ``de.tsv``
COLUMNS = (
    "dataset",
    "batch_key",
    "label_key",
    "label",
    "level",
    "reference",
    "analysis",
    "model",
    "design",
    "relation",
    "n_cells_level",
    "n_cells_reference",
    "n_level",
    "n_reference",
    "n_genes",
    "n_significant",
    "n_up",
    "n_significant_in_model",
    "null_observed",
    "null_median",
    "null_max",
    "n_permutations",
    "null_reason",
    "lfc_spearman",
    "top_jaccard",
    "auprc",
    "auprc_chance",
    "n_consensus",
    "conservation_reason",
    "top_genes",
    "file",
    "status",
    "reason",
    "explanation",
)
#: those of them that are text; empty where there is nothing to say
TEXTS = (
    "model",
    "design",
    "relation",
    "null_reason",
    "conservation_reason",
    "top_genes",
    "file",
    "reason",
    "explanation",
)
#: columns of ``de_genes.tsv``
GENE_COLUMNS = (
    "dataset",
    "batch_key",
    "label_key",
    "label",
    "level",
    "reference",
    "analysis",
    "rank",
    "gene",
    "symbol",
    "mean",
    "log_fold_change",
    "standard_error",
    "statistic",
    "p_value",
    "q_value",
    "is_significant",
)
#: columns of a result that an analysis may lack
_OPTIONAL = ("standard_error", "p_value", "q_value", "is_significant")
#: genes named in ``de.tsv``
NAMED = 20


@dataclass
class Result:
    """One analysis of one label and contrast.

    Attributes
    ----------
    label, level, reference, analysis
        What is compared.
    genes
        One row per gene, the strongest first, from :func:`ordered`; None where the analysis is not defined.
    facts
        Other columns of ``de.tsv``.
    """

    label: str
    level: str
    reference: str
    analysis: str
    genes: "pd.DataFrame | None" = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def row(self) -> dict[str, Any]:
        """The row of ``de.tsv``, without data set and keys."""
        about = {name: getattr(self, name) for name in ("label", "level", "reference", "analysis")}
        about |= {"status": "ok", "reason": "", "explanation": ""}
        if self.genes is not None:
            about |= {"n_genes": len(self.genes), "top_genes": ", ".join(self.genes["symbol"].head(NAMED))}
            if self.genes["is_significant"].notna().any():
                significant = self.genes[called(self.genes)]
                about |= {"n_significant": len(significant), "n_up": int((significant["log_fold_change"] > 0).sum())}
        return about | self.facts

    @property
    def n_significant(self) -> int | None:
        """Genes called different; None where the analysis is not defined or calls none."""
        return self.row.get("n_significant")


def refused(label: str, level: str, reference: str, analysis: str, error: NotApplicable, **facts: Any) -> Result:
    """Return the result of an analysis that is not defined, with its reason."""
    about = {"status": "not_applicable", "reason": error.code, "explanation": str(error)}
    return Result(label, level, reference, analysis, facts=about | facts)


def called(genes: "pd.DataFrame") -> "pd.Series":
    """Return which genes are called different; one without a verdict is not."""
    return genes["is_significant"].isin([True])


def ordered(genes: "pd.DataFrame", symbols: dict[str, str], *, neutral: float = 0.0) -> "pd.DataFrame":
    """Return genes with all columns, the strongest first: by p value, then by the distance of the statistic.

    Parameters
    ----------
    genes
        ``gene``, ``mean``, ``log_fold_change``, ``statistic`` and those that the analysis has of the others.
    symbols
        ``{gene: symbol}``.
    neutral
        Statistic of a gene without any difference.
    """
    table = genes.copy()
    table.insert(1, "symbol", table["gene"].map(symbols))
    for column in _OPTIONAL:
        if column not in table:
            table[column] = None
    strength = (table["statistic"].astype(float) - neutral).abs()
    change = table["log_fold_change"].astype(float).abs()
    order = table.assign(_p=table["p_value"].astype(float), _s=-strength, _c=-change)
    order = order.sort_values(["_p", "_s", "_c", "gene"], kind="stable", na_position="last")
    return table.loc[order.index, [c for c in GENE_COLUMNS if c in table]].reset_index(drop=True)
