"""Files that are no valid AnnData: structure of matrices, kinds of values, frames, and files of other kinds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp

import h5py
import numpy as np

from bad_inputs.harness import Case
from helpers_data import make_adata, write

Change = Callable[[h5py.File], None]
SHEET = "dataset,h5ad,batch_key,label_key\nd,{file},batch,cell_type\n"


@cache
def _valid(storage: str) -> Path:
    """Return a valid file of one storage, written once."""
    return write(make_adata(storage=storage), Path(mkdtemp()) / f"{storage}.h5ad")


def check_argv(folder: Path, sheet: str, **params: object) -> tuple[str, list[str]]:
    """Write samplesheet and parameters; return the call of the check."""
    (folder / "sheet.csv").write_text(sheet)
    (folder / "params.json").write_text(json.dumps({"input": "sheet.csv", "outdir": "results", **params}))
    options = {"params": "params.json", "input": "sheet.csv", "outdir": "out"}
    return "check_inputs", [part for k, v in options.items() for part in (f"--{k}", str(folder / v))]


def _changed(storage: str, change: Change, folder: Path) -> tuple[str, list[str]]:
    """Copy a valid file, change it, and check it."""
    shutil.copy(_valid(storage), folder / "d.h5ad")
    with h5py.File(folder / "d.h5ad", "r+") as file:
        change(file)
    return check_argv(folder, SHEET.format(file="d.h5ad"))


def _put(key: str, edit: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Return a change that replaces an array, its attributes kept."""

    def change(file: h5py.File) -> None:
        values, attributes = file[key][...], dict(file[key].attrs)
        del file[key]
        file[key] = edit(values)
        file[key].attrs.update(attributes)

    return change


def _drop(key: str) -> Change:
    return lambda file: file.__delitem__(key)


def _attr(key: str, name: str, value: object) -> Change:
    return lambda file: file[key].attrs.__setitem__(name, value)


def _set(values: np.ndarray, place: int, value: object) -> np.ndarray:
    changed = values.copy()
    changed.flat[place] = value
    return changed


def _compound(values: np.ndarray) -> np.ndarray:
    return np.zeros(values.shape, dtype=[("a", "f4"), ("b", "i4")])


STRUCTURE: dict[str, tuple[Change, str]] = {
    "indptr_short": (_put("X/indptr", lambda v: v[:-1]), "'indptr' has"),
    "indptr_long": (_put("X/indptr", lambda v: np.append(v, v[-1])), "'indptr' has"),
    "indptr_empty": (_put("X/indptr", lambda v: v[:0]), "'indptr' has 0 values"),
    "indptr_start": (_put("X/indptr", lambda v: _set(v, 0, 1)), "'indptr' begins with 1"),
    "indptr_falls": (_put("X/indptr", lambda v: _set(v, 5, 0)), "'indptr' falls"),
    "indptr_negative": (_put("X/indptr", lambda v: _set(v, 5, -7)), "'indptr' falls"),
    "indptr_end_high": (_put("X/indptr", lambda v: _set(v, -1, v[-1] + 9)), "'indptr' ends with"),
    "indptr_end_low": (_put("X/indptr", lambda v: np.minimum(v, v[-1] - 3)), "'indptr' ends with"),
    "indptr_float": (_put("X/indptr", lambda v: v.astype(float)), "'indptr' holds float64"),
    "indptr_square": (_put("X/indptr", lambda v: np.stack([v, v])), "no list of values 'indptr'"),
    "indptr_huge": (_put("X/indptr", lambda v: _set(v.astype(np.int64), 3, 2**62)), "'indptr' falls"),
    "indices_negative": (_put("X/indices", lambda v: _set(v, 4, -1)), "from -1 to"),
    "indices_high": (_put("X/indices", lambda v: _set(v, 4, 100_000)), "to 100,000"),
    "indices_float": (_put("X/indices", lambda v: v.astype(float)), "'indices' holds float64"),
    "indices_short": (_put("X/indices", lambda v: v[:-2]), "they must be as many"),
    "data_short": (_put("X/data", lambda v: v[:-2]), "they must be as many"),
    "data_long": (_put("X/data", lambda v: np.append(v, 1)), "they must be as many"),
    "data_scalar": (_put("X/data", lambda v: np.float32(1)), "no list of values 'data'"),
    "no_data": (_drop("X/data"), "no list of values 'data'"),
    "no_indices": (_drop("X/indices"), "no list of values 'indices'"),
    "no_indptr": (_drop("X/indptr"), "no list of values 'indptr'"),
    "shape_text": (_attr("X", "shape", "large"), "shape"),
    "shape_three": (_attr("X", "shape", np.array([60, 40, 1])), "expected two numbers"),
    "shape_negative": (_attr("X", "shape", np.array([-60, 40])), "damaged"),
    "shape_many_cells": (_attr("X", "shape", np.array([10**9, 10**9])), "'indptr' has"),
    "encoding_unknown": (_attr("X", "encoding-type", "coo_matrix"), "stored as 'coo_matrix'"),
}
KINDS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "complex": (lambda v: v.astype(np.complex64), "complex numbers"),
    "float16": (lambda v: v.astype(np.float16), "float16"),
    "text": (lambda v: v.astype("S"), "holds text"),
    "records": (_compound, "records of several values"),
    "nan": (lambda v: _set(v, 3, np.nan), "1 NaN value"),
    "infinite": (lambda v: _set(v, 3, np.inf), "1 infinite value"),
    "minus_infinite": (lambda v: _set(v, 3, -np.inf), "1 infinite value"),
    "negative": (lambda v: _set(v, 3, -1), "1 negative value"),
    "fraction": (lambda v: _set(v, 3, 0.5), "E-IN-01"),
    "logged": (np.log1p, "E-IN-02"),
    "zeros": (lambda v: v * 0, "no value is above zero"),
    "above_float32": (lambda v: _set(v.astype(np.int64), 3, 2**24 + 1), "above 16,777,216"),
    "huge_int": (lambda v: _set(v.astype(np.int64), 3, 2**53 + 1), "above 16,777,216"),
    "huge_float": (lambda v: _set(v.astype(np.float64), 3, 1e300), "above 16,777,216"),
    "uint64": (lambda v: _set(v.astype(np.uint64), 3, 2**63), "above 16,777,216"),
}


