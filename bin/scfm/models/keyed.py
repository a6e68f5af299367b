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


def _mix(values: np.ndarray) -> np.ndarray:
    """Scramble 64-bit integers in place (the finaliser of SplitMix64)."""
    values ^= values >> np.uint64(30)
    values *= _MIX_1
    values ^= values >> np.uint64(27)
    values *= _MIX_2
    values ^= values >> np.uint64(31)
    return values


def keyed_bits(keys: np.ndarray, counters: np.ndarray) -> np.ndarray:
    """Return 64 random bits for each (key, counter), elementwise with broadcasting, uint64."""
    with np.errstate(over="ignore"):
        return _mix((np.asarray(counters).astype(np.uint64) + np.uint64(1)) * _GOLDEN + keys)


def keyed_uniform(keys: np.ndarray, counters: np.ndarray) -> np.ndarray:
    """Return uniform draws in [0, 1), float64, for each (key, counter); see :func:`keyed_bits`."""
    return (keyed_bits(keys, counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53
