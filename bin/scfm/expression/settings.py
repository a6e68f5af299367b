"""Parameters of the comparison, and the design that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scfm.errors import ScfmError
from scfm.task.settings import given
from scfm.text import split_list

#: fewest counts of a gene, added up over the compared units
MIN_COUNT = 10


@dataclass(frozen=True)
class DeSettings:
    """Parameters ``de_*`` of the run.

    Attributes
    ----------
    min_cells, min_samples
        Fewest cells of a unit; fewest replicates of a condition.
    fdr, delta
        False discovery rate; log2 fold change from which scVI counts a gene as changed.
    permutations
        Of the condition, for the null.
    max_null
        Largest share of the tested genes that the median permutation may find.
    reference
        Condition that the others are compared with; the first by name where empty.
    top
        Genes per comparison in ``de_genes.tsv``.
    alarm_scvi, alarm_pseudobulk
        W-DE-01: scVI finds fewer genes than the first where the pseudobulk finds more than the second.
    subset_genes
        A file with fewer genes is taken for a subset of the measured ones.
    seed
        Seed of permutations and draws.
    """

    min_cells: int = 10
    min_samples: int = 2
    fdr: float = 0.05
    delta: float = 0.25
    permutations: int = 20
    max_null: float = 0.01
    reference: str = ""
    top: int = 50
    alarm_scvi: int = 5
    alarm_pseudobulk: int = 20
    subset_genes: int = 5000
    seed: int = 0

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "DeSettings":
        """Take the parameters ``de_*`` of a run, and the first of ``seeds``."""
        seeds = split_list(params.get("seeds", 0))
        return cls(**given(params, "de_", cls.__dataclass_fields__), seed=int(seeds[0]))


@dataclass(frozen=True)
class DesignChoice:
    """What the design of the data set allows.

    Attributes
    ----------
    design
        ``donor + condition``, ``batch + condition``, ``condition``; ``none`` where no test is possible.
    relation
        Of batches and conditions: ``crossed``, ``partial`` or ``nested``.
    reason_code, reason
        Why, as a code (``no_replicates`` ...) and as a sentence.
    """

    design: str
    relation: str
    reason_code: str
    reason: str

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: str) -> "DesignChoice":
        """Take what ``<dataset>.design.json`` says of differential expression.

        Raises
        ------
        ScfmError
            It says nothing.
        """
        found = content.get("de")
        if not found:
            raise ScfmError(f"{source}: no entry 'de'. DESCRIBE_DESIGN writes it where a data set has a condition.")
        return cls(found["design"], found["class"], found["reason_code"], found["reason"])
