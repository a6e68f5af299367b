"""fastMNN (Haghverdi et al. 2018, doi 10.1038/nbt.4091): batches merged one by one through mutual nearest neighbours.

A port of our own after the paper and the documentation of the Bioconductor package batchelor, which needs R.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.integration.base import MethodInputs, MethodOutput
from scfm.registries.messages import message
from scfm.text import listing

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse

    from scfm.neighbors.exact import TieRule

#: ``merge_order``: ``size`` (largest batch first), ``auto`` (the pair with most mutual neighbours first), or a comma
#: list of all batches.
DEFAULTS: dict = {"n_pcs": 50, "k": 20, "ndist": 3.0, "merge_order": "size"}
#: share of a batch's variance lost in one merge above which batch and biology are probably not orthogonal
MAX_LOST_VARIANCE = 0.1


def integrate(inputs: MethodInputs, settings: dict, seed: int) -> MethodOutput:
    """Merge the batches in the space of a PCA in which every batch has the same weight.

    Parameters
    ----------
    inputs
        Log-normalised expression of the highly variable genes and batches are read.
    settings
        ``n_pcs`` components, ``k`` neighbours for mutual pairs and for smoothing, ``ndist`` bandwidth of the smoothing
        in median distances, ``merge_order``.
    seed
        Not used: the method is deterministic.
    """
    import numpy as np

    from scfm.neighbors.exact import by_hash

    inputs.require_batches("fastMNN")
    matrix, _ = inputs.expression("X")
    levels, codes = np.unique(inputs.batches.astype(str), return_inverse=True)
    names = [str(level) for level in levels]
    wanted = _given_order(settings["merge_order"], names, inputs.dataset)
    coordinates = multi_batch_components(unit_cells(matrix), codes, settings["n_pcs"])
    ties = by_hash(inputs.cell_ids)
    cells = {name: np.flatnonzero(codes == i) for i, name in enumerate(names)}
    coordinates, merges = merge_batches(
        coordinates, cells, k=settings["k"], width=settings["ndist"], order=wanted, ties=ties
    )
    return MethodOutput(coordinates, warnings=_messages(merges, inputs.dataset), details={"merges": merges})


def unit_cells(matrix: "sparse.csr_matrix") -> "sparse.csr_matrix":
    """Scale every cell to length 1 (cosine normalisation); a cell of zeros stays as it is."""
    import numpy as np
    from scipy import sparse

    matrix = matrix.astype(np.float64)
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sparse.diags(1 / np.where(lengths > 0, lengths, 1.0)) @ matrix


def multi_batch_components(matrix: "sparse.csr_matrix", codes: "np.ndarray", n_pcs: int) -> "np.ndarray":
    """Project cells on the principal components of data in which every batch has the same weight.

    The centre is the mean of the batches' means and a cell of a batch of n cells counts 1/n, so that a large batch does
    not decide alone which directions are kept.

    Parameters
    ----------
    matrix
        Shape (n_cells, n_genes), CSR, float64.
    codes
        Number of each cell's batch, 0 .. B-1.
    n_pcs
        Components wanted; fewer where there are fewer genes or cells.

    Returns
    -------
    Shape (n_cells, n_pcs), float64; the sign of a component makes its strongest loading positive.
    """
    import numpy as np

    from scfm.preparation.eigen import leading_eigenvectors

    sizes = np.bincount(codes)
    weights = 1 / (sizes[codes] * len(sizes))
    centre = matrix.T @ weights

    def covariance(vector: "np.ndarray") -> "np.ndarray":
        weighted = weights * (matrix @ vector - centre @ vector)
        return matrix.T @ weighted - centre * weighted.sum()

    _, vectors = leading_eigenvectors(covariance, matrix.shape[1], max(1, min(n_pcs, min(matrix.shape) - 1)))
    return matrix @ vectors - centre @ vectors


def merge_batches(
    values: "np.ndarray",
    cells: dict[str, "np.ndarray"],
    *,
    k: int,
    width: float,
    order: list[str] | str,
    ties: "TieRule",
) -> tuple["np.ndarray", list[dict]]:
    """Merge batches one after the other into a growing reference.

    In each step the mean vector between the mutual pairs is the batch vector; variation along it is removed from both
    sides, and what earlier steps removed from the reference is removed from the batch that joins. Then each cell of
    that batch moves by the smoothed vectors of its nearest paired cells.

    Parameters
    ----------
    values
        Coordinates, shape (n_cells, n_dims).
    cells
        Positions of the cells of each batch.
    k, width
        As in :func:`scfm.integration.mnn.mutual_pairs` and :func:`scfm.integration.mnn.smoothed_vectors`.
    order
        ``size``, ``auto``, or the names of all batches in the order in which they are merged.
    ties
        Order of cells at the same distance.

    Returns
    -------
    Corrected coordinates, shape (n_cells, n_dims); one record per merge: ``batch``, ``pairs``, ``batch_effect`` (length
    of the mean vector), ``lost_variance`` (by batch, share of its variance before this merge, 0 to 1).
    """
    import numpy as np

    from scfm.integration.mnn import average_vectors, flatten_along, mutual_pairs, smoothed_vectors, variance

    values = np.array(values, dtype=np.float64)
    queue = _first_order(values, cells, order, k, ties)
    merged, waiting = [queue[0]], queue[1:]
    removed: list[np.ndarray] = []
    records = []
    while waiting:
        reference = np.sort(np.concatenate([cells[name] for name in merged]))
        name = waiting[0]
        if order == "auto":
            name = _most_pairs(values, reference, {batch: cells[batch] for batch in waiting}, k, ties)
        waiting.remove(name)
        target = cells[name]
        before = {batch: variance(values[cells[batch]]) for batch in [*merged, name]}
        for vector in removed:
            values[target] = flatten_along(values[target], vector)
        first, second = mutual_pairs(values, reference, target, k, ties=ties)
        _, vectors = average_vectors(values, first, second)
        batch_vector = vectors.mean(axis=0)
        values[reference] = flatten_along(values[reference], batch_vector)
        values[target] = flatten_along(values[target], batch_vector)
        after = {batch: variance(values[cells[batch]]) for batch in before}
        paired, vectors = average_vectors(values, first, second)
        values[target] += smoothed_vectors(values, target, paired, vectors, k=k, width=width, ties=ties)
        removed.append(batch_vector)
        merged.append(name)
        lost = {batch: 1 - after[batch] / before[batch] if before[batch] > 0 else 0.0 for batch in before}
        records.append(
            {
                "batch": name,
                "pairs": len(first),
                "batch_effect": float(np.linalg.norm(batch_vector)),
                "lost_variance": {batch: max(0.0, share) for batch, share in lost.items()},
            }
        )
    return values, records


def _first_order(
    values: "np.ndarray", cells: dict[str, "np.ndarray"], order: list[str] | str, k: int, ties: "TieRule"
) -> list[str]:
    """Return all batches with the first of the merge in front."""
    from scfm.integration.mnn import mutual_pairs

    if isinstance(order, list):
        return order
    by_size = sorted(cells, key=lambda name: (-len(cells[name]), name))
    if order == "size":
        return by_size
    counts = {
        (a, b): len(mutual_pairs(values, cells[a], cells[b], k, ties=ties)[0])
        for i, a in enumerate(by_size)
        for b in by_size[i + 1 :]
    }
    best = max(counts, key=lambda pair: counts[pair])  # the first of the largest: `by_size` settles draws
    return [best[0], *(name for name in by_size if name != best[0])]


def _most_pairs(
    values: "np.ndarray", reference: "np.ndarray", waiting: dict[str, "np.ndarray"], k: int, ties: "TieRule"
) -> str:
    """Return the batch with the most mutual pairs with the reference; the first of several."""
    from scfm.integration.mnn import mutual_pairs

    counts = {name: len(mutual_pairs(values, reference, rows, k, ties=ties)[0]) for name, rows in waiting.items()}
    return max(counts, key=lambda name: counts[name])


def _given_order(text: str, names: list[str], dataset: str) -> list[str] | str:
    """Return the merge order of the setting: ``size``, ``auto``, or a list with each batch once."""
    if text in ("size", "auto"):
        return text
    given = [name.strip() for name in str(text).split(",")]
    if sorted(given) != names:
        absent = [name for name in names if name not in given]
        foreign = [name for name in given if name not in names]
        repeated = sorted({name for name in given if given.count(name) > 1})
        problems = [
            f"{what}: {listing(some)}"
            for what, some in (("missing", absent), ("no batch of the data", foreign), ("duplicate", repeated))
            if some
        ]
        raise ScfmError(
            f"{dataset}: fastmnn_merge_order '{text}' does not name each batch once ({'; '.join(problems)}). "
            "Give 'size', 'auto', or all batches separated by commas."
        )
    return given


def _messages(merges: list[dict], dataset: str) -> list[dict]:
    """Return W-MNN-01 for each merge that cost a batch more variance than the limit."""
    found = []
    for merge in merges:
        worst, share = max(merge["lost_variance"].items(), key=lambda item: item[1])
        if share > MAX_LOST_VARIANCE:
            found.append(
                message(
                    "W-MNN-01",
                    dataset=dataset,
                    method="fastmnn",
                    values={"lost_variance": share, "batch": worst},
                    threshold=MAX_LOST_VARIANCE,
                    joined=merge["batch"],
                    batch=worst,
                    share=f"{share:.0%}",
                )
            )
    return found
