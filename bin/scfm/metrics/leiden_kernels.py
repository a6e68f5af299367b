"""Steps of Leiden on many nodes, written for Numba; :mod:`scfm.metrics.leiden_large` runs them.

The edges of node v are ``starts[v]`` to ``starts[v + 1]`` of ``ends`` and ``weights``. ``strength`` is the sum of the
weights of a node's edges, those inside of an aggregated node included; ``per_strength`` is the resolution over the
strength of all nodes.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

#: randomness of the merges, in units of edge weights
THETA = 0.01
#: a node is moved for more than this; rounding would move it to and fro
_LEAST_GAIN = 1e-10


@cache
def compiled() -> "tuple[Callable, ...]":
    """Return the compiled :func:`_move`, :func:`_merge`, :func:`_number` and :func:`_aggregate`."""
    import numba

    functions = _move, _merge, _number, _aggregate
    try:
        return tuple(numba.njit(nogil=True, cache=True)(function) for function in functions)
    except RuntimeError:  # no folder to keep the compiled functions in: they are compiled anew
        return tuple(numba.njit(nogil=True)(function) for function in functions)


def _move(  # noqa: PLR0915, PLR0917 (compiled)
    starts: np.ndarray,
    ends: np.ndarray,
    weights: np.ndarray,
    strength: np.ndarray,
    per_strength: float,
    cluster: np.ndarray,
    order: np.ndarray,
) -> None:
    """Move nodes to the cluster where they raise the modularity most, until none is worth moving.

    After a move the neighbours in other clusters are looked at again.

    Parameters
    ----------
    cluster
        Cluster of every node, below the number of nodes; overwritten.
    order
        The nodes in the order of the first visit.
    """
    n = len(strength)
    total = np.zeros(n)
    size = np.zeros(n, np.uint32)
    for v in range(n):
        total[cluster[v]] += strength[v]
        size[cluster[v]] += 1
    empty = np.empty(n, np.uint32)
    n_empty = 0
    for c in range(n):
        if size[c] == 0:
            empty[n_empty] = c
            n_empty += 1
    link = np.zeros(n)  # weight of the edges from the node to a cluster
    seen = np.empty(n, np.uint32)
    queue = order.copy()
    waits = np.ones(n, np.bool_)
    head = 0
    n_waiting = n
    while n_waiting:
        v = queue[head]
        head = head + 1 if head + 1 < n else 0
        n_waiting -= 1
        waits[v] = False
        own = cluster[v]
        n_seen = 0
        for e in range(starts[v], starts[v + 1]):
            c = cluster[ends[e]]
            if link[c] == 0.0:
                seen[n_seen] = c
                n_seen += 1
            link[c] += weights[e]
        cost = per_strength * strength[v]
        best = own
        gain = link[own] - cost * (total[own] - strength[v]) + _LEAST_GAIN
        for i in range(n_seen):
            c = seen[i]
            if c != own and link[c] - cost * total[c] > gain:
                best = c
                gain = link[c] - cost * total[c]
            link[c] = 0.0
        if gain < 0.0 and size[own] > 1:
            n_empty -= 1
            best = empty[n_empty]
        if best == own:
            continue
        cluster[v] = best
        total[own] -= strength[v]
        total[best] += strength[v]
        size[own] -= 1
        size[best] += 1
        if size[own] == 0:
            total[own] = 0.0
            empty[n_empty] = own
            n_empty += 1
        for e in range(starts[v], starts[v + 1]):
            u = ends[e]
            if not waits[u] and cluster[u] != best:
                waits[u] = True
                place = head + n_waiting
                queue[place if place < n else place - n] = u
                n_waiting += 1


def _merge(  # noqa: PLR0915, PLR0917 (compiled)
    starts: np.ndarray,
    ends: np.ndarray,
    weights: np.ndarray,
    strength: np.ndarray,
    per_strength: float,
    cluster: np.ndarray,
    order: np.ndarray,
    uniform: np.ndarray,
) -> np.ndarray:
    """Return a part of its cluster for every node, shape (n_nodes,): nodes that are alone join a part at random.

    Only nodes and parts that are well linked to the rest of their cluster take part, and no join lowers the modularity;
    one that raises it by x more is exp(x / THETA) times as probable.

    Parameters
    ----------
    order
        The nodes in the order of their visit.
    uniform
        A random number in [0, 1) for every node.
    """
    n = len(strength)
    total = np.zeros(n)
    part = np.empty(n, np.uint32)
    outward = np.zeros(n)  # weight of the edges from a part to the rest of its cluster
    for v in range(n):
        part[v] = v
        total[cluster[v]] += strength[v]
        for e in range(starts[v], starts[v + 1]):
            if cluster[ends[e]] == cluster[v]:
                outward[v] += weights[e]
    inside = strength.copy()  # strength of a part
    alone = np.ones(n, np.bool_)
    link = np.zeros(n)
    seen = np.empty(n, np.uint32)
    gains = np.empty(n)
    for v in order:
        whole = total[cluster[v]]
        if not alone[v] or outward[v] < per_strength * strength[v] * (whole - strength[v]):
            continue
        n_seen = 0
        for e in range(starts[v], starts[v + 1]):
            if cluster[ends[e]] == cluster[v]:
                p = part[ends[e]]
                if link[p] == 0.0:
                    seen[n_seen] = p
                    n_seen += 1
                link[p] += weights[e]
        n_open = 0
        highest = 0.0
        for i in range(n_seen):
            p = seen[i]
            gain = link[p] - per_strength * strength[v] * inside[p]
            if gain >= 0.0 and outward[p] >= per_strength * inside[p] * (whole - inside[p]):
                seen[n_open] = p
                gains[n_open] = gain
                n_open += 1
                highest = max(highest, gain)
            link[p] = 0.0
        stays = np.exp(-highest / THETA)
        mass = stays
        for i in range(n_open):
            gains[i] = np.exp((gains[i] - highest) / THETA)
            mass += gains[i]
        left = uniform[v] * mass - stays
        if n_open == 0 or left < 0.0:
            continue
        chosen = 0
        while chosen < n_open - 1 and left >= gains[chosen]:
            left -= gains[chosen]
            chosen += 1
        p = seen[chosen]
        part[v] = p
        alone[v] = False
        alone[p] = False
        inside[p] += strength[v]
        for e in range(starts[v], starts[v + 1]):
            if cluster[ends[e]] == cluster[v]:
                outward[p] += -weights[e] if part[ends[e]] == p else weights[e]
    return part


def _number(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the values numbered in the order of their first places, and how many there are."""
    n = len(values)
    numbers = np.full(n, n, np.uint32)
    out = np.empty(n, np.uint32)
    count = 0
    for v in range(n):
        if numbers[values[v]] == n:
            numbers[values[v]] = count
            count += 1
        out[v] = numbers[values[v]]
    return out, count


