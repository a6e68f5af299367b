"""Which preparation of a data set a file belongs to: a SHA-256 that its files carry and that sidecars name.

``<dataset>.obs.parquet`` and ``<dataset>.pca.parquet`` have it as a note beside their columns, the prepared h5ad among
its facts (``uns['scfmbench']``). Every embedding records that of the files that it was made from, so that methods which
were given different preparations are found (:func:`scfm.report.tables.preparations.other_preparations`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.io.hdf5 import reading_hdf5
from scfm.io.parquet import read_note

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: name of the digest in notes, facts and sidecars
PREPARATION = "preparation_sha256"


def preparation_digest(cells: "pd.DataFrame", genes: "pd.DataFrame", scores: "np.ndarray") -> str:
    """Return the SHA-256 of a preparation.

    Parameters
    ----------
    cells, genes
        Tables of the cells and of the genes, with their keys, totals of counts and variable genes; the totals by cell
        and by gene stand for the counts. Names of columns, index and values all count, and so does their order.
    scores
        Scores of the principal components, shape (n_cells, n_pcs).

    Returns
    -------
    64 hexadecimal digits.
    """
    import numpy as np
    from pandas.util import hash_pandas_object

    found = hashlib.sha256()
    for table in (cells, genes):
        found.update(json.dumps([str(c) for c in table.columns]).encode())
        found.update(hash_pandas_object(table, index=True).to_numpy(dtype="<u8").tobytes())
    found.update(np.ascontiguousarray(scores, dtype="<f4").tobytes())
    return found.hexdigest()


def preparation_of(path: Path) -> str | None:
    """Return the preparation that a file of a data set belongs to; None where it does not say.

    Parameters
    ----------
    path
        A parquet file or an h5ad of PREPARE_DATASET.
    """
    if path.suffix == ".parquet":
        return read_note(path, PREPARATION)
    if path.is_dir():  # a zarr folder of a user, which models read too
        return None
    from anndata.io import read_elem

    with reading_hdf5(path) as file:
        facts = json.loads(read_elem(file["uns/scfmbench"])) if "uns/scfmbench" in file else {}
    return facts.get(PREPARATION)


def one_preparation(paths: Iterable[Path | None]) -> str | None:
    """Return the preparation that all files of a data set belong to; None where no file says.

    Raises
    ------
    ScfmError
        The files belong to different preparations.
    """
    found = {str(path): digest for path in paths if path is not None and (digest := preparation_of(path))}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{path} ({digest[:12]})" for path, digest in sorted(found.items()))
        raise ScfmError(
            f"The files of a data set must come from one preparation; these come from {len(set(found.values()))}:"
            f" {listed}. Prepare the data set again and use its files together."
        )
    return next(iter(found.values()), None)
