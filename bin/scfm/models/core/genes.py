"""From the gene names of a file to a model's vocabulary, with a report of what was matched and why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scfm.errors import ScfmError
from scfm.inputs.ensembl import is_ensembl, main_prefix, organism_with, without_version
from scfm.text import plural


@dataclass
class GeneMap:
    """Vocabulary entry of every column of the count matrix.

    Attributes
    ----------
    ids
        Token (or row of a table) per column, -1 where the model does not know the gene, shape (n_genes,), int64.
    report
        Facts for the sidecar; :func:`look_up` fills ``genes_total``, ``genes_matched``, ``genes_repeated``,
        ``versions_stripped``.
    extra
        Further arrays per column that the model's tokeniser wants to keep (medians, chromosomes ...).
    """

    ids: np.ndarray
    report: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def known(self) -> np.ndarray:
        """Mask of the mapped columns, shape (n_genes,)."""
        return self.ids >= 0


def looks_ensembl(names: Iterable[str], *, sample: int = 2000) -> float:
    """Return the share of names (of the first ``sample``) that have the form of an Ensembl gene id, 0 to 1."""
    head = [str(name) for _, name in zip(range(sample), names, strict=False)]
    return sum(map(is_ensembl, head)) / len(head) if head else 0.0


def species_of(names: Iterable[str], *, sample: int = 2000) -> str | None:
    """Guess a species other than human from the form of Ensembl ids (``ENSMUSG``) or symbols (``Actb``); None = no sign
    of one.
    """
    head = [str(name) for _, name in zip(range(sample), names, strict=False)]
    if not head:
        return None
    prefix, n = main_prefix(head)
    if prefix and n > len(head) / 2:
        return organism_with(prefix) or f"the species with the Ensembl prefix ENS{prefix}"
    capitalised = sum(name[:1].isupper() and name[1:].islower() and name[1:2].isalpha() for name in head)
    return "mouse" if capitalised > len(head) / 2 else None


def look_up(names: np.ndarray, table: Mapping[str, int], *, strip_version: str = "auto") -> GeneMap:
    """Look names up in a vocabulary.

    Parameters
    ----------
    names
        Gene names, shape (n_genes,); matched exactly (bring them to the vocabulary's case before).
    table
        Name -> token.
    strip_version
        ``auto``: a name that is unknown as written and is an Ensembl id with a version is looked up without it;
        ``false``: names are taken as they are.
    """
    ids = np.fromiter((table.get(name, -1) for name in names), dtype=np.int64, count=len(names))
    stripped = 0
    if strip_version == "auto":
        for column in np.flatnonzero(ids < 0):
            bare = without_version(names[column])
            if bare is not names[column] and bare in table:
                ids[column] = table[bare]
                stripped += 1
    known = ids[ids >= 0]
    report = {
        "genes_total": len(names),
        "genes_matched": int(known.size),
        "versions_stripped": stripped,
        "genes_repeated": int(known.size - np.unique(known).size),
    }
    return GeneMap(ids, report)


def occurrence(ids: np.ndarray) -> np.ndarray:
    """Return how often each id occurred before in the array: 0 for its first column, 1 for the second ..., shape of
    ``ids``.
    """
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(ids) else np.zeros(0, bool)
    starts = np.maximum.accumulate(np.where(first, np.arange(len(ids)), 0)) if len(ids) else np.zeros(0, int)
    count = np.empty(len(ids), dtype=np.int64)
    count[order] = np.arange(len(ids)) - starts
    return count


def check_overlap(
    genes: GeneMap,
    names: np.ndarray,
    detected: np.ndarray,
    *,
    minimum: float,
    model: str,
    gene_ids: str,
    column: str,
    alternatives: Mapping[str, float],
) -> float:
    """Compare the share of detected genes in the model's vocabulary with a minimum.

    Parameters
    ----------
    genes, names
        The map and the names it was made from.
    detected
        Mask of the genes with a count in at least one cell, shape (n_genes,).
    minimum
        Smallest share that is accepted, 0 to 1; nothing matched at all is always an error.
    model, gene_ids, column
        For the sentence: model, what its vocabulary holds (``symbol`` or ``ensembl``), the setting ``gene_column`` in
        use.
    alternatives
        Share that other columns of ``var`` would give, by column.

    Returns
    -------
    The share, 0 to 1.

    Raises
    ------
    ScfmError
        Too few genes match; the sentence names the likely cause and what to do.
    """
    n_detected = int(detected.sum())
    if not n_detected:
        raise ScfmError("No gene has a count in any cell: the matrix is empty. Check the input file and input_layer.")
    matched = int((genes.known & detected).sum())
    share = matched / n_detected
    genes.report.update(
        genes_detected=n_detected, genes_detected_matched=matched, gene_overlap=round(share, 6), gene_column=column
    )
    if matched and share >= minimum:
        return share
    raise ScfmError(
        f"Only {matched:,} of {plural(n_detected, 'detected gene')} ({share:.1%}) are in the vocabulary of {model}; at"
        f" least {minimum:.0%} are asked for (--min_gene_overlap)."
        f" {_cause(names, gene_ids, column, alternatives, share)}"
    )


def _cause(names: np.ndarray, gene_ids: str, column: str, alternatives: Mapping[str, float], share: float) -> str:
    """Say the likely cause of a low overlap, and what to do."""
    where = "var_names" if column == "index" else f"var column '{column}'"
    wanted = {"symbol": "gene symbols", "ensembl": "Ensembl gene ids"}[gene_ids]
    ensembl = looks_ensembl(names)
    example = f"(such as '{names[0]}')" if len(names) else ""
    if gene_ids == "symbol" and ensembl > 0.5:
        cause = f"The {where} {example} look like Ensembl ids; this model needs {wanted}."
    elif gene_ids == "ensembl" and ensembl < 0.5:
        cause = f"The {where} {example} look like gene symbols; this model needs {wanted}."
    elif (species := species_of(names)) is not None:
        cause = (
            f"The {where} {example} look like genes of {species}; does this model (or its species setting) know that"
            " species?"
        )
    else:
        cause = (
            f"The {where} {example} have the right form but are other genes: another species, or not the names of this"
            " vocabulary?"
        )
    better = max(alternatives, key=alternatives.__getitem__, default=None)
    if better is not None and alternatives[better] > max(share, 0.05):
        return (
            f"{cause} The var column '{better}' would match {alternatives[better]:.0%}: use --set gene_column={better}."
        )
    return (
        f"{cause} Name the right var column: --set gene_column=NAME (in the pipeline: gene_symbol_column /"
        " gene_id_column)."
    )