def _aggregate(  # noqa: PLR0917 (compiled)
    starts: np.ndarray, ends: np.ndarray, weights: np.ndarray, strength: np.ndarray, part: np.ndarray, n_parts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the network of the parts; edges inside of a part count in its strength alone."""
    n = len(strength)
    first = np.zeros(n_parts + 1, np.uint32)
    sums = np.zeros(n_parts)
    for v in range(n):
        first[part[v] + 1] += 1
        sums[part[v]] += strength[v]
    for p in range(n_parts):
        first[p + 1] += first[p]
    nodes = np.empty(n, np.uint32)  # part by part
    filled = first[:-1].copy()
    for v in range(n):
        nodes[filled[part[v]]] = v
        filled[part[v]] += 1
    link = np.zeros(n_parts)
    new_starts = np.zeros(n_parts + 1, np.uint32)
    new_ends = np.empty(len(ends), np.uint32)
    new_weights = np.empty(len(ends), np.float32)
    count = 0
    for p in range(n_parts):
        begin = count
        for i in range(first[p], first[p + 1]):
            v = nodes[i]
            for e in range(starts[v], starts[v + 1]):
                q = part[ends[e]]
                if q != p:
                    if link[q] == 0.0:
                        new_ends[count] = q
                        count += 1
                    link[q] += weights[e]
        for e in range(begin, count):
            new_weights[e] = link[new_ends[e]]
            link[new_ends[e]] = 0.0
        new_starts[p + 1] = count
    return new_starts, new_ends[:count].copy(), new_weights[:count].copy(), sums
