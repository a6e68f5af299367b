"""Thresholds of the diagnosis: parameters of the run, printed beside every value that they judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scfm.task.settings import given

#: prefix of the parameters behind the fields
PREFIX = "diagnose_"


@dataclass(frozen=True)
class DiagnosisSettings:
    """The parameters ``--diagnose_<field>``; each is described in ``nextflow_schema.json``.

    Attributes
    ----------
    min_cells, permutations, fdr
        Cells of a batch in a label, permutations at least, and false discovery rate of the residual tests.
    auroc, cilisi
        Batch AUROC above which, and CiLISI below which, a label is flagged.
    effect, ambient, genes, shared_genes
        Difference of a programme in standard deviations, correlation with other labels, number of genes, and share of
        the condition's genes from which on a cause is named.
    gene_change
        Smallest difference of log expression of a gene that counts.
    cluster_resolution, cluster_cells
        Leiden resolution, and cells of a cluster that is judged.
    single_donor, donor_dominated, donor_entropy, island, island_label, purity, tissue_entropy
        Red flags of clusters.
    doublet_cells
        Cells of a batch whose doublet score is computed at most, where a cluster has a flag; 0 for none.
    marker_drop, tau_drop
        Losses of marker specificity.
    rare_share, rare_cells, rare_drop, rare_f1
        Which labels are rare, and when they are lost.
    balance_change
        Change of the mean batch metric on batches of one size from which imbalance is said to matter.
    biology_drop, null_jaccard, disjoint
        Over-correction: loss of the biology probe, kept neighbourhoods, kept separation.
    seed
        Seed of permutations and folds.
    """

    min_cells: int = 20
    permutations: int = 2000
    fdr: float = 0.05
    auroc: float = 0.8
    cilisi: float = 0.2
    effect: float = 0.5
    ambient: float = 0.5
    genes: int = 50
    shared_genes: float = 0.2
    gene_change: float = 0.25
    cluster_resolution: float = 1.0
    cluster_cells: int = 50
    single_donor: float = 0.9
    donor_dominated: float = 0.7
    donor_entropy: float = 0.3
    doublet_cells: int = 5000
    island: float = 0.95
    island_label: float = 0.7
    purity: float = 0.6
    tissue_entropy: float = 0.9
    marker_drop: float = 0.05
    tau_drop: float = 0.1
    rare_share: float = 0.01
    rare_cells: int = 200
    rare_drop: float = 0.2
    rare_f1: float = 0.3
    balance_change: float = 0.1
    biology_drop: float = 0.15
    null_jaccard: float = 0.7
    disjoint: float = 0.9
    seed: int = 0

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> "DiagnosisSettings":
        """Take them from the parameters of a run; what is not given has its default."""
        return cls(**given(params, PREFIX, cls.__dataclass_fields__))
