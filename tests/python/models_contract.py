"""What a model's tests supply to the contract tests: its fixture, its golden releases, and how to spoil its files.

A model ``<name>`` has a module ``tests/python/models_cases_<name>.py`` with ``CASES: ModelCases``. Its fixture lies in
``tests/data/models/<fixture>/`` (synthetic, a copy of what the official code gave). ``test_models_contract.py`` does
the rest.
"""

from __future__ import annotations

import os
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scfm.models import available_models, load_model

if TYPE_CHECKING:
    import anndata
    import pandas as pd

    from scfm.models.core.base import EmbeddingModel
    from scfm.models.core.tokens import Tokens

DATA = Path(__file__).resolve().parents[1] / "data" / "models"
TOLERANCE = 1e-5
#: what the fixtures were made with (issue: they hold for strip_version=false)
GOLDEN_SETTINGS = {"strip_version": "false"}


def assert_close(found: "pd.DataFrame", wanted: "pd.DataFrame", tolerance: float = 1e-6) -> None:
    """Assert that two tables hold the same cells and, cell by cell, the same rows."""
    assert set(found.index) == set(wanted.index)
    assert np.abs(found.loc[wanted.index].to_numpy() - wanted.to_numpy()).max() <= tolerance


@dataclass(frozen=True)
class Golden:
    """One release of ``expected.npz``.

    Attributes
    ----------
    release
        Name in the table.
    settings
        Settings of the model.
    embedding
        Key of the rows in ``expected.npz``, or a function of its arrays.
    tokens
        ``tokens(model, tokens, expected)`` yields (what, found, expected) to be equal exactly; None where the file
        holds no tokens.
    fixture
        Folder in ``tests/data/models``; the model's first one where empty.
    change_input
        Applied to the AnnData first (normalisation of the release).
    patch
        Applied to the loaded model (e.g. the official stream of random numbers in place of the keyed one).
    cell_ids
        Key of the ids of the expected rows, where these are fewer than the cells (cells dropped officially).
    no_row
        Cells without a gene of the vocabulary, of which the official code makes a row all the same: here they must have
        none.
    """

    release: str
    settings: Mapping[str, Any]
    embedding: "str | Callable[[Mapping[str, np.ndarray]], np.ndarray]"
    tokens: "Callable[[EmbeddingModel, Tokens, Mapping[str, np.ndarray]], Iterable[tuple[str, Any, Any]]] | None" = None
    fixture: str = ""
    change_input: "Callable[[anndata.AnnData], anndata.AnnData] | None" = None
    patch: "Callable[[EmbeddingModel], None] | None" = None
    cell_ids: str = ""
    no_row: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelCases:
    """Everything the contract tests need of a model.

    Attributes
    ----------
    model
        Name.
    fixture
        Folder in ``tests/data/models``.
    golden
        Releases of ``expected.npz`` (several fixtures where the model has several).
    settings
        Settings for the other tests: deterministic use of the fixture's input.
    tensors
        The weights file, relative to the fixture.
    needed
        A tensor in it (name as in the file) without which nothing works.
    state
        Keys that lead from the file's content to the tensors, e.g. ``("state_dict",)``.
    pickles
        Pickled dictionaries that are read, relative to the fixture.
    break_vocabulary
        Edits a copy of the fixture so that vocabulary and weights no longer fit; None where nothing of that kind can
        happen.
    needs_both_ids
        True where symbols and Ensembl ids are both understood (no "wrong id type" then).
    """

    model: str
    fixture: str
    golden: tuple[Golden, ...]
    settings: Mapping[str, Any]
    tensors: str
    needed: str
    state: tuple[str, ...] = ()
    pickles: tuple[str, ...] = ()
    break_vocabulary: Callable[[Path], None] | None = None
    needs_both_ids: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The fixture."""
        return DATA / self.fixture

    def load(self, weights: Path | None = None, **more: Any) -> "EmbeddingModel":
        """Load the model with the deterministic settings, on the CPU where no ``device`` is named."""
        how = {k: more.pop(k) for k in ("precision", "seed", "random_init") if k in more}
        how["device"] = more.pop("device", "cpu")
        return load_model(self.model, weights or self.folder, **how, **{**GOLDEN_SETTINGS, **self.settings, **more})


def cases_of(model: str) -> ModelCases:
    """Return a model's cases; a model without them fails its tests (it is not skipped)."""
    return import_module(f"models_cases_{model}").CASES


def all_cases() -> list[ModelCases]:
    """Return the cases of every model that exists."""
    return [cases_of(name) for name in available_models()]


@cache
def _read(folder: Path) -> "anndata.AnnData":
    import anndata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return anndata.read_h5ad(folder / "input.h5ad")