def _columns(file: h5py.File, names: list[str]) -> None:
    file["obs"].attrs["column-order"] = np.array(names, dtype=object)


def _text_array(file: h5py.File, key: str, values: list[str]) -> None:
    if key in file:
        del file[key]
    file[key] = np.array(values, dtype=object)
    file[key].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


def _numbers(file: h5py.File, key: str, values: np.ndarray) -> None:
    if key in file:
        del file[key]
    file[key] = values
    file[key].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def _replaced(key: str, value: np.ndarray) -> Change:
    def change(file: h5py.File) -> None:
        del file[key]
        file[key] = value

    return change


OLD = np.array([(b"a", 1)], dtype=[("index", "S3"), ("n", "i4")])
FRAMES: dict[str, tuple[Change, str]] = {
    "batch_short": (lambda f: _numbers(f, "obs/batch", np.arange(7)), "column 'batch' of obs has 7 values"),
    "batch_long": (lambda f: _numbers(f, "obs/batch", np.arange(99)), "column 'batch' of obs has 99 values"),
    "batch_infinite": (lambda f: _numbers(f, "obs/batch", np.full(60, np.inf)), "60 infinite values"),
    "batch_nan": (lambda f: _numbers(f, "obs/batch", np.full(60, np.nan)), "is empty for all 60 cells"),
    "batch_one": (lambda f: _numbers(f, "obs/batch", np.ones(60)), "one batch only"),
    "batch_ids": (lambda f: _text_array(f, "obs/batch", [f"c{i}" for i in range(60)]), "Is it a column of ids?"),
    "batch_tiny": (lambda f: _text_array(f, "obs/batch", ["a", "a", *["b"] * 58]), "fewer than 3 cells"),
    "batch_placeholders": (lambda f: _text_array(f, "obs/batch", ["Unknown"] * 60), "is empty for all 60 cells"),
    "batch_square": (lambda f: _numbers(f, "obs/batch", np.ones((60, 2))), "expected one value per row"),
    "batch_unknown": (_attr("obs/batch", "encoding-type", "datetime-array"), "'obs/batch' can't be read"),
    "batch_records": (_replaced("obs/batch", np.zeros(60, dtype=[("a", "i4")])), "expected one value per row"),
    "codes_beyond": (_put("obs/batch/codes", lambda v: _set(v, 3, 99)), "'obs/batch' can't be read"),
    "codes_short": (_put("obs/batch/codes", lambda v: v[:-1]), "has 59 values"),
    "codes_absent": (_drop("obs/batch/codes"), "'obs/batch' can't be read"),
    "categories_absent": (_drop("obs/batch/categories"), "'obs/batch' can't be read"),
    "column_absent": (lambda f: _columns(f, ["batch", "cell_type"]) or f["obs"].__delitem__("batch"), "no values"),
    "column_unlisted": (lambda f: _columns(f, ["cell_type"]), "no column 'batch'"),
    "label_empty": (lambda f: _text_array(f, "obs/cell_type", ["NA"] * 60), "nothing can be scored"),
    "index_absent": (_drop("obs/_index"), "no such array"),
    "index_short": (_put("obs/_index", lambda v: v[:-1]), "the file is damaged"),
    "index_twice": (lambda f: _text_array(f, "obs/_index", ["same"] * 60), "more than once"),
    "index_empty": (lambda f: _text_array(f, "obs/_index", ["", *[f"c{i}" for i in range(59)]]), "an empty id"),
    "obs_absent": (_drop("obs"), "there is no 'obs'"),
    "var_absent": (_drop("var"), "there is no 'var'"),
    "x_absent": (_drop("X"), "there are no counts"),
    "x_of_text": (_replaced("X", np.array([b"counts"])), "must be a sparse matrix"),
    "x_of_three": (_replaced("X", np.ones((2, 2, 2))), "must be a sparse matrix"),
    "obs_of_0.6": (_replaced("obs", OLD), "encoding of anndata before 0.7"),
    "var_of_0.6": (_replaced("var", OLD[["index"]]), "encoding of anndata before 0.7"),
    "obs_empty_group": (lambda f: f.__delitem__("obs") or f.create_group("obs"), "no such array"),
    "var_short": (_put("var/_index", lambda v: v[:-1]), "the file is damaged"),
    "genes_twice": (lambda f: _text_array(f, "var/_index", ["ACTB"] * 40), "more than once"),
    "genes_numbers": (lambda f: _text_array(f, "var/_index", [str(i) for i in range(40)]), "gene symbol"),
}


