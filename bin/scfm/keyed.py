"""Random numbers that belong to a cell: a pure function of seed, cell id, stream and counter.

A draw does not depend on the order of cells or genes, on chunks, batches, shards, threads or the machine. The key of a
cell is a 64-bit BLAKE2b hash of seed and id; the draws are SplitMix64 outputs (Steele, Lea and Flood, 2014), i.e. a
counter-based generator that runs vectorised over all draws of a chunk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def cell_keys(seed: int, cell_ids: Iterable[str], *, stream: str = "") -> np.ndarray:
    """Return one 64-bit key per cell, shape (n_cells,), uint64.

    Parameters
    ----------
    seed
        The user's seed.
    cell_ids
        Ids of the cells.
    stream
        Name of the purpose (``ties``, ``subset`` ...): streams of one cell are independent of each other.
    """
    base = hashlib.blake2b(f"{seed}\x1f{stream}".encode(), digest_size=8)
    keys = bytearray()
    for cell_id in cell_ids:
        state = base.copy()
        state.update(b"\x1f" + str(cell_id).encode())
        keys += state.digest()
    return np.frombuffer(bytes(keys), dtype="<u8").astype(np.uint64)


def id_hashes(cell_ids: Iterable[str]) -> np.ndarray:
    """Return a 64-bit BLAKE2b hash per id, without any seed; shape (n_cells,), uint64."""
    digests = b"".join(hashlib.blake2b(str(cell_id).encode(), digest_size=8).digest() for cell_id in cell_ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def pair_bits(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return 64 random bits for each ordered pair of hashes, elementwise with broadcasting, uint64."""
    with np.errstate(over="ignore"):
        return bits_at(second, first * _GOLDEN)


def _mix(values: np.ndarray) -> np.ndarray:
    """Scramble 64-bit integers in place (the finaliser of SplitMix64)."""
    shifted = np.empty_like(values)
    for shift, factor in ((30, _MIX_1), (27, _MIX_2), (31, None)):
        values ^= np.right_shift(values, np.uint64(shift), out=shifted)
        if factor is not None:
            values *= factor
    return values


def states_of(counters: np.ndarray) -> np.ndarray:
    """Return the states of the generator at some counters, uint64: what :func:`bits_at` wants where counters come again
    and again.
    """
    with np.errstate(over="ignore"):
        return (np.asarray(counters).astype(np.uint64) + np.uint64(1)) * _GOLDEN


def bits_at(keys: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Return 64 random bits for each key and state (see :func:`states_of`), elementwise with broadcasting, uint64."""
    with np.errstate(over="ignore"):
        return _mix(states + keys)


def keyed_bits(keys: np.ndarray, counters: np.ndarray) -> np.ndarray:
    """Return 64 random bits for each (key, counter), elementwise with broadcasting, uint64."""
    return bits_at(keys, states_of(counters))
