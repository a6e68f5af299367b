"""UCE's sampled cell sentences, and the official padding; written from ``docs/models/uce.md``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scfm.keyed import keyed_bits
from scfm.models.core.tokens import Tokens, offsets_of, within

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

PAD, END, CLS = 0, 2, 3
#: weights of the keyed sampler are whole numbers of this size: sums are exact, whatever else is in the chunk
_SCALE = 2.0**30
#: cells sampled at once: their arrays stay in the processor's cache
_BLOCK = 64


@dataclass(frozen=True)
class Genome:
    """The columns that sentences are drawn from, along the genome: by chromosome code, start, token, column.

    Attributes
    ----------
    columns, tokens, chromosomes, starts
        Column of the count matrix, gene token, chromosome code, start; shape (n,), int64.
    """

    columns: np.ndarray
    tokens: np.ndarray
    chromosomes: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True)
class Weighted:
    """Sampling weights of a chunk of cells, genes of a cell along the genome.

    Attributes
    ----------
    ranks
        Place in :class:`Genome`, ascending within a cell, shape (n_values,).
    running
        Running sum of the weights over the whole chunk, shape (n_values + 1,), int64.
    offsets
        Row limits, shape (n_cells + 1,).
    """

    ranks: np.ndarray
    running: np.ndarray
    offsets: np.ndarray


_SMALL = np.rint(np.log1p(np.arange(4096)) * _SCALE).astype(np.int64)


def weights_of(counts: np.ndarray) -> np.ndarray:
    """Return log1p of counts (cut to whole numbers) as whole numbers: exact sums make a cell's draw independent of
    other cells.
    """
    whole = counts.astype(np.float32, copy=False).astype(np.int64)
    weights = _SMALL[np.minimum(whole, len(_SMALL) - 1)]
    large = whole >= len(_SMALL)
    if large.any():
        weights[large] = np.rint(np.log1p(whole[large].astype(np.float64)) * _SCALE).astype(np.int64)
    return weights


def weigh(counts: "csr_matrix", genome: Genome) -> Weighted:
    """Bring the columns of a chunk into genome order and weigh them; the way through CSC sorts every cell in linear
    time.
    """
    ordered = counts.tocsc()[:, genome.columns].tocsr()
    running = np.concatenate([[0], np.cumsum(weights_of(ordered.data), dtype=np.int64)])
    return Weighted(ordered.indices, running, ordered.indptr.astype(np.int64))


def draw_keyed(weighted: Weighted, cells: np.ndarray, keys: np.ndarray, sample_size: int) -> np.ndarray:
    """Draw genes with replacement, with probability log1p(count) / sum, through the inverse of the running sum.

    Parameters
    ----------
    weighted
        Weights of the chunk.
    cells
        Rows of the chunk to draw for, ascending; each has a positive weight.
    keys
        Key of each of these cells, uint64.

    Returns
    -------
    Places in the genome, ascending in each row, shape (len(cells), sample_size).
    """
    base = weighted.running[weighted.offsets[cells]]
    total = weighted.running[weighted.offsets[cells + 1]] - base
    bits = np.sort(keyed_bits(keys[:, None], np.arange(sample_size)), axis=1)
    uniform = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    target = np.minimum((uniform * total[:, None]).astype(np.int64), total[:, None] - 1) + base[:, None]
    low, high = (
        weighted.offsets[cells[0]],
        weighted.offsets[cells[-1] + 1],
    )  # rows ascend: search among these cells only
    return weighted.ranks[low + np.searchsorted(weighted.running[low : high + 1], target, side="right") - 1]


def arrange(
    tokens: np.ndarray,
    chromosomes: np.ndarray,
    *,
    offset: int,
    priority: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Write sentences: CLS, then per chromosome its token, the drawn genes and the end token.

    Parameters
    ----------
    tokens, chromosomes
        Drawn genes and their chromosome codes, equal chromosomes side by side, shape (n_cells, sample_size).
    offset
        Token of chromosome code 0.
    priority
        ``priority(cell, chromosome)`` gives the sort keys that order the chromosomes of a cell; None = in the given
        order.

    Returns
    -------
    Flat tokens, int32, and tokens per cell.
    """
    n, size = tokens.shape
    new = np.ones((n, size), dtype=bool)
    new[:, 1:] = chromosomes[:, 1:] != chromosomes[:, :-1]
    first = np.flatnonzero(new)
    length = np.diff(np.append(first, n * size))
    cell, code = first // size, chromosomes.ravel()[first]
    order = np.arange(len(first)) if priority is None else np.lexsort((priority(cell, code), cell))
    start = np.empty(len(first), dtype=np.int64)
    start[order] = np.cumsum(length[order] + 2) - (length[order] + 2) + cell[order] + 1
    lengths = 1 + size + 2 * np.bincount(cell, minlength=n)
    out = np.full(int(lengths.sum()), END, dtype=np.int32)
    out[offsets_of(lengths)[:-1]] = CLS
    out[start] = code + offset
    out[np.repeat(start + 1 - first, length) + np.arange(n * size)] = tokens.ravel()
    return out, lengths