def _file(name: str, make: Callable[[Path], None], folder: Path) -> tuple[str, list[str]]:
    make(folder / name)
    return check_argv(folder, SHEET.format(file=name))


def _cut(path: Path) -> None:
    path.write_bytes(_valid("csr").read_bytes()[:3000])


def _group_only(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["something"] = 1


FILES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "empty": ("d.h5ad", lambda p: p.write_bytes(b""), "not a readable h5ad file"),
    "of_text": ("d.h5ad", lambda p: p.write_text("cell,gene\n"), "not a readable h5ad file"),
    "cut_short": ("d.h5ad", _cut, "not a readable h5ad file"),
    "no_anndata": ("d.h5ad", _group_only, "not an AnnData object"),
    "folder": ("d.h5ad", lambda p: p.mkdir(), "d.h5ad"),
    "pipe": ("d.h5ad", os.mkfifo, "no ordinary file"),
    "empty_zarr": ("d.zarr", lambda p: p.mkdir(), "not a readable zarr folder"),
    "zarr_of_text": ("d.zarr", lambda p: p.write_text("x"), "d.zarr"),
    "glob": ("a*.h5ad", lambda p: (p.parent / "ab.h5ad").write_bytes(b""), "does not exist"),
    "dollar": ("$HOME.h5ad", lambda p: None, "does not exist"),
}


def cases() -> list[Case]:
    """Return all cases of this kind."""
    found = [
        Case(f"{storage}_{name}", partial(_changed, storage, change), (words,))
        for storage in ("csr", "csc")
        for name, (change, words) in STRUCTURE.items()
    ]
    for storage, key in (("csr", "X/data"), ("csc", "X/data"), ("dense", "X")):
        found += [
            Case(f"{storage}_values_{name}", partial(_changed, storage, _put(key, edit)), (words,))
            for name, (edit, words) in KINDS.items()
        ]
    found += [Case(f"frame_{n}", partial(_changed, "csr", change), (w,)) for n, (change, w) in FRAMES.items()]
    found += [Case(f"file_{name}", partial(_file, file, make), (w,)) for name, (file, make, w) in FILES.items()]
    return found
