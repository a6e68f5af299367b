"""Files that Python and R hand over: plain arrays and tables, cells named by their ids in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import ScfmError
from scfm.text import listing, plural

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from scipy import sparse

#: positions and pointers are integers of R, which have 32 bits
MAX_VALUES = 2**31 - 1


def write_input(
    folder: Path,
    matrix: "sparse.csr_matrix",
    cell_ids: "np.ndarray",
    batches: "np.ndarray",
    settings: Mapping[str, Any],
) -> None:
    """Write what ``integrate.R`` reads; its head lists the files.

    Parameters
    ----------
    folder
        Folder to make.
    matrix
        Log-normalised expression, shape (n_cells, n_genes), CSR with sorted indices.
    cell_ids
        Shape (n_cells,), each once.
    batches
        Number of each cell's batch, shape (n_cells,), from 0.
    settings
        Names and values without tabs.

    Raises
    ------
    ScfmError
        A cell id has a line break, or there are more values than R can number.
    """
    broken = [cell for cell in cell_ids if len(str(cell).splitlines()) != 1]
    if broken:
        raise ScfmError(
            f"{plural(len(broken), 'cell id')} with a line break or without a character: {listing(map(repr, broken))}."
            " Cell ids are handed to R one per line: rename these cells."
        )
    if matrix.nnz > MAX_VALUES:
        raise ScfmError(
            f"The variable genes have {matrix.nnz:,} values above 0 and R can number {MAX_VALUES:,} of them. Lower"
            " --n_hvg, or integrate fewer cells with this method."
        )
    folder.mkdir(parents=True)
    (folder / "cells.txt").write_text("".join(f"{cell}\n" for cell in cell_ids), encoding="utf-8")
    matrix.data.astype("<f8").tofile(folder / "data.f64")
    matrix.indices.astype("<i4").tofile(folder / "indices.i32")
    matrix.indptr.astype("<i4").tofile(folder / "indptr.i32")
    (batches + 1).astype("<i4").tofile(folder / "batches.i32")
    rows = {**settings, "n_genes": matrix.shape[1]}
    (folder / "settings.tsv").write_text("name\tvalue\n" + "".join(f"{k}\t{v}\n" for k, v in rows.items()))


def read_coordinates(folder: Path, cell_ids: "np.ndarray") -> "np.ndarray":
    """Read the coordinates that R has written, and put each row at its cell.

    Parameters
    ----------
    folder
        With ``cells.txt`` and ``values.f64``.
    cell_ids
        Cells that were handed over, shape (n_cells,).

    Returns
    -------
    Shape (n_cells, n_dims), float64, rows in the order of ``cell_ids``.

    Raises
    ------
    ScfmError
        A cell is missing, comes back twice or was not handed over, or the number of values does not fit.
    """
    import numpy as np
    import pandas as pd

    found = pd.Index((folder / "cells.txt").read_text(encoding="utf-8").split("\n")[:-1])
    values = np.fromfile(folder / "values.f64", dtype="<f8")
    wanted = pd.Index(cell_ids)
    problems = {
        "more than once": found[found.duplicated()].unique(),
        "not at all": wanted.difference(found),
        "though it was not handed over": found.difference(wanted),
    }
    said = [f"{plural(len(ids), 'cell')} {how} ({listing(ids)})" for how, ids in problems.items() if len(ids)]
    if said:
        raise ScfmError(
            f"Cell ids changed on their way through R. Of {len(wanted):,} cells handed over came back"
            f" {'; '.join(said)}. Please report this with the version of Seurat."
        )
    if not len(values) or len(values) % len(found):
        raise ScfmError(f"R returned {len(values):,} coordinates for {len(found):,} cells, which is no table.")
    return values.reshape(len(found), -1)[found.get_indexer(wanted)]


def read_pairs(folder: Path, names: list[str]) -> list[dict[str, Any]]:
    """Return the anchors of each pair of batches.

    Parameters
    ----------
    folder
        With ``anchors.tsv``.
    names
        Names of the batches in the order of their numbers.

    Returns
    -------
    ``batches`` (two names), ``anchors``, ``score`` (mean of the anchors' scores, 0 to 1, higher is better; None without
    anchors) and ``cells`` with an anchor, by batch.
    """
    return [
        {
            "batches": [names[row["first"] - 1], names[row["second"] - 1]],
            "anchors": int(row["anchors"]),
            "score": None if row["score"] != row["score"] else float(row["score"]),
            "cells": {
                names[row["first"] - 1]: int(row["cells_first"]),
                names[row["second"] - 1]: int(row["cells_second"]),
            },
        }
        for row in _read_table(folder / "anchors.tsv").to_dict("records")
    ]


def read_merges(folder: Path, names: list[str]) -> list[dict[str, Any]]:
    """Return the merges in their order: ``reference`` and ``joined`` (names of batches), ``anchors`` and
    ``anchor_cells`` (cells of the joining side with an anchor); arguments as of :func:`read_pairs`.
    """
    return [
        {
            "reference": [names[int(i) - 1] for i in str(row["reference"]).split(",")],
            "joined": [names[int(i) - 1] for i in str(row["joined"]).split(",")],
            "anchors": int(row["anchors"]),
            "anchor_cells": int(row["anchor_cells"]),
        }
        for row in _read_table(folder / "merges.tsv").to_dict("records")
    ]


def read_versions(folder: Path) -> dict[str, str]:
    """Return the versions of R and its packages."""
    table = _read_table(folder / "versions.tsv", dtype=str)
    return dict(zip(table["software"], table["version"], strict=True))


def _read_table(path: Path, dtype: type | None = None) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_csv(path, sep="\t", dtype=dtype or {"reference": str, "joined": str})
