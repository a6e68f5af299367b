"""Rank-value encoding (Theodoris et al., Nature 2023, doi:10.1038/s41586-023-06139-9): a cell is its genes, sorted.

A gene's value is its count, scaled to the cell's depth and divided by the gene's median over a corpus; a cell becomes
the tokens of its detected genes from the highest value to the lowest. Shared by Geneformer and scCello, whose
dictionaries have one form.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from scfm.errors import ScfmError
from scfm.models.core import tokens
from scfm.models.core.pickles import load_dict
from scfm.text import listing, plural

#: depth that counts are scaled to; constant within a cell, so it matters for rounding only
TARGET_SUM = 10_000


def read_token_dictionary(path: Path | str) -> dict[str, int]:
    """Read a pickled dictionary gene or special token -> id; ids may be NumPy scalars and must differ."""
    content = load_dict(path)
    try:
        found = {key: operator.index(value) for key, value in content.items() if isinstance(key, str)}
    except TypeError as error:
        raise ScfmError(
            f"{path}: expected token -> whole number, found another value ({error}). Is it another dictionary of the"
            " model?"
        ) from error
    if len(found) < len(content):
        raise ScfmError(
            f"{path}: {plural(len(content) - len(found), 'key')} of {len(content):,} are not texts; expected gene or"
            " special token -> id."
        )
    if min(found.values()) < 0 or len(set(found.values())) < len(found):
        raise ScfmError(f"{path}: token ids are negative or occur more than once; expected one id per token.")
    if "<pad>" not in found:
        raise ScfmError(f"{path}: has no token '<pad>'. The file is not a token dictionary.")
    return found


def gene_tokens(dictionary: Mapping[str, int]) -> dict[str, int]:
    """Return the entries that are genes, without specials such as ``<pad>``."""
    return {key: value for key, value in dictionary.items() if not key.startswith("<")}


def read_inverse_medians(path: Path | str, genes: Mapping[str, int]) -> np.ndarray:
    """Read the pickled dictionary gene -> non-zero median of a corpus, for the genes of a vocabulary.

    Parameters
    ----------
    path
        The pickle; it may list further genes.
    genes
        Gene -> token.

    Returns
    -------
    1 / median by token, shape (largest token + 1,), float64; NaN at tokens that are no gene.
    """
    content = load_dict(path)
    missing = [gene for gene in genes if gene not in content]
    if missing:
        raise ScfmError(
            f"{path}: has no median for {plural(len(missing), 'gene')} of {len(genes):,} in the token dictionary (such"
            f" as '{missing[0]}'). The two files are not of one version of the model."
        )
    try:
        medians = np.array([content[gene] for gene in genes], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ScfmError(f"{path}: expected gene -> number ({error}).") from error
    bad = [gene for gene, median in zip(genes, medians.tolist(), strict=True) if not 0 < median < np.inf]
    if bad:
        raise ScfmError(
            f"{path}: {plural(len(bad), 'median')} are not positive numbers (of {listing(bad)}). The file is damaged."
        )
    found = np.full(max(genes.values(), default=-1) + 1, np.nan)
    found[list(genes.values())] = 1.0 / medians
    return found


def scaled(rows: tokens.Rows, factors: tuple[np.ndarray | float, ...], dtype: np.dtype) -> np.ndarray:
    """Multiply the values of each cell by its factors, one after the other, each product rounded to ``dtype``.

    Parameters
    ----------
    rows
        Counts.
    factors
        Each one number per cell, shape (n_cells,), or one number.
    dtype
        Type of values, factors and products: the official code rounds here, and near-equal neighbours depend on it.
    """
    values = rows.values.astype(dtype)
    for factor in factors:
        typed = np.asarray(factor, dtype=dtype)
        values *= np.repeat(typed, rows.lengths) if typed.ndim else typed
    return values


def ranked(values: np.ndarray, offsets: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """Return flat positions of the ``keep`` highest values of each row, highest first, ties in the given order, and new
    offsets.
    """
    order = tokens.rank_rows(values, offsets)
    n_rows = len(offsets) - 1
    kept, new = tokens.take_rows(offsets, np.arange(n_rows), np.full(n_rows, keep))
    return order[kept], new


def check_vocabulary(dictionary: Mapping[str, int], path: Path | str, vocab_size: int, config_path: Path | str) -> None:
    """Refuse a dictionary whose ids do not end where the model's vocabulary does: it belongs to another model."""
    largest = max(dictionary.values())
    if largest + 1 != vocab_size:
        raise ScfmError(
            f"{path}: the largest token id is {largest:,}, but {config_path} has vocab_size {vocab_size:,}. The"
            " dictionary belongs to another version of the model; its tokens would mean other genes here."
        )
