"""UMAPs of embeddings from their precomputed neighbours.

A UMAP is for looking, not evidence: nothing is scored from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.errors import NotApplicable, ScfmError
from scfm.inputs.batch_role import same_split
from scfm.io.tables import CELL_ID, read_embedding, read_table, write_table
from scfm.metrics.evaluated import Sample
from scfm.umap.layout import layout
from scfm.umap.plots import draw_gallery, draw_one, draw_panels

if TYPE_CHECKING:
    import pandas as pd

N_NEIGHBORS = 15
MIN_CELLS = 10
COLUMNS = [CELL_ID, "embedding", "umap_1", "umap_2"]
#: optional keys that have pictures of their own, where they are declared
MORE_KEYS = ("condition", "tissue", "donor")


def umap_table(
    embedding: Path,
    knn: Path,
    *,
    name: str,
    min_dist: float,
    max_cells: int,
    seed: int,
    n_epochs: int | None = None,
    n_threads: int = 1,
    labels: "pd.Series | None" = None,
) -> "pd.DataFrame":
    """Return the UMAP of one embedding.

    Above ``max_cells`` a seeded sample of the cells is drawn, in proportion to the labels, at least one cell of each;
    it is the same for all embeddings with the same cells.

    Parameters
    ----------
    embedding, knn
        Embedding table and neighbour file; joined by cell id.
    name
        Embedding name.
    min_dist, max_cells, seed, n_epochs
        Settings, see :func:`layout`.
    n_threads
        Threads of a repeated neighbour search.
    labels
        Label by cell id; without it the sample does not regard labels.

    Returns
    -------
    Table ``cell_id, embedding, umap_1, umap_2``, sorted by cell id; ``attrs["n_cells"]`` is the number of cells that it
    is drawn from.

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
    n_cells = len(ids)
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
        names = np.zeros(len(ids), dtype=int) if labels is None else labels.reindex(ids).fillna("").to_numpy()
        codes = np.unique(names, return_inverse=True)[1]
        n = max(1, max_cells - int(codes.max()) - 1)  # rounding adds up to a cell per label
        chosen = Sample.draw(ids, codes, n=n, per_label=1, seed=seed).rows
        ids, values = ids[chosen], values[chosen]
        with threadpool_limits(limits=n_threads):
            found = restrict_neighbors(found, values, chosen, k=N_NEIGHBORS)
    found = found.first(N_NEIGHBORS)
    with np.errstate(all="ignore"):
        coordinates = layout(values, found.indices, found.distances, min_dist=min_dist, seed=seed, n_epochs=n_epochs)
    if not np.isfinite(coordinates).all():
        raise ScfmError(f"{name}: UMAP gave coordinates that are not finite.")
    table = pd.DataFrame({CELL_ID: ids, "embedding": name, "umap_1": coordinates[:, 0], "umap_2": coordinates[:, 1]})
    table.attrs["n_cells"] = n_cells
    return table


def draw_embedding(
    embedding: Path,
    sidecar: dict[str, Any],
    knn: Path | None,
    obs_path: Path,
    *,
    params: Mapping[str, Any],
    seed: int,
    n_threads: int,
    outdir: Path,
) -> None:
    """Compute and draw the UMAP of one embedding: ``<id>.umap.parquet`` and ``<id>.umap_{batch,label}.png``.

    With a condition, a tissue or donors also ``<id>.umap_<key>.png``, unless the batch splits the cells in the same
    way, and ``<id>.umap_by_condition.png`` with one panel per condition.

    Raises
    ------
    ScfmError
        There are no neighbours, or the files do not fit together.
    """
    stem = outdir / f"{sidecar['dataset']}.{sidecar['embedding']}"
    if knn is None:
        raise ScfmError(f"{stem.name}: no neighbours among the files given; their name must start with the id.")
    groups = _groups(obs_path)
    table = umap_table(
        embedding,
        knn,
        name=sidecar["embedding"],
        min_dist=float(params.get("umap_min_dist", 0.5)),
        max_cells=int(params.get("umap_max_cells", 50000)),
        seed=seed,
        n_epochs=params.get("umap_epochs"),
        n_threads=n_threads,
        labels=groups["label"],
    )
    n_cells = table.attrs.pop("n_cells")
    joined = table.join(groups, on=CELL_ID)
    for key in ("batch", "label", *drawn_keys(joined)):
        draw_one(joined, key, stem.with_name(f"{stem.name}.umap_{key}.png"), seed=seed, n_cells=n_cells)
    if has_levels(joined["condition"]):
        draw_panels(joined, "condition", stem.with_name(f"{stem.name}.umap_by_condition.png"), seed=seed)
    write_table(table, stem.with_name(f"{stem.name}.umap.parquet"))


def has_levels(values: "pd.Series") -> bool:
    """Return whether a key has two levels or more."""
    return len(values.dropna().unique()) > 1


def drawn_keys(cells: "pd.DataFrame") -> list[str]:
    """Return the optional keys with several levels that split the cells in another way than the batch."""
    keys = [key for key in MORE_KEYS if has_levels(cells[key])]
    return [key for key in keys if cells[key].isna().any() or not same_split(cells["batch"], cells[key])]


def draw_maps(
    embedding: Path, sidecar: dict[str, Any], obs_path: Path, *, maps: Sequence[str], outdir: Path
) -> list[dict]:
    """Write the maps of centroids asked for, ``<id>.centroid_maps.tsv``; they need no neighbours.

    Parameters
    ----------
    embedding, sidecar, obs_path
        As for :func:`scfm.umap.centroid_maps.centroid_maps`.
    maps
        Kinds of maps; none makes no file.
    outdir
        Folder to write to.

    Returns
    -------
    Warnings about maps that could not be made.
    """
    from scfm.umap.centroid_maps import centroid_maps

    if not maps:
        return []
    places, notes = centroid_maps(embedding, sidecar, obs_path, maps=maps)
    write_table(places, outdir / f"{sidecar['dataset']}.{sidecar['embedding']}.centroid_maps.tsv")
    return notes


def draw_galleries(sidecars: Sequence[Mapping[str, Any]], obs_path: Path, *, seed: int, outdir: Path) -> None:
    """Draw the embeddings of a method side by side, if they are several: ``<dataset>.<method>.umap_gallery.png``."""
    drawn: dict[str, dict[str, "pd.DataFrame"]] = {}
    for sidecar in sidecars:
        path = outdir / f"{sidecar['dataset']}.{sidecar['embedding']}.umap.parquet"
        if path.exists() and path.stat().st_size:
            table = read_table(path).join(_groups(obs_path), on=CELL_ID)
            drawn.setdefault(f"{sidecar['dataset']}.{sidecar['method']}", {})[sidecar["embedding"]] = table
    for name, tables in drawn.items():
        if len(tables) > 1:
            title = name.replace(".", ": ", 1)
            draw_gallery(tables, outdir / f"{name}.umap_gallery.png", title=title, seed=seed)


def _groups(obs_path: Path) -> "pd.DataFrame":
    """Return batch, label and the optional keys by cell id."""
    cells = read_table(obs_path).astype({CELL_ID: str}).set_index(CELL_ID)
    return cells.reindex(columns=["batch", "label", *MORE_KEYS])
