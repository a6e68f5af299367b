"""Run an executable's ``main`` in this process, and where the small inputs of every module lie."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
BIN = PROJECT / "bin"
ASSETS = PROJECT / "assets"
#: small real inputs of every module, written by make_module_inputs.py
INPUTS = PROJECT / "tests" / "data" / "modules"
#: the embedding whose files are there
STEM = "tiny.harmony.raw.0"
MODEL_STEM = "tiny.sccello.raw.0"


@cache
def main_of(executable: str) -> Callable[[list[str]], int | None]:
    """Return the ``main`` of ``bin/<executable>.py``."""
    spec = importlib.util.spec_from_file_location(executable, BIN / f"{executable}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def call(executable: str, **options: object) -> int | None:
    """Run an executable with the words of some options."""
    return main_of(executable)(words_of(options))


def words_of(options: Mapping[str, object]) -> list[str]:
    """Return ``--name value`` of every option; a list becomes several values, True a switch."""
    words = []
    for name, value in options.items():
        values = [] if value is True else value if isinstance(value, list) else [value]
        words += [f"--{name}", *map(str, values)]
    return words


def of_embedding(folder: Path, *kinds: str, stem: str = STEM) -> dict[str, Path]:
    """Return the options about one embedding: ``embedding``, ``sidecar``, ``obs`` and, where asked for, ``knn``."""
    found = {
        "embedding": folder / f"{stem}.parquet",
        "sidecar": folder / f"{stem}.json",
        "obs": folder / "tiny.obs.parquet",
    }
    return found | {kind: folder / f"{stem}.{kind}.npz" for kind in kinds}


def diagnosed(folder: Path) -> dict[str, Path]:
    """Return the files that the diagnosis of Harmony's embedding reads."""
    return of_embedding(folder, "knn") | {
        "scores": folder / f"{STEM}.scores.tsv",
        "prepared": folder / "tiny.prepared.h5ad",
        "pca": folder / "tiny.pca.parquet",
        "programmes": ASSETS / "programmes.tsv",
        "metrics_table": ASSETS / "metrics.tsv",
    }


def results_of(folder: Path) -> list[Path]:
    """Return what the steps left about the embeddings: what COLLECT_RESULTS is given."""
    diagnosis = (".residual.tsv", ".clusters.tsv", ".markers.tsv", ".rare.tsv", ".overcorrection.tsv", ".balanced.tsv")
    tables = (".scores.tsv", ".probing.tsv", ".centroids.tsv", ".design.tsv", *diagnosis)
    kinds = (".status.json", ".facts.json", ".design.json", f"{STEM}.json", *tables)
    return sorted(path for path in folder.iterdir() if path.name.endswith(kinds))
