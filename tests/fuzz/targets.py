"""One function per kind of input: write it, run the executable that reads it first, see that it ends in a sentence."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import h5py
import pandas as pd
from bad_inputs.anndata_cases import SHEET, check_argv
from bad_inputs.harness import answer
from bad_inputs.run_cases import RECIPES, SHEETS, YAMLS

from fuzz.structure import Pick, change_structure
from helpers_data import SCHEMA, make_adata, write

Target = Callable[[bytes], None]


class NoSentenceError(AssertionError):
    """An input ended in something else than a success or a sentence."""


@cache
def _valid() -> Path:
    """Return a folder with a valid data set, its obs table and an embedding of it, written once."""
    folder = Path(tempfile.mkdtemp(prefix="scfm-fuzz-"))
    data = make_adata()
    write(data, folder / "d.h5ad")
    obs = pd.DataFrame({"cell_id": data.obs_names, "batch": data.obs["batch"].astype(str), "label": "l"})
    obs.to_parquet(folder / "obs.parquet")
    table = pd.DataFrame({"cell_id": data.obs_names, "dim_0": data.obs["covariate"].to_numpy("float32")})
    table.assign(dim_1=table["dim_0"] ** 2).to_parquet(folder / "d.e.raw.0.unchecked.parquet", index=False)
    return folder


@contextmanager
def _folder(*names: str) -> Iterator[Path]:
    """Yield a folder with links to valid files."""
    with tempfile.TemporaryDirectory(prefix="scfm-fuzz-") as name:
        for file in names:
            (Path(name) / file).symlink_to(_valid() / file)
        yield Path(name)


def _expect_sentences(executable: str, argv: list[str], folder: Path) -> list[str]:
    """Run; return the sentences, none for a success.

    Raises
    ------
    NoSentenceError
        An error that is no sentence for a user.
    """
    sentences = answer(executable, argv, folder)
    odd = [text for text in sentences if "Unexpected" in text or "Traceback" in text or not text.strip()]
    if odd:
        raise NoSentenceError(f"{executable}: {odd[0]}")
    return sentences


def samplesheet(content: bytes) -> None:
    """The bytes are a samplesheet."""
    with _folder("d.h5ad") as folder:
        executable, argv = check_argv(folder, "")
        (folder / "sheet.csv").write_bytes(content)
        _expect_sentences(executable, argv, folder)


def model_options(content: bytes) -> None:
    """The bytes are the file of ``--model_options``."""
    with _folder("d.h5ad") as folder:
        (folder / "m.yml").write_bytes(content)
        options = {"models": "scgpt", "model_options": str(folder / "m.yml")}
        _expect_sentences(*check_argv(folder, SHEET.format(file="d.h5ad"), **options), folder)


def params(content: bytes) -> None:
    """The bytes are the JSON of the parameters, a map: Nextflow refuses a ``-params-file`` that is none."""
    try:
        if not isinstance(json.loads(content), dict):
            return
    except (ValueError, RecursionError):
        pass  # no JSON at all
    with _folder("d.h5ad") as folder:
        executable, argv = check_argv(folder, SHEET.format(file="d.h5ad"))
        (folder / "params.json").write_bytes(content)
        _expect_sentences(executable, argv, folder)


def recipe(content: bytes) -> None:
    """The bytes are a recipe."""
    with _folder("d.h5ad") as folder:
        (folder / "r.yml").write_bytes(content)
        argv = ["--recipe", str(folder / "r.yml"), "--dataset", "d", "--outdir", str(folder / "out")]
        _expect_sentences("apply_recipe", argv, folder)


def sidecar(content: bytes) -> None:
    """The bytes are the sidecar of an embedding."""
    table = "d.e.raw.0.unchecked.parquet"
    with _folder("obs.parquet", table) as folder:
        (folder / "d.e.raw.0.unchecked.json").write_bytes(content)
        argv = ["--embedding", str(folder / table), "--sidecar", str(folder / "d.e.raw.0.unchecked.json")]
        argv += ["--obs", str(folder / "obs.parquet"), "--outdir", str(folder / "out")]
        _expect_sentences("validate_embedding", argv, folder)
        outside = [path for path in folder.iterdir() if path.name not in {"obs.parquet", table, "out"}]
        if [path.name for path in outside] != ["d.e.raw.0.unchecked.json"]:
            raise NoSentenceError(f"validate_embedding wrote outside its folder: {outside}")


def h5ad_structure(pick: Pick) -> None:
    """The structure of a valid file is changed; what the check accepts is prepared."""
    with _folder() as folder:
        shutil.copy(_valid() / "d.h5ad", folder / "d.h5ad")
        with h5py.File(folder / "d.h5ad", "r+") as file:
            change_structure(file, pick)
        if _expect_sentences(*check_argv(folder, SHEET.format(file="d.h5ad")), folder):
            return
        options = {"dataset": "d", "datasets": folder / "out" / "datasets.json", "h5ad": folder / "d.h5ad"}
        options |= {"params": _all_params(folder), "outdir": folder / "out", "on_error": "stop"}
        argv = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        (folder / "out" / "errors.txt").unlink()
        _expect_sentences("prepare_dataset", argv, folder)


def _all_params(folder: Path) -> Path:
    """Write every parameter with its default, and few variable genes."""
    from scfm.inputs.params import with_defaults

    path = folder / "all.json"
    path.write_text(json.dumps(with_defaults({"input": "s", "outdir": "o", "n_hvg": 20, "n_pcs": 5}, SCHEMA)))
    return path


SIDECAR = {
    "dataset": "d",
    "embedding": "e.raw.0",
    "method": "e",
    "family": "imported",
    "correction": "raw",
    "seed": 0,
    "is_control": False,
    "output_type": "embedding",
    "settings": {},
    "versions": {},
    "device": "cpu",
    "seconds": 1.0,
    "cells_in": 60,
    "cells_out": 60,
    "n_dims": 2,
    "warnings": [],
    "not_embedded": [],
}
#: every parameter
SCHEMA_NAMES = {name for group in SCHEMA["$defs"].values() for name in group["properties"]}
#: target -> the function for bytes, and inputs to start from
BYTES: dict[str, tuple[Target, list[bytes]]] = {
    "samplesheet": (
        samplesheet,
        [text.encode() for text, _ in SHEETS.values()] + [SHEET.format(file="d.h5ad").encode()],
    ),
    "model_options": (model_options, [text for text, _ in YAMLS.values()] + [b"scgpt: {batch_size: 8}\n"]),
    "params": (params, [b'{"input": "sheet.csv", "outdir": "o", "methods": "pca", "seeds": "0,1", "n_hvg": 20}']),
    "recipe": (recipe, [text.encode() for text, _ in RECIPES.values()]),
    "sidecar": (sidecar, [json.dumps(SIDECAR).encode()]),
}
