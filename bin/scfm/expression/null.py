"""What a comparison finds when the condition is permuted: it should be next to nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

from scfm.errors import NotApplicable
from scfm.expression.moderated import moderated_test
from scfm.text import plural

if TYPE_CHECKING:
    import numpy as np

    from scfm.expression.contrast import Contrast

#: so many assignments are listed; of more, distinct ones are drawn
_LISTED = 5_000
#: fewest permutations that a statement about the null may rest on
MIN_PERMUTATIONS = 3


@dataclass(frozen=True)
class Null:
    """Genes below the false discovery rate with the true condition, and with every permuted one, shape (n,)."""

    observed: int
    permuted: "np.ndarray"


def permutation_null(
    values: "np.ndarray", contrast: "Contrast", *, n: int, fdr: float, rng: "np.random.Generator"
) -> Null:
    """Repeat the moderated t-test with the condition permuted inside the blocks of the design.

    Parameters
    ----------
    values
        Log expression of the units of ``contrast``, shape (n_units, n_genes).
    contrast
        The comparison.
    n
        Permutations.
    fdr
        False discovery rate after Benjamini and Hochberg.
    rng
        Generator.

    Raises
    ------
    NotApplicable
        ``few_permutations``: fewer than three distinct ones exist.
    """
    import numpy as np

    def found(is_level: "np.ndarray") -> int:
        return int((moderated_test(values, contrast.with_condition(is_level)).q_values() < fdr).sum())

    assignments = permuted_conditions(contrast.is_level, contrast.blocks, n=n, rng=rng)
    if len(assignments) < MIN_PERMUTATIONS:
        raise NotApplicable(
            f"The replicates allow {plural(len(assignments), 'distinct permutation')} of the condition; a null needs"
            f" {MIN_PERMUTATIONS}.",
            "few_permutations",
        )
    return Null(found(contrast.is_level), np.array([found(a) for a in assignments]))


def permuted_conditions(
    is_level: "np.ndarray", blocks: "np.ndarray", *, n: int, rng: "np.random.Generator"
) -> "list[np.ndarray]":
    """Return up to ``n`` distinct assignments of the condition with as many units per block as the true one.

    The true assignment is left out, and of two assignments that are each other's mirror (the same test with the sign
    reversed) one is kept.

    Parameters
    ----------
    is_level, blocks
        Condition and block of every unit, shape (n_units,).
    """
    import numpy as np

    is_level = np.asarray(is_level, dtype=bool)
    members = [np.flatnonzero(blocks == b) for b in np.unique(blocks)]
    sizes = [int(is_level[m].sum()) for m in members]
    mirrored = all(2 * k == len(m) for k, m in zip(sizes, members, strict=True))

    def canonical(assignment: "np.ndarray") -> bytes:
        return (~assignment if mirrored and not assignment[0] else assignment).tobytes()

    true = canonical(is_level)
    total = math.prod(math.comb(len(m), k) for k, m in zip(sizes, members, strict=True))
    kept: dict[bytes, "np.ndarray"] = {}
    if total <= _LISTED:
        parts = [[m[list(c)] for c in combinations(range(len(m)), k)] for k, m in zip(sizes, members, strict=True)]
        for chosen in product(*parts):
            assignment = np.zeros(len(is_level), dtype=bool)
            assignment[np.concatenate(chosen)] = True
            kept.setdefault(canonical(assignment), assignment)
        kept.pop(true)
        order = rng.permutation(len(kept))[:n]
        return [list(kept.values())[i] for i in order]
    while len(kept) < n:  # of thousands of assignments a drawn one is hardly ever there already
        assignment = np.zeros(len(is_level), dtype=bool)
        for k, m in zip(sizes, members, strict=True):
            assignment[rng.choice(m, k, replace=False)] = True
        if canonical(assignment) != true:
            kept.setdefault(canonical(assignment), assignment)
    return list(kept.values())
