"""The one AnnData of a data set with every embedding and UMAP, for people who go on in scanpy."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.embeddings.sidecar import pair_files
from scfm.errors import ScfmError
from scfm.io.hdf5 import writing_hdf5
from scfm.io.space import SPACE_ADVICE, require_space
from scfm.io.tables import read_embedding, read_table

if TYPE_CHECKING:
    import h5py
    import numpy as np
    import scipy.sparse as sp

UNS_KEY = "scfmbench_embeddings"


def write_dataset_h5ad(
    prepared: Path, embeddings: Iterable[Path], sidecars: Iterable[Path], umaps: Iterable[Path], output: Path
) -> list[str]:
    """Copy the prepared file and add embeddings, UMAPs and sidecars.

    The file is copied as it is and the new arrays are appended one by one, so expression is never held in memory.

    Parameters
    ----------
    prepared
        ``<dataset>.prepared.h5ad``.
    embeddings, sidecars
        ``<id>.parquet`` (of a graph ``<id>.graph.npz``) and ``<id>.json`` that passed the validation gate, each
        embedding with its sidecar, in any order.
    umaps
        Tables ``cell_id, embedding, umap_1, umap_2``; embeddings that are not given are passed over.
    output
        File to write; an existing one is replaced once the new one is complete.

    Returns
    -------
    Keys added to obsm: ``X_<embedding>`` and ``X_umap_<embedding>``; cells without a row have NaN. A graph is added to
    obsp, as ``<embedding>_connectivities``; cells without a row have no edges.
    ``uns['scfmbench_embeddings']`` holds the sidecars by embedding name, as JSON text.
    """
    import numpy as np
    from anndata.io import read_elem, write_elem

    tables, described = _pair(embeddings, sidecars)
    require_space(output, prepared.stat().st_size + sum(path.stat().st_size for path in tables.values()), SPACE_ADVICE)
    with writing_hdf5(output, copy_of=prepared) as file:
        cell_ids = np.asarray(read_elem(file["obs"]).index, dtype=object)
        keys = []
        for name, path in sorted(tables.items()):
            if described[name]["output_type"] == "graph":
                keys.append(f"{name}_connectivities")
                _put(file, f"obsp/{name}_connectivities", place_edges(path, cell_ids))
                continue
            ids, values = read_embedding(path)
            keys.append(f"X_{name}")
            _put(file, f"obsm/X_{name}", place_rows(ids, values, cell_ids, path))
        for name, ids, values, path in _umaps(umaps, set(tables)):
            keys.append(f"X_umap_{name}")
            _put(file, f"obsm/X_umap_{name}", place_rows(ids, values, cell_ids, path))
        if f"uns/{UNS_KEY}" in file:
            del file[f"uns/{UNS_KEY}"]
        write_elem(file, f"uns/{UNS_KEY}", json.dumps(described, sort_keys=True))
    return keys


def place_rows(ids: "np.ndarray", values: "np.ndarray", cell_ids: "np.ndarray", source: Path) -> "np.ndarray":
    """Return the rows of an embedding at the places of their cells; the others are NaN.

    Parameters
    ----------
    ids, values
        Embedding, shapes (n_rows,), (n_rows, n_dims).
    cell_ids
        Cells of the object, shape (n_cells,).

    Returns
    -------
    Shape (n_cells, n_dims), float32.
    """
    import numpy as np

    from scfm.embeddings.cells import align

    placed = np.full((len(cell_ids), values.shape[1]), np.nan, dtype=np.float32)
    placed[align(cell_ids, ids, source)] = values
    return placed


def place_edges(path: Path, cell_ids: "np.ndarray") -> "sp.csr_matrix":
    """Return the weights of a graph at the places of its cells in the object, shape (n_cells, n_cells)."""
    import numpy as np
    import scipy.sparse as sp

    from scfm.embeddings.cells import align
    from scfm.embeddings.graph import read_graph

    graph = read_graph(path)
    rows = align(cell_ids, graph.cell_ids, path)
    edges = graph.weights.tocoo()
    shape = (len(cell_ids), len(cell_ids))
    return sp.csr_matrix((edges.data.astype(np.float32), (rows[edges.row], rows[edges.col])), shape=shape)


def _pair(embeddings: Iterable[Path], sidecars: Iterable[Path]) -> tuple[dict[str, Path], dict[str, dict]]:
    """Return tables and sidecars by embedding name."""
    pairs = pair_files(embeddings, sidecars)
    datasets = {sidecar["dataset"] for sidecar, _ in pairs}
    if len(datasets) > 1:
        raise ScfmError(f"Embeddings of several data sets were given: {sorted(datasets)}. One h5ad holds one data set.")
    return {s["embedding"]: path for s, path in pairs}, {s["embedding"]: s for s, _ in pairs}


def _umaps(paths: Iterable[Path], names: set[str]) -> "Iterable[tuple[str, np.ndarray, np.ndarray, Path]]":
    """Give name, cell ids and coordinates of every UMAP of a given embedding."""
    for path in sorted(paths):
        for name, part in read_table(path).groupby("embedding", sort=True):
            if name in names:
                ids = part["cell_id"].astype(str).to_numpy(dtype=object)
                yield str(name), ids, part[["umap_1", "umap_2"]].to_numpy(dtype="float32"), path


def _put(file: "h5py.File", key: str, values: "np.ndarray | sp.csr_matrix") -> None:
    """Write an array in AnnData's encoding, compressed, in place of one of that name."""
    from anndata.io import write_elem

    if key in file:
        del file[key]
    write_elem(file, key, values, dataset_kwargs={"compression": "gzip", "compression_opts": 4, "shuffle": True})
