"""The places of centroids in maps, joined to their table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.io.tables import read_texts
from scfm.metrics.centroids import PLACES
from scfm.registries.schemas import Schemas
from scfm.registries.typed import as_type

if TYPE_CHECKING:
    import pandas as pd


def read_places(path: Path, schemas: Schemas) -> "pd.DataFrame":
    """Read ``<dataset>.<family>.centroid_maps.tsv`` of DRAW_UMAPS in the types of the table of centroids."""
    rules, wanted = schemas.rules("centroids"), [*schemas.key("centroids"), *PLACES]
    frame = read_texts(path)
    missing = [c for c in wanted if c not in frame.columns]
    if missing:
        raise ScfmError(f"{path}: columns missing: {', '.join(missing)}. Expected a table written by draw_umaps.py.")
    return frame[wanted].apply(lambda c: as_type(c, rules[c.name]["type"], f"{path}, column '{c.name}'"))


def with_places(centroids: "pd.DataFrame", places: "list[pd.DataFrame]", schemas: Schemas) -> "pd.DataFrame":
    """Return the centroids with their places in maps, NA where there are none.

    Parameters
    ----------
    centroids
        Table ``centroids``, as SCORE_EMBEDDING writes it.
    places
        Tables of :func:`read_places`; the same one given twice counts once.

    Raises
    ------
    ScfmError
        A centroid has two places in one map.
    """
    import pandas as pd

    if not places:
        return centroids
    key = schemas.key("centroids")
    joined = pd.concat(places, ignore_index=True).drop_duplicates()
    again = int(joined.duplicated(key).sum())
    if again:
        first = ", ".join(joined.loc[joined.duplicated(key), key].iloc[0])
        raise ScfmError(
            f"{again} centroids have two places in the maps of the results, first: {first}. Expected one row per"
            " embedding, batch and label; are the results of two runs mixed?"
        )
    merged = centroids.drop(columns=list(PLACES)).merge(joined, on=key, how="left", validate="one_to_one")
    return merged[schemas.columns("centroids")]
