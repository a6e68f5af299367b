"""The counter-based generator Threefry-2x32 (Salmon et al. 2011, 10.1145/2063384.2063405) and the draws JAX makes from
it.

scib-metrics starts its k-means from random numbers of JAX. Importing JAX takes seconds and compiling longer; these few
lines give the same numbers, so that the same cells become the first centres. Only what k-means needs is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Key = tuple[int, int]
_MASK = 0xFFFFFFFF
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _hash(key: Key, high: "np.ndarray", low: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Threefry-2x32 with 20 rounds of 64-bit counters (high, low), both uint32."""
    import numpy as np

    schedule = (key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA)
    a, b = high + np.uint32(schedule[0]), low + np.uint32(schedule[1])
    for block in range(5):
        for turn in _ROTATIONS[block % 2]:
            a = a + b
            b = a ^ ((b << np.uint32(turn)) | (b >> np.uint32(32 - turn)))
        a = a + np.uint32(schedule[(block + 1) % 3])
        b = b + np.uint32((schedule[(block + 2) % 3] + block + 1) & _MASK)
    return a, b


def key_of(seed: int) -> Key:
    """Return the key of a seed."""
    return (seed >> 32) & _MASK, seed & _MASK


def split(key: Key, n: int = 2) -> list[Key]:
    """Return n independent keys."""
    import numpy as np

    a, b = _hash(key, np.zeros(n, np.uint32), np.arange(n, dtype=np.uint32))
    return [(int(x), int(y)) for x, y in zip(a, b, strict=True)]


def bits(key: Key, n: int) -> "np.ndarray":
    """Return n random 32-bit integers."""
    import numpy as np

    a, b = _hash(key, np.zeros(n, np.uint32), np.arange(n, dtype=np.uint32))
    return a ^ b


def gumbel(key: Key, n: int) -> "np.ndarray":
    """Return n draws of the standard Gumbel distribution, float32."""
    import numpy as np

    tiny = np.finfo(np.float32).tiny
    mantissa = (bits(key, n) >> np.uint32(9)) | np.uint32(0x3F800000)
    uniform = np.maximum(tiny, (mantissa.view(np.float32) - np.float32(1)) * (np.float32(1) - tiny) + tiny)
    return -np.log(-np.log(uniform))


def permutation(key: Key, n: int) -> "np.ndarray":
    """Return a random order of 0 to n - 1 (rounds of sorting by random keys)."""
    import numpy as np

    order = np.arange(n)
    for _ in range(int(np.ceil(3 * np.log(max(1, n)) / np.log(_MASK)))):
        key, used = split(key)
        order = order[np.argsort(bits(used, n), kind="stable")]
    return order


def weighted_choice(key: Key, weights: "np.ndarray", n: int) -> "np.ndarray":
    """Draw n different positions with probability proportional to ``weights`` (the Gumbel top-k trick)."""
    import numpy as np

    with np.errstate(divide="ignore"):
        scores = gumbel(key, len(weights)) + np.log(np.asarray(weights, dtype=np.float32))
    return np.argsort(-scores, kind="stable")[:n]