def keyed_sentences(
    weighted: Weighted,
    genome: Genome,
    cells: np.ndarray,
    keys: tuple[np.ndarray, np.ndarray],
    *,
    sample_size: int,
    offset: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Sample and write the sentences of some cells of a chunk; ``keys`` are those of the draws and of the chromosomes'
    order.
    """
    parts = []
    for begin in range(0, len(cells), _BLOCK):
        some = slice(begin, begin + _BLOCK)
        ranks = draw_keyed(weighted, cells[some], keys[0][some], sample_size)
        shuffle = keys[1][some]
        parts.append(
            arrange(
                genome.tokens[ranks],
                genome.chromosomes[ranks],
                offset=offset,
                priority=lambda cell, code, k=shuffle: keyed_bits(k[cell], code),
            )
        )
    if not parts:
        return np.zeros(0, np.int32), np.zeros(0, np.int64)
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


class LegacyStream:
    """The official sampler: one generator for all cells in file order, so a cell's draw depends on all cells before it.

    Parameters
    ----------
    seed
        Seed of NumPy's legacy generator (the official code uses the global one, unseeded).
    genome
        Columns to draw from; the running sum goes along the file's columns here.
    """

    def __init__(self, seed: int, genome: Genome) -> None:
        self._rng = np.random.RandomState(seed)
        order = np.argsort(genome.columns)
        self.columns, self.tokens = genome.columns[order], genome.tokens[order]
        self.chromosomes, self.starts = genome.chromosomes[order], genome.starts[order]

    def probabilities(self, places: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the float32 probabilities of a cell's genes (``places`` among :attr:`columns`), rounded as
        officially.
        """
        import torch

        dense = torch.zeros(1, len(self.columns))  # the order of torch's sum depends on the zeros between the genes
        dense[0, torch.from_numpy(places)] = torch.from_numpy(
            counts.astype(np.float32).astype(np.int64).astype(np.float32)
        )
        weights = torch.log1p(dense)
        p = (weights / weights.sum())[0].numpy()[places]
        return p / np.cumsum(p, dtype=np.float32)[-1]

    def draw(self, places: np.ndarray, counts: np.ndarray, sample_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw a cell: places among :attr:`columns` in the order of the draw, and its chromosomes in shuffled order."""
        running = np.cumsum(self.probabilities(places, counts).astype(np.float64))
        uniform = self._rng.random_sample(sample_size)
        drawn = places[np.searchsorted(running / running[-1], uniform, side="right")]
        chromosomes = np.unique(self.chromosomes[drawn])
        self._rng.shuffle(chromosomes)
        return drawn, chromosomes

    def sentence(self, places: np.ndarray, counts: np.ndarray, *, sample_size: int, offset: int) -> np.ndarray:
        """Return a cell's sentence; equal starts stay in the order of the draw."""
        drawn, chromosomes = self.draw(places, counts, sample_size)
        place_of = np.empty(int(chromosomes.max()) + 1, dtype=np.int64)
        place_of[chromosomes] = np.arange(len(chromosomes))
        drawn = drawn[np.lexsort((self.starts[drawn], place_of[self.chromosomes[drawn]]))]
        return arrange(self.tokens[drawn][None], self.chromosomes[drawn][None], offset=offset)[0]


def joined(first: Tokens, second: Tokens) -> Tokens:
    """Put the tokens of two groups of cells behind each other."""
    return Tokens(
        np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]]),
        {k: np.concatenate([v, second.fields[k]]) for k, v in first.fields.items()},
        np.concatenate([first.n_genes, second.n_genes]),
    )


def pad_batches(found: Tokens, batch_size: int) -> Tokens:
    """Pad consecutive cells to the longest of their batch. Padding is a token like others, but attracts: +1 on its
    logits (``bias``).
    """
    lengths = found.lengths
    longest = [lengths[i : i + batch_size].max() for i in range(0, len(lengths), batch_size)]
    offsets = offsets_of(np.repeat(np.array(longest, dtype=np.int64), batch_size)[: len(lengths)])
    ids = np.full(offsets[-1], PAD, dtype=found.fields["ids"].dtype)
    bias = np.ones(offsets[-1], dtype=np.float32)
    real = np.repeat(offsets[:-1], lengths) + within(found.offsets)
    ids[real], bias[real] = found.fields["ids"], 0.0
    return Tokens(offsets, {"ids": ids, "bias": bias}, found.n_genes)
