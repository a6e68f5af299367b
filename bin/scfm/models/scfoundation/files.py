"""Files of scFoundation: the list of genes and the configuration inside the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scfm.errors import ScfmError
from scfm.models.core.pickles import require_file


def find(top: Path, name: str, folders: tuple[str, ...]) -> Path:
    """Return a file in the first of some folders below ``top`` that has it, else where it should be (a flat folder, or
    the official clone).
    """
    return next((path for folder in folders if (path := top / folder / name).is_file()), top / name)


def read_gene_list(path: Path) -> dict[str, int]:
    """Read the gene list: symbol -> place in the sequence; columns ``gene_name`` and ``index``, the latter 0, 1, 2 ...
    in order.
    """
    import pandas as pd

    try:
        table = pd.read_csv(require_file(path), sep="\t", dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise ScfmError(f"{path}: not readable as a table with tabs ({str(error).splitlines()[0][:120]}).") from error
    if not {"gene_name", "index"} <= set(table.columns):
        raise ScfmError(
            f"{path}: expected the columns gene_name and index, found {', '.join(map(str, table.columns))}."
        )
    if (
        list(table["index"]) != [str(i) for i in range(len(table))]
        or table["gene_name"].duplicated().any()
        or not len(table)
    ):
        raise ScfmError(
            f"{path}: expected every symbol once, and index 0 to {max(0, len(table) - 1)} in order. The file is damaged"
            " or was edited."
        )
    return dict(zip(table["gene_name"], range(len(table)), strict=True))


def flat_config(config: Any, where: str) -> dict[str, Any]:
    """Return the part of an entry's configuration that counts: that of its model, with that of the data set on top."""
    try:
        name = config["model"]
        flat = {**config["model_config"][name], **config["dataset_config"]["rnaseq"]}
    except (KeyError, TypeError, IndexError) as error:
        raise ScfmError(
            f"{where}: the configuration lacks {error}; expected model, model_config and dataset_config.rnaseq."
        ) from error
    if name != "mae_autobin":
        raise ScfmError(
            f"{where}: the model is '{name}'; only mae_autobin can be computed here, which the released models are."
        )
    return flat
