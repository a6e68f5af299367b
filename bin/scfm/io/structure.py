"""The one check of the structure of matrices: kinds of values, lengths, pointers and positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.text import plural

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse

_KINDS = {"c": "complex numbers", "V": "records of several values", "O": "text or objects", "S": "text", "U": "text"}


def check_sparse(element: Any, storage: str, shape: Any, name: str) -> "tuple[tuple[int, int], np.ndarray]":
    """Check the parts of a sparse matrix against each other, without reading its values.

    Parameters
    ----------
    element
        Group or mapping of ``data``, ``indices`` and ``indptr``.
    storage
        ``csr`` or ``csc``.
    shape
        As the file gives it.
    name
        How messages call file and place.

    Returns
    -------
    Cells and genes; ``indptr`` as int64.

    Raises
    ------
    ScfmError
        A part is missing, of the wrong kind or length, or the pointers do not rise from 0 to the number of values.
    """
    import numpy as np

    try:
        n_cells, n_genes = (int(n) for n in shape)
    except (TypeError, ValueError):
        raise damaged(name, storage, f"its shape is given as {shape!r}, expected two numbers") from None
    if min(n_cells, n_genes) < 0:
        raise damaged(name, storage, f"its shape is {n_cells} x {n_genes}")
    for part in ("data", "indices", "indptr"):
        if part not in element or len(getattr(element[part], "shape", ())) != 1:
            raise damaged(name, storage, f"it has no list of values '{part}'")
        if part == "data":
            check_kind(element[part].dtype, name)
        elif element[part].dtype.kind not in "iu":
            raise damaged(name, storage, f"'{part}' holds {element[part].dtype} values, expected whole numbers")
    indptr = np.asarray(element["indptr"][:]).astype(np.int64)
    sizes = {"data": int(element["data"].shape[0]), "indices": int(element["indices"].shape[0])}
    error = _pointer_error(indptr, sizes, n_cells if storage == "csr" else n_genes, storage)
    if error:
        raise damaged(name, storage, error)
    return (n_cells, n_genes), indptr


def _pointer_error(indptr: "np.ndarray", sizes: Mapping[str, int], n_major: int, storage: str) -> str:
    """Return what is wrong with the pointers of a sparse matrix; empty if nothing is."""
    import numpy as np

    what = "rows" if storage == "csr" else "columns"
    if sizes["data"] != sizes["indices"]:
        return f"'data' has {sizes['data']:,} values and 'indices' {sizes['indices']:,}; they must be as many"
    if len(indptr) != n_major + 1:
        return f"'indptr' has {len(indptr):,} values for {n_major:,} {what}, expected {n_major + 1:,}"
    if indptr[0] != 0:
        return f"'indptr' begins with {indptr[0]:,}, expected 0"
    falling = int((np.diff(indptr) < 0).sum())
    if falling:
        return f"'indptr' falls at {plural(falling, 'place')}; it must not"
    if indptr[-1] != sizes["data"]:
        return f"'indptr' ends with {indptr[-1]:,}, and there are {sizes['data']:,} values"
    return ""


def check_kind(dtype: "np.dtype", name: str) -> None:
    """Refuse kinds of values that can't be counts."""
    if dtype.kind not in "buif":
        raise ScfmError(
            f"{name} holds {_KINDS.get(dtype.kind, 'values')} ({dtype}); counts must be stored as whole or"
            f" floating-point"
            " numbers. Point the samplesheet's counts_layer at raw counts, or write the matrix as integers."
        )
    if dtype.kind == "f" and dtype.itemsize < 4:
        raise ScfmError(
            f"{name} is stored as {dtype}, which holds whole numbers exactly up to 2,048 only; larger counts were"
            f" rounded"
            " when it was written. Write the counts again from their source, as integers or float32."
        )


def check_positions(where: "np.ndarray", limit: int, name: str, storage: str) -> "np.ndarray":
    """Return stored positions (columns of CSR, rows of CSC) unless one lies outside 0 to ``limit`` - 1."""
    if where.size and (int(where.min()) < 0 or int(where.max()) >= limit):
        what, odd = "column" if storage == "csr" else "row", int(((where < 0) | (where >= limit)).sum())
        raise damaged(
            name,
            storage,
            f"{plural(odd, 'value')} of {where.size:,} read at once are in {what}s outside 0 to {limit - 1:,} "
            f"(from {int(where.min()):,} to {int(where.max()):,})",
        )
    return where


def damaged(name: str, storage: str, what: str) -> ScfmError:
    """Return the error about a matrix whose parts do not fit together."""
    return ScfmError(
        f"{name} is a damaged {storage.upper()} matrix: {what}. Its counts can't be assigned to cells and genes; write "
        "the file again from its source."
    )


def summed(matrix: "sparse.csr_matrix") -> "sparse.csr_matrix":
    """Return a matrix in which a gene has one entry per cell: several count with their sum, as in a dense matrix.

    The given one is not changed: its arrays may be those of an AnnData in memory.
    """
    if matrix.has_canonical_format:
        return matrix
    matrix = matrix.copy()
    matrix.sum_duplicates()
    return matrix
