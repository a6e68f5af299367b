"""The JSON beside every embedding: who made it, from what, how, and at what cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfm.embeddings.sidecar_fields import absent_fields, field_errors
from scfm.errors import NotApplicable, ScfmError
from scfm.io.tables import read_json, write_embedding, write_json
from scfm.task.resources import peak_gpu_mb, peak_rss_mb, versions_of
from scfm.task.steps import embedding_id

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class EmbeddingFiles:
    """Paths of the files about one embedding in one folder."""

    folder: Path
    id: str

    @classmethod
    def of(cls, folder: Path | str, sidecar: dict) -> "EmbeddingFiles":
        """Return the paths for the embedding a sidecar describes."""
        return cls(
            Path(folder), embedding_id(sidecar["dataset"], sidecar["method"], sidecar["correction"], sidecar["seed"])
        )

    @property
    def unchecked_table(self) -> Path:
        """Embedding table before the validation gate."""
        return self.folder / f"{self.id}.unchecked.parquet"

    @property
    def unchecked_graph(self) -> Path:
        """Graph before the validation gate."""
        return self.folder / f"{self.id}.unchecked.graph.npz"

    @property
    def graph(self) -> Path:
        """Graph that has passed the validation gate."""
        return self.folder / f"{self.id}.graph.npz"

    @property
    def unchecked_sidecar(self) -> Path:
        """Sidecar before the validation gate."""
        return self.folder / f"{self.id}.unchecked.json"

    @property
    def table(self) -> Path:
        """Embedding table that has passed the validation gate."""
        return self.folder / f"{self.id}.parquet"

    @property
    def sidecar(self) -> Path:
        """Sidecar of the embedding that has passed the validation gate."""
        return self.folder / f"{self.id}.json"


def make_sidecar(
    *,
    dataset: str,
    method: str,
    family: str,
    correction: str,
    seed: int,
    is_control: bool,
    output_type: str,
    settings: dict,
    packages: Iterable[str],
    device: str,
    seconds: float,
    cells_in: int,
    n_cells: int,
    n_dims: int,
    warnings: list[dict] | None = None,
    details: dict[str, Any] | None = None,
) -> dict:
    """Return a sidecar; memory and versions are read from the running process.

    Parameters
    ----------
    packages
        Distributions whose versions matter for the result.
    seconds
        Time of the computation itself.
    cells_in, n_cells
        Cells of the data set, and cells that got a row.
    details
        Further facts, stored at the top level; they can't replace a field of the contract.
    """
    sidecar = {
        "dataset": dataset,
        "embedding": f"{method}.{correction}.{seed}",
        "method": method,
        "family": family,
        "correction": correction,
        "seed": seed,
        "is_control": is_control,
        "output_type": output_type,
        "settings": settings,
        "versions": versions_of(packages),
        "device": device,
        "seconds": seconds,
        "peak_rss_mb": peak_rss_mb(),
        "peak_gpu_mb": peak_gpu_mb() if device.startswith("cuda") else None,
        "cells_in": cells_in,
        "cells_out": n_cells,
        "n_dims": n_dims,
        "cells_per_second": n_cells / seconds if seconds > 0 else None,
        "warnings": warnings or [],
        "status": "ok",
        "reason": "",
    }
    clash = sorted(set(details or {}) & set(sidecar))
    if clash:
        raise ScfmError(f"{method}: the details {clash} have the names of fields that every sidecar has. Rename them.")
    return sidecar | (details or {})


def read_sidecar(path: Path | str) -> dict:
    """Read a sidecar and check that it has the fields of the contract.

    Raises
    ------
    ScfmError
        Where fields are missing or hold something else than they should, or the embedding's name is not made of its
        method, correction and seed.
    """
    sidecar = read_json(path)
    absent = absent_fields(sidecar)
    if absent:
        raise ScfmError(
            f"{path}: the sidecar lacks {absent}. An embedding is handed over with the JSON its maker wrote."
        )
    errors = field_errors(sidecar)
    if errors:
        raise ScfmError(f"{path}: {'; '.join(errors)}. An embedding is handed over with the JSON its maker wrote.")
    name = f"{sidecar['method']}.{sidecar['correction']}.{sidecar['seed']}"
    if sidecar["embedding"] != name:
        raise ScfmError(f"{path}: embedding is '{sidecar['embedding']}' but method, correction and seed say '{name}'.")
    return sidecar


def need_coordinates(sidecar: Mapping[str, Any]) -> None:
    """Raise :class:`NotApplicable` where an embedding is a graph: what needs coordinates is not defined for it."""
    if sidecar["output_type"] == "graph":
        raise NotApplicable(f"{sidecar['embedding']} is a graph: it has no coordinates.", "graph_output")


def pair_files(tables: Iterable[Path], sidecars: Iterable[Path]) -> list[tuple[dict, Path]]:
    """Return every sidecar with its embedding table, joined by the embedding's id, sorted by it.

    Raises
    ------
    ScfmError
        A sidecar has no table, or a table no sidecar.
    """
    by_id = {path.name.removesuffix(".parquet").removesuffix(".graph.npz"): path for path in tables}
    read = {EmbeddingFiles.of(".", sidecar).id: sidecar for sidecar in map(read_sidecar, sidecars)}
    alone = sorted(set(by_id) ^ set(read))
    if alone:
        raise ScfmError(
            f"{len(alone)} embeddings have a table or a sidecar but not both, first: {alone[0]}. Give <id>.parquet (of"
            " a graph <id>.graph.npz) and <id>.json of every embedding."
        )
    return [(read[name], by_id[name]) for name in sorted(read)]


def write_unchecked(files: EmbeddingFiles, cell_ids: "np.ndarray", values: "np.ndarray", sidecar: dict) -> None:
    """Write an embedding for the validation gate, the table last, so that no table is without its sidecar."""
    write_json(files.unchecked_sidecar, sidecar)
    write_embedding(files.unchecked_table, cell_ids, values)
