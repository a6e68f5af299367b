"""UMAPs of embeddings from their precomputed neighbours: many embeddings in one process, as UMAP compiles for seconds.

A UMAP is for looking, not evidence: nothing is scored from it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import NotApplicable, ScfmError
from scfm.io.tables import CELL_ID, read_embedding, read_json, read_table, write_table
from scfm.umap.layout import layout

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

N_NEIGHBORS = 15
MIN_CELLS = 10
COLUMNS = [CELL_ID, "embedding", "umap_1", "umap_2"]

_log = logging.getLogger(__name__)


def load_neighbors(path: Path | str) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Read a neighbour file with its cells sorted by id, whatever their order in the file.

    Returns
    -------
    Cell ids, shape (n,); indices and distances of the nearest cells, shape (n, k), self first.

    Raises
    ------
    ScfmError
        If the file is not what ``find_neighbors.py`` writes.
    """
    import numpy as np

    from scfm.neighbors.search import read_neighbors

    found = read_neighbors(path)
    ids = found.cell_ids.astype(str)
    order = np.argsort(ids, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return ids[order], rank[found.indices[order]], found.distances[order].astype(np.float32)


def umap_table(
    embedding: Path, knn: Path, *, name: str, min_dist: float, max_cells: int, seed: int, n_threads: int = 1
) -> "pd.DataFrame":
    """Return the UMAP of one embedding.

    Above ``max_cells`` a seeded sample of the cells is drawn, the same for all embeddings with the same cells.

    Parameters
    ----------
    embedding, knn
        Embedding table and neighbour file; joined by cell id.
    name
        Embedding name.
    min_dist, max_cells, seed
        Settings, see :func:`layout`.
    n_threads
        Threads of a repeated neighbour search.

    Returns
    -------
    Table ``cell_id, embedding, umap_1, umap_2``, sorted by cell id.

    Raises
    ------
    NotApplicable
        ``too_few_cells``: fewer than 10 cells.
    ScfmError
        If the files do not fit together.
    """
    import numpy as np
    import pandas as pd

    ids, indices, distances = load_neighbors(knn)
    if len(ids) < MIN_CELLS:
        raise NotApplicable(
            f"A UMAP of {len(ids)} cells says nothing; at least {MIN_CELLS} are needed.", "too_few_cells"
        )
    rows, values = read_embedding(embedding)
    position = pd.Series(np.arange(len(rows)), index=rows.astype(str))
    absent = int((~pd.Index(ids).isin(position.index)).sum())
    if absent:
        raise ScfmError(
            f"{embedding}: {absent} of the {len(ids)} cells in {knn} have no row. Are the two of one embedding?"
        )
    values = values[position.loc[ids].to_numpy()]
    if len(ids) > max_cells:
        chosen = np.sort(np.random.default_rng(seed).choice(len(ids), max_cells, replace=False))
        ids, values = ids[chosen], values[chosen]
        indices, distances = restrict_neighbors(indices, distances, values, chosen, n_threads=n_threads)
    indices, distances = indices[:, :N_NEIGHBORS], distances[:, :N_NEIGHBORS]
    with np.errstate(all="ignore"):
        coordinates = layout(values, indices, distances, min_dist=min_dist, seed=seed)
    if not np.isfinite(coordinates).all():
        raise ScfmError(f"{name}: UMAP gave coordinates that are not finite.")
    return pd.DataFrame({CELL_ID: ids, "embedding": name, "umap_1": coordinates[:, 0], "umap_2": coordinates[:, 1]})


def restrict_neighbors(
    indices: "np.ndarray", distances: "np.ndarray", values: "np.ndarray", chosen: "np.ndarray", *, n_threads: int = 1
) -> "tuple[np.ndarray, np.ndarray]":
    """Return the exact 15 nearest cells among chosen cells, from the neighbours among all cells.

    A cell's neighbours that are chosen are its nearest chosen cells; only cells with fewer than 15 of them are
    searched again.

    Parameters
    ----------
    indices, distances
        Neighbours among all cells, self first, shape (n_cells, k).
    values
        Embedding of the chosen cells, shape (n_chosen, n_dims).
    chosen
        Cell numbers, ascending, shape (n_chosen,).
    n_threads
        Threads of the search.

    Returns
    -------
    Indices into the chosen cells and distances, shape (n_chosen, min(15, n_chosen)), self first.
    """
    import numpy as np
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    rank = np.full(len(indices), -1)
    rank[chosen] = np.arange(len(chosen))
    k, kept = min(N_NEIGHBORS, len(chosen)), rank[indices[chosen]]
    first = np.argsort(kept < 0, axis=1, kind="stable")[:, :k]
    near, far = np.take_along_axis(kept, first, axis=1), np.take_along_axis(distances[chosen], first, axis=1)
    short = np.flatnonzero((near < 0).any(axis=1) if near.shape[1] == k else np.ones(len(near), dtype=bool))
    if near.shape[1] < k:
        near, far = np.zeros((len(chosen), k), dtype=near.dtype), np.zeros((len(chosen), k), dtype=far.dtype)
    if len(short):
        with threadpool_limits(limits=n_threads):
            away, found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(values).kneighbors(values[short])
        away = np.where(found == short[:, None], -1.0, away)  # self first, also among identical cells
        missed = away.min(axis=1) >= 0
        found[missed, -1], away[missed, -1] = short[missed], -1.0
        order = np.argsort(away, axis=1, kind="stable")
        near[short], far[short] = (
            np.take_along_axis(found, order, axis=1),
            np.maximum(np.take_along_axis(away, order, axis=1), 0),
        )
    return near, far


def by_name(files: Sequence[Path], ending: str) -> dict[str, Path]:
    """Return files by embedding id, the name without its ending."""
    return {path.name.removesuffix(ending): path for path in files if path.name.endswith(ending)}


def draw_families(*, sidecars: Sequence[Path], **rest: Any) -> None:
    """Draw several embeddings of one data set, family by family; see :func:`draw_group`."""
    families: dict[str, list[Path]] = {}
    for path in sidecars:
        families.setdefault(read_json(path)["family"], []).append(path)
    for family in sorted(families):
        draw_group(family, sidecars=families[family], **rest)


def draw_group(
    group: str,
    *,
    sidecars: Sequence[Path],
    embeddings: Sequence[Path],
    knn: Sequence[Path],
    obs_path: Path,
    params: Mapping[str, Any],
    seed: int,
    n_threads: int,
    outdir: Path,
    on_error: str,
) -> None:
    """Compute and draw the UMAPs of a group of embeddings of one data set.

    Every embedding is a step of its own: if one fails, its status file says why and the others are drawn. The centroids
    need no neighbours, so a UMAP that fails leaves them, and centroids that fail make the step fail and leave the UMAP.
    Written: ``<group>.umap.parquet``, ``<id>.umap_{batch,label}.png`` and status of each,
    ``<dataset>.<group>.centroids.tsv``, ``<dataset>.<group>.umap_gallery.png`` unless none could be drawn.
    """
    import pandas as pd

    from scfm.task.steps import step
    from scfm.umap.centroids import COLUMNS as CENTROID_COLUMNS
    from scfm.umap.centroids import centroid_table, parse_maps
    from scfm.umap.plots import draw_gallery

    maps, centroids = parse_maps(params.get("centroid_maps", "none")), []
    facts = sorted((read_json(path) for path in sidecars), key=lambda f: (f["dataset"], f["embedding"]))
    datasets = sorted({fact["dataset"] for fact in facts})
    if len(datasets) != 1:
        raise ScfmError(f"Group {group} mixes the data sets {', '.join(datasets)}; draw each on its own.")
    obs = read_table(obs_path).astype({CELL_ID: str}).set_index(CELL_ID)[["batch", "label"]]
    tables_of, neighbors_of, drawn = by_name(embeddings, ".parquet"), by_name(knn, ".knn.npz"), {}
    for fact in facts:
        name, stem = fact["embedding"], f"{fact['dataset']}.{fact['embedding']}"
        with step("umap", dataset=fact["dataset"], embedding=name, outdir=outdir, on_error=on_error) as status:
            if stem not in tables_of:
                raise ScfmError(f"{stem}: no table among the files given; names must start with the id.")
            try:
                if stem not in neighbors_of:
                    raise ScfmError(f"{stem}: no neighbours among the files given; names must start with the id.")
                drawn[name] = _draw(
                    tables_of[stem],
                    neighbors_of[stem],
                    obs,
                    name=name,
                    stem=outdir / stem,
                    params=params,
                    seed=seed,
                    n_threads=n_threads,
                )
            finally:
                rows, notes = centroid_table(tables_of[stem], obs, identity=_identity(fact, group), maps=maps)
                centroids.append(rows)
                status["warnings"] = notes
    tables = [table[COLUMNS] for table in drawn.values()]
    empty = pd.DataFrame({CELL_ID: [], "embedding": [], "umap_1": [], "umap_2": []}).astype(
        {CELL_ID: str, "embedding": str, "umap_1": "float32", "umap_2": "float32"}
    )
    write_table(pd.concat(tables, ignore_index=True) if tables else empty, outdir / f"{group}.umap.parquet")
    rows = pd.concat(centroids, ignore_index=True) if centroids else pd.DataFrame(columns=CENTROID_COLUMNS)
    write_table(rows, outdir / f"{datasets[0]}.{group}.centroids.tsv")
    if drawn:
        draw_gallery(
            drawn, outdir / f"{datasets[0]}.{group}.umap_gallery.png", title=f"{datasets[0]}: {group}", seed=seed
        )
    _log.info("%d of %d embeddings drawn", len(drawn), len(facts))


def _draw(
    embedding: Path,
    knn: Path,
    obs: "pd.DataFrame",
    *,
    name: str,
    stem: Path,
    params: Mapping[str, Any],
    seed: int,
    n_threads: int,
) -> "pd.DataFrame":
    """Compute the UMAP of one embedding, draw it by batch and by label, and return it with both."""
    from scfm.umap.plots import draw_one

    table = umap_table(
        embedding,
        knn,
        name=name,
        min_dist=float(params.get("umap_min_dist", 0.5)),
        max_cells=int(params.get("umap_max_cells", 50000)),
        seed=seed,
        n_threads=n_threads,
    )
    joined = table.join(obs, on=CELL_ID)
    for key in ("batch", "label"):
        draw_one(joined, key, stem.parent / f"{stem.name}.umap_{key}.png", seed=seed)
    return joined


def _identity(fact: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Return what names an embedding in every table, from its sidecar; the name is ``<method>.<correction>.<seed>``."""
    method, correction, seed = fact["embedding"].rsplit(".", 2)
    return {
        "dataset": fact["dataset"],
        "embedding": fact["embedding"],
        "method": method,
        "family": fact.get("family", group),
        "correction": correction,
        "seed": int(seed),
    }
