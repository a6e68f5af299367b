"""Parts of Nicheformer: gene order and technology means of a folder, context tokens of cells, and the compiled sort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scfm.errors import ScfmError
from scfm.models.core.pickles import require_file
from scfm.models.core.tokens import take_rows
from scfm.text import did_you_mean, listing, plural

if TYPE_CHECKING:
    import pandas as pd

#: ids before the first gene: empty, padding, cls, context tokens, reserved
N_SPECIAL = 30
PAD = 1
MODALITY = {"dissociated": 3, "spatial": 4}
ORGANISM = {"human": 5, "homo sapiens": 5, "mouse": 6, "mus musculus": 6}
#: assay -> token; the platform Xenium is called 'visium' in the official training configuration
ASSAY = {
    "merfish": 7,
    "cosmx": 8,
    "nanostring digital spatial profiling": 8,
    "visium": 9,
    "xenium": 9,
    "10x 5' v2": 10,
    "10x 3' v3": 11,
    "10x 3' v2": 12,
    "10x 5' v1": 13,
    "10x 3' v1": 14,
    "10x 3' transcription profiling": 15,
    "10x transcription profiling": 15,
    "10x 5' transcription profiling": 16,
    "cite-seq": 17,
    "smart-seq v4": 18,
}
MEANS = "dissociated_mean_script.npy"


# ---- files -----------------------------------------------------------------------------------------------------------


def read_gene_order(path: Path) -> list[str]:
    """Return the genes of ``model.h5ad`` in the order of their tokens: its ``var_names`` (the cell stored in it means
    nothing).
    """
    import h5py
    from anndata.io import read_elem

    require_file(path)
    try:
        with h5py.File(path, "r") as handle:
            names = [str(name) for name in read_elem(handle["var"]).index]
    except (OSError, KeyError) as error:
        first = " ".join(str(error).split())[:120]
        raise ScfmError(
            f"{path}: not readable as .h5ad with a table var ({first}). The file gives the order of the genes; get it"
            " again."
        ) from error
    if len(set(names)) < len(names) or not names:
        raise ScfmError(
            f"{path}: var holds {plural(len(names), 'name')}, {len(set(names)):,} different ones; expected one row per"
            " gene of the model."
        )
    return names


def find_means(weights: Path, setting: str, modality: str) -> Path:
    """Return the file of technology means: as set, else that of dissociated cells; spatial platforms differ, so there
    it must be named.
    """
    if setting:
        return weights / setting
    if modality == "dissociated":
        return weights / MEANS
    found = sorted(p.name for p in weights.glob("*_mean_script.npy"))
    raise ScfmError(
        "nicheformer: modality=spatial needs the means of its platform: --set technology_mean=FILE, a path relative to"
        f" {weights} ({'there are ' + listing(found) if found else 'no *_mean_script.npy lies there'})."
    )


def read_means(
    path: Path, n_genes: int, nan_means: Literal["official", "ignore", "pretraining"]
) -> tuple[np.ndarray, np.ndarray]:
    """Read the mean count of each gene on a technology.

    Parameters
    ----------
    path
        ``.npy``, one number per gene; NaN where the technology did not measure the gene, values may be negative.
    n_genes
        Genes of the model.
    nan_means
        ``official`` = a gene without mean is a token of every cell, whatever its count; ``ignore`` = it is a token of
        none; ``pretraining`` = as the tokens of the training corpus were made: no mean counts as 1, means are rounded
        half up.

    Returns
    -------
    Means with 1 in place of 0, shape (n_genes,), float64, and the mask of the genes without one (of which tokens are to
    be made or left out; none with ``pretraining``).
    """
    require_file(path)
    try:
        means = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ScfmError(
            f"{path}: not readable as an array of numbers ({' '.join(str(error).split())[:120]}). Download it again."
        ) from error
    if not isinstance(means, np.ndarray) or means.dtype.kind not in "fiu" or means.size != n_genes:
        what = f"{getattr(means, 'dtype', type(means).__name__)} of shape {getattr(means, 'shape', '?')}"
        raise ScfmError(f"{path}: holds {what}, expected {n_genes:,} numbers, one per gene of model.h5ad.")
    means = means.astype(np.float64).ravel()
    if np.isinf(means).any():
        raise ScfmError(
            f"{path}: {plural(int(np.isinf(means).sum()), 'mean')} are infinite. The file is damaged; get it again."
        )
    if nan_means == "pretraining":
        means = np.floor(np.nan_to_num(means) + 0.5)
    missing = np.isnan(means)
    return np.where(means == 0, 1.0, means), missing


# ---- context tokens --------------------------------------------------------------------------------------------------


def token_of(value: Any, table: Mapping[str, int]) -> int | None:
    """Return the token of a name (any case) or of a number that already is one; None where it is unknown."""
    text = str(value).strip().lower()
    if text in table:
        return table[text]
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number in set(table.values()) else None


def context_tokens(
    column: "pd.Series | None", table: Mapping[str, int], default: int, n_cells: int
) -> tuple[np.ndarray, dict[str, int]]:
    """Return the context token of every cell of the file.

    Parameters
    ----------
    column
        Names, or tokens as numbers; None for the default everywhere.
    table, default
        Name -> token; the token of names that are not in it.
    n_cells
        Cells of the file.

    Returns
    -------
    Tokens, shape (n_cells,), int64, and the unknown names with their number of cells.
    """
    if column is None:
        return np.full(n_cells, default, dtype=np.int64), {}
    codes, names = column.astype(object).where(column.notna(), "missing").factorize()
    found = [token_of(name, table) for name in names]
    tokens = np.array([default if token is None else token for token in found], dtype=np.int64)
    counts = np.bincount(codes, minlength=len(names))
    return tokens[codes], {
        str(name): int(n) for name, token, n in zip(names, found, counts, strict=True) if token is None
    }


def parse_token(value: str, table: Mapping[str, int], key: str) -> int:
    """Return the token of a setting such as ``default_assay=10x 3' v3`` or ``=11``."""
    token = token_of(value, table)
    if token is None:
        raise ScfmError(
            f"nicheformer: setting {key}={value} is no token of the model.{did_you_mean(value, table)} Known:"
            f" {', '.join(table)}."
        )
    return token


