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
    import pandas as pd

N_NEIGHBORS = 15
MIN_CELLS = 10
COLUMNS = [CELL_ID, "embedding", "umap_1", "umap_2"]

_log = logging.getLogger(__name__)


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
    from threadpoolctl import threadpool_limits

    from scfm.neighbors.search import restrict_neighbors
    from scfm.neighbors.table import read_neighbors

    found = read_neighbors(knn)
    ids = found.cell_ids.astype(str)
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
        with threadpool_limits(limits=n_threads):
            found = restrict_neighbors(found, values, chosen, k=N_NEIGHBORS)
    found = found.first(N_NEIGHBORS)
    with np.errstate(all="ignore"):
        coordinates = layout(values, found.indices, found.distances, min_dist=min_dist, seed=seed)
    if not np.isfinite(coordinates).all():
        raise ScfmError(f"{name}: UMAP gave coordinates that are not finite.")
    return pd.DataFrame({CELL_ID: ids, "embedding": name, "umap_1": coordinates[:, 0], "umap_2": coordinates[:, 1]})


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

    Every embedding is a step of its own: if one fails, its status file says why and the others are drawn. The maps of
    centroids need no neighbours, so a UMAP that fails leaves them.
    Written: ``<group>.umap.parquet``, ``<id>.umap_{batch,label}.png`` and status of each,
    ``<dataset>.<group>.umap_gallery.png`` unless none could be drawn, and, where maps of centroids are asked for,
    ``<dataset>.<group>.centroid_maps.tsv``.
    """
    import pandas as pd

    from scfm.task.steps import step
    from scfm.umap.centroid_maps import centroid_maps, parse_maps
    from scfm.umap.plots import draw_gallery

    maps, places = parse_maps(params.get("centroid_maps", "none")), []
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
                if maps:
                    table, status["warnings"] = centroid_maps(tables_of[stem], fact, obs_path, maps=maps)
                    places.append(table)
    tables = [table[COLUMNS] for table in drawn.values()]
    empty = pd.DataFrame({CELL_ID: [], "embedding": [], "umap_1": [], "umap_2": []}).astype(
        {CELL_ID: str, "embedding": str, "umap_1": "float32", "umap_2": "float32"}
    )
    write_table(pd.concat(tables, ignore_index=True) if tables else empty, outdir / f"{group}.umap.parquet")
    if places:
        write_table(pd.concat(places, ignore_index=True), outdir / f"{datasets[0]}.{group}.centroid_maps.tsv")
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