def read_input(fixture: str) -> "anndata.AnnData":
    """Return a fresh copy of a fixture's input."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _read(DATA / fixture).copy()


@cache
def read_expected(fixture: str) -> dict[str, np.ndarray]:
    """Return the arrays of ``expected.npz``."""
    with np.load(DATA / fixture / "expected.npz", allow_pickle=False) as arrays:
        return {k: arrays[k] for k in arrays.files}


@dataclass(frozen=True)
class Outcome:
    """How far a release is from the official code: largest absolute difference, lowest cosine of a row."""

    model: str
    release: str
    difference: float
    cosine: float
    tokens_equal: bool | None
    unequal: tuple[str, ...]


def run_golden(cases: ModelCases, golden: Golden, *, device: str = "cpu", precision: str = "fp32") -> Outcome:
    """Run a release; compare tokens exactly and rows by the largest absolute difference."""
    fixture = golden.fixture or cases.fixture
    expected, adata = read_expected(fixture), read_input(fixture)
    if golden.change_input:
        adata = golden.change_input(adata)
    how = {"device": device, "precision": precision}
    model = load_model(cases.model, DATA / fixture, **how, **{**GOLDEN_SETTINGS, **golden.settings})
    if golden.patch:
        golden.patch(model)
    frame = model.embed(adata, min_gene_overlap=0.0)
    wanted = golden.embedding(expected) if callable(golden.embedding) else expected[golden.embedding]
    ids = expected_ids(expected, adata, len(wanted), golden.cell_ids)
    unequal: list[str] = []
    if golden.tokens:
        model = load_model(cases.model, DATA / fixture, **how, **{**GOLDEN_SETTINGS, **golden.settings})
        if golden.patch:
            golden.patch(model)
        for what, found, right in golden.tokens(model, tokens_of(model, adata), expected):
            if not np.array_equal(np.asarray(found), np.asarray(right)):
                unequal.append(what)
    compared = [i for i, c in enumerate(ids) if c not in golden.no_row]
    ids = [ids[i] for i in compared]
    wrong = [c for c in ids if c not in frame.index] + [c for c in golden.no_row if c in frame.index]
    difference, cosine = float("inf"), float("nan")
    if not wrong:
        found, wanted = frame.loc[ids].to_numpy(), wanted[compared]
        difference, cosine = float(np.abs(found - wanted).max()), float(cosines(found, wanted).min())
    return Outcome(
        cases.model,
        f"{fixture}: {golden.release}" if golden.fixture else golden.release,
        difference,
        cosine,
        not unequal if golden.tokens else None,
        tuple(unequal),
    )


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine of each row of one matrix with that of another."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def expected_ids(expected: Mapping[str, np.ndarray], adata: "anndata.AnnData", n: int, key: str = "") -> list[str]:
    """Return the cell ids of the expected rows: ``key``, else ``cell_id`` or ``obs_names`` of the file, else all cells
    in order.
    """
    for name in (key, "cell_id", "obs_names"):
        if name and name in expected and len(expected[name]) == n:
            return [str(c) for c in expected[name]]
    return [str(c) for c in adata.obs_names]


def tokens_of(model: "EmbeddingModel", adata: "anndata.AnnData") -> "Tokens":
    """Return the tokens of all cells in one chunk."""
    from scfm.models.core.reader import counts_of
    from scfm.models.core.runner import RunOptions, prepare

    counts = counts_of(adata, model.settings.input_layer)
    prepare(model, counts, RunOptions(min_gene_overlap=0.0))
    return model.tokenize(next(counts.chunks(counts.n_cells)))


def embed(model: "EmbeddingModel", adata: "anndata.AnnData", **options: Any) -> "pd.DataFrame":
    """Embed without the floor of the gene overlap."""
    return model.embed(adata, **{"min_gene_overlap": 0.0, **options})


def copy_fixture(cases: ModelCases, target: Path) -> Path:
    """Copy a fixture to where it may be spoilt."""
    folder = target / cases.fixture
    shutil.copytree(cases.folder, folder)
    return folder


def edit_tensors(cases: ModelCases, folder: Path, edit: Callable[[dict], None]) -> None:
    """Let ``edit`` change the tensors of a copied fixture in place."""
    import torch
    from safetensors.torch import load_file, save_file

    from scfm.models.core.tensors import read_tensors

    path = folder / cases.tensors
    if path.suffix == ".safetensors":
        content = load_file(path)
        edit(content)
        save_file(content, path)
        return
    content = read_tensors(path)
    state = content
    for key in cases.state:
        state = state[key]
    edit(state)
    torch.save(content, path.with_name("edited"))
    path.with_name("edited").replace(path)


class Bomb:
    """Unpickling it without care would make the folder ``mark``."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


def write_bomb(path: Path, mark: Path, *, as_checkpoint: bool) -> None:
    """Replace a file by a pickle or a checkpoint that runs code when it is loaded without care."""
    import torch

    path.unlink(missing_ok=True)
    if as_checkpoint:
        torch.save({"weights": Bomb(mark)}, path)
    else:
        path.write_bytes(pickle.dumps({"genes": Bomb(mark)}))