# ---- the sort --------------------------------------------------------------------------------------------------------


def rank_cells(genes: np.ndarray, values: np.ndarray, offsets: np.ndarray, always: np.ndarray, out: np.ndarray) -> None:
    """Write the genes of each cell from the highest to the lowest value, as many as ``out`` has columns; see
    :func:`_rank_cells`.

    A cell whose own genes fill the row with no two equal values has only one order, which NumPy's sort finds several
    times faster; the others need the official sort.
    """
    keep, lengths = out.shape[1], np.diff(offsets)
    long = np.flatnonzero(lengths >= keep)
    one_order = np.zeros(len(lengths), dtype=bool)
    for cell in long.tolist():
        row = values[offsets[cell] : offsets[cell + 1]]
        order = np.argsort(-row)
        ordered = row[order[: keep + 1]]
        if (ordered[1:] != ordered[:-1]).all():
            out[cell] = genes[offsets[cell] + order[:keep]]
            one_order[cell] = True
    rest = np.flatnonzero(~one_order)
    if len(rest):
        flat, limits = take_rows(offsets, rest)
        found = out[rest]
        rank_kernel()(genes[flat], values[flat], limits, always, keep, found)
        out[rest] = found


@cache
def rank_kernel() -> Callable[..., None]:
    """Return the compiled function that ranks cells; see :func:`_rank_cells` for its arguments.

    Equal values (all genes without a mean are equal: NaN) have no order of their own, and the official tokens carry the
    order that Numba's quicksort leaves them in. It is the same on every processor, so it is called here, too.
    """
    import numba

    try:
        return numba.njit(nogil=True, cache=True)(_rank_cells)
    except RuntimeError:  # no folder to keep the compiled function in: it is compiled anew
        return numba.njit(nogil=True)(_rank_cells)


def _rank_cells(genes, values, offsets, always, keep, out):  # noqa: PLR0917 (compiled)
    """Write the genes of each cell from the highest to the lowest value.

    Parameters
    ----------
    genes, values, offsets
        Detected genes of each cell, ascending and without those of ``always``; their values, none of them 0 or NaN.
    always
        Genes that are NaN in every cell, ascending.
    keep
        Genes kept of each cell.
    out
        Written: (n_cells, keep); places behind the last gene are left as they are.
    """
    n_always = len(always)
    for cell in range(len(offsets) - 1):
        at, stop = offsets[cell], offsets[cell + 1]
        n = stop - at + n_always
        merged = np.empty(n, np.int64)
        negated = np.empty(n, np.float64)
        k = 0
        for i in range(n):
            if k < n_always and (at == stop or always[k] < genes[at]):
                merged[i] = always[k]
                negated[i] = np.nan
                k += 1
            else:
                merged[i] = genes[at]
                negated[i] = -values[at]
                at += 1
        order = np.argsort(negated)
        for i in range(min(n, keep)):
            out[cell, i] = merged[order[i]]


def sine_positions(length: int, width: int) -> np.ndarray:
    """Return the fixed table of positions: sine on even, cosine on odd channels, base 10,000; (length, width),
    float32.
    """
    frequency = np.exp(np.arange(0, width, 2) * (-np.log(10_000.0) / width))
    angle = np.arange(length)[:, None] * frequency
    table = np.empty((length, width), dtype=np.float32)
    table[:, 0::2], table[:, 1::2] = np.sin(angle), np.cos(angle)[:, : width // 2]
    return table
