"""The study's published numbers, and the comparison of ours with them.

Two kinds of verdict. For the four classical methods the specification of this project states when a value counts as
reproduced: 0.03 for a metric, 0.02 for the total. For foundation models and for probing it states nothing; the same
width is used there and the verdict is called *informative*.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scfm.errors import ScfmError
from scfm.registries.reader import ASSETS
from scfm.registries.schemas import Schemas
from scfm.registries.typed import read_typed

if TYPE_CHECKING:
    import pandas as pd

BIO = ("leiden_nmi", "leiden_ari", "silhouette_label")
BATCH = ("bras", "graph_connectivity")
METRICS = (*BIO, *BATCH)
MEANS = ("bio", "batch", "total")
TABLES = ("scib", "probing", "scaling", "models")


@dataclass(frozen=True, slots=True)
class Published:
    """The tables of ``assets/published/``; their columns are described in ``assets/schema_published_<table>.json``."""

    scib: "pd.DataFrame"
    probing: "pd.DataFrame"
    scaling: "pd.DataFrame"
    models: "pd.DataFrame"

    def scenarios(self) -> list[str]:
        """Return the scenarios that have published scores."""
        return list(self.scib["scenario"].unique())


def load_published(folder: Path | str | None = None, schemas: Path | str | None = None) -> Published:
    """Read and check the published numbers.

    Parameters
    ----------
    folder
        Holds ``scib.tsv``, ``probing.tsv``, ``scaling.tsv`` and ``models.tsv``; ``assets/published`` of this checkout
        by default.
    schemas
        Folder with ``schema_published_<table>.json``; by default the one that holds ``folder``.

    Raises
    ------
    ScfmError
        A table is missing or does not fit its schema.
    """
    folder = Path(folder) if folder else ASSETS / "published"
    rules = Schemas(Path(schemas) if schemas else folder.parent)
    tables = {}
    for name in TABLES:
        path = folder / f"{name}.tsv"
        if not path.is_file():
            raise ScfmError(
                f"{path} does not exist; the study's published numbers belong to the assets of the pipeline."
            )
        tables[name] = read_typed(path, f"published_{name}", rules)
        rules.check(tables[name], f"published_{name}")
    probing = tables["probing"]
    ranges = probing["precision"] == "range"
    wrong = (
        (probing["value"].isna() != ranges)
        | (probing["low"].isna() == ranges)
        | (probing["high"].isna() == ranges)
        | (probing["low"] > probing["high"])
    )
    if wrong.any():
        first = probing[wrong].iloc[0]
        raise ScfmError(
            f"{folder / 'probing.tsv'}: {int(wrong.sum())} rows have neither a value alone nor a range alone from low"
            f" to high, first: {first['scenario']}, {first['method']}, {first['target']} {first['metric']}."
        )
    return Published(**tables)
