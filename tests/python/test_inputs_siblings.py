"""Siblings of the inputs that failed in real use (shared/cases), made here: other spellings of the same situation."""

from __future__ import annotations

import json
import shutil

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import prepare_dataset
from helpers_data import assert_says, check_one, defaults, make_adata, make_counts, write
from scfm.errors import ScfmError
from scfm.inputs.keys import build_key, placeholders_of
from scfm.inputs.levels import alike
from scfm.io.counts import find_counts, is_logged, load_counts
from scfm.io.matrix import matrix_in_memory
from scfm.io.store import open_store
from scfm.preparation.filters import silent_genes

LABELS = np.array([f"t{i // 3 % 3}" for i in range(60)], dtype=object)


def _codes(outcome) -> dict[str, str]:
    return {w["code"]: w["text"] for w in outcome.warnings}


def _old_frame(path, *, version: bool, reference: bool) -> None:
    """Turn obs into an old one: codes in the frame, categories beside it, R's missing integer."""
    names, codes = np.unique(LABELS, return_inverse=True)
    codes = codes.astype(np.int32)
    codes[[3, 7]] = np.iinfo(np.int32).min
    with h5py.File(path, "r+") as file:
        obs = file["obs"]
        del obs["cell_type"]
        obs["cell_type"] = codes
        obs.create_group("__categories")["cell_type"] = [str(n).encode() for n in names]
        if reference:
            obs["cell_type"].attrs["categories"] = obs["__categories/cell_type"].ref
        del obs.attrs["encoding-version"]
        if version:
            obs.attrs["encoding-version"] = "0.1.0"


@pytest.mark.parametrize("version", [True, False])
@pytest.mark.parametrize("reference", [True, False])
def test_old_factors_are_names_and_r_missing_is_missing(tmp_path, version, reference):
    path = write(make_adata(), tmp_path / "d.h5ad")
    _old_frame(path, version=version, reference=reference)
    with open_store(path) as store:
        found = store.column("obs", "cell_type")
        frame, left_out = store.frame("obs")
    expected = LABELS.copy()
    expected[[3, 7]] = None
    assert found.astype(object).where(found.notna(), None).tolist() == expected.tolist()
    assert left_out == {} and frame["cell_type"].isna().sum() == 2


def test_h5seurat_factors_count_from_one(tmp_path):
    path = write(make_adata(), tmp_path / "d.h5ad")
    with h5py.File(path, "r+") as file:
        del file["obs/cell_type"]
        group = file["obs"].create_group("cell_type")
        group["levels"] = [b"B", b"T"]
        group["values"] = np.array([1, 2, np.iinfo(np.int32).min] * 20, dtype=np.int32)
    with open_store(path) as store:
        found = store.column("obs", "cell_type")
    assert found.astype(object).where(found.notna(), None).tolist() == ["B", "T", None] * 20


@pytest.mark.parametrize("storage", ["csr", "csc", "dense"])
def test_blocks_of_nan_are_an_outer_join(tmp_path, storage):
    counts = make_counts()
    counts[np.ix_(np.arange(60) % 3 == 1, range(5, 12))] = np.nan
    outcome = check_one(tmp_path, make_adata(counts, storage=storage))
    said = assert_says(
        outcome.errors, "7 in batch 'b1'", "as an outer join", "Keep the 33 genes that all batches share"
    )
    assert "b0" not in said
    counts[0, 0] = np.nan  # one more that no join explains
    assert_says(check_one(tmp_path, make_adata(counts, storage=storage)).errors, "141 NaN values")


@pytest.mark.parametrize("storage", ["csr", "csc", "dense"])
def test_whole_numbers_with_one_total_are_no_counts(tmp_path, storage):
    counts = make_counts()
    scaled = np.rint(counts / counts.sum(axis=1, keepdims=True) * 1e6).astype(np.float32)
    assert "1,000,0" in _codes(check_one(tmp_path, make_adata(scaled, storage=storage)))["W-IN-10"]
    assert "W-IN-10" not in _codes(check_one(tmp_path, make_adata(counts, storage=storage)))


def test_logarithms_are_distinguished_from_fractions():
    counts = sparse.csr_matrix(make_counts())
    scaled = counts.multiply(1e4 / counts.sum(axis=1)).tocsr()
    subset = scaled[:, :25].tocsr()  # totals differ, multiples stay
    ambient = counts.copy()
    ambient.data = np.minimum(ambient.data, 20) * 0.93 + np.random.default_rng(0).uniform(-0.05, 0.05, counts.nnz)
    for matrix, expected in ((counts, True), (scaled, True), (subset, True)):
        assert is_logged(matrix_in_memory(matrix.log1p(), "m")) is expected
    assert not is_logged(matrix_in_memory(ambient.tocsr(), "m"))


def test_low_fractions_are_rounded_on_request(tmp_path):
    counts = np.minimum(make_counts(), 20) * 0.93 + np.random.default_rng(1).uniform(0, 0.05, (60, 40))
    data = make_adata(counts.astype(np.float32))
    assert_says(check_one(tmp_path, data).errors, "E-IN-02", "E-IN-01", "--round_counts")
    rounded = check_one(tmp_path, data, round_counts=True)
    assert rounded.errors == [] and "none above 25" in _codes(rounded)["E-IN-01"]
    loaded = load_counts(tmp_path / "d.h5ad", "X", round_counts=True).toarray()
    np.testing.assert_array_equal(loaded, np.rint(counts.astype(np.float32)))


def test_counts_in_another_layer_are_named(tmp_path):
    data = make_adata()
    data.layers["umi"], data.layers["scaled"] = data.X.copy(), data.X * 0.3
    data.X = np.log1p(data.X)
    assert assert_says(check_one(tmp_path, data).errors, "the layer 'umi'").count("scaled") == 0


def test_placeholders_are_missing_and_counted(tmp_path):
    data = make_adata()
    data.obs["cell_type"] = np.where(np.arange(60) < 12, "UNASSIGNED", data.obs["cell_type"].astype(str))
    assert "'UNASSIGNED: 12'" in _codes(check_one(tmp_path, data))["W-IN-08"]
    assert "W-IN-08" not in _codes(check_one(tmp_path, data, missing_values="none"))
    parts = [pd.Series(["a", "Unknown", "b"]), pd.Series([1, 2, 3])]
    assert build_key(parts, placeholders_of("unknown")).tolist() == ["a+1", None, "b+3"]


def test_spellings_of_one_name():
    assert alike({"T cell": 1, "t_cell": 1, "T-Cell": 1, "B": 1, "b ": 1, "NK": 1}) == [
        ["B", "b "],
        ["T cell", "T-Cell", "t_cell"],
    ]


def test_silent_genes_need_expected_cells():
    cells = np.array([[50, 50, 3, 0], [50, 0, 0, 50]])
    (found,) = silent_genes(cells, np.array([100, 100]), ["a", "b"])
    assert found["values"]["batches"] == {"a": {"silent": 1, "of": 2}, "b": {"silent": 1, "of": 2}}
    assert silent_genes(cells[:, [0, 2]], np.array([100, 100]), ["a", "b"]) == []


def test_a_named_gene_column_is_taken_whatever_it_holds(tmp_path):
    data = make_adata()
    data.var_names = [f"Gene{i}" for i in range(40)]
    data.var["mine"] = data.var_names
    assert_says(check_one(tmp_path, data).errors, "0 of 40 genes have a gene symbol")
    outcome = check_one(tmp_path, data, row={"gene_symbol_column": "mine"})
    assert outcome.errors == [] and "'mine', which is taken as you name it" in _codes(outcome)["W-IN-05"]


def test_counts_of_every_storage_and_kind_are_the_same(tmp_path):
    expected = make_counts()
    for storage in ("csr", "csc", "dense"):
        for dtype in ("uint8", "int16", "int64", "float64", "bool"):
            counts = expected > 0 if dtype == "bool" else np.minimum(expected, 200)
            path = write(make_adata(counts, storage=storage, dtype=dtype), tmp_path / f"{storage}{dtype}.h5ad")
            with open_store(path) as store:
                assert find_counts(store).is_count
            np.testing.assert_array_equal(load_counts(path, "X").toarray(), counts.astype(np.float32))


def test_small_integers_stored_twice_are_summed_without_overflow(tmp_path):
    matrix = sparse.csr_matrix(
        (np.array([200, 100, 5], np.uint8), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2)
    )
    path = tmp_path / "d.h5ad"
    ad.AnnData(matrix).write_h5ad(path)
    np.testing.assert_array_equal(load_counts(path, "X").toarray(), [[0, 300], [5, 0]])


@pytest.mark.parametrize("on_error", ["continue", "stop"])
def test_a_data_set_that_fails_leaves_its_reason(tmp_path, on_error):
    outcome = check_one(tmp_path, make_adata())
    (tmp_path / "datasets.json").write_text(json.dumps(outcome.datasets))
    (tmp_path / "params.json").write_text(json.dumps(defaults(min_genes_per_cell=1000)))
    options = {"dataset": "d", "datasets": tmp_path / "datasets.json", "h5ad": tmp_path / "d.h5ad"}
    options |= {"params": tmp_path / "params.json", "outdir": tmp_path / "out", "on_error": on_error}
    argv = [part for k, v in options.items() for part in (f"--{k}", str(v))]
    if on_error == "stop":
        with pytest.raises(ScfmError, match="0 cells are left"):
            prepare_dataset.main(argv)
        return
    prepare_dataset.main(argv)
    status = json.loads((tmp_path / "out" / "d.prepare.status.json").read_text())
    assert status["status"] == "failed" and "0 cells are left" in status["reason"]
    assert (tmp_path / "out" / "d.prepared.h5ad").stat().st_size == 0
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize(("part", "value", "words"), [("indices", -1, "from -1"), ("indptr", 9999, "'indptr' falls")])
def test_every_reader_refuses_a_damaged_matrix(tmp_path, part, value, words):
    """The preparation, a recipe's source and the models read through the same checks as the first step."""
    from helpers_recipes import apply
    from scfm.models.core.reader import open_counts

    path = write(make_adata(), tmp_path / "d.h5ad")
    with h5py.File(path, "r+") as file:
        file[f"X/{part}"][5] = value
    for read in (
        lambda: load_counts(path, "X"),
        lambda: open_counts(path).scan(),
        lambda: apply(tmp_path, "sources: {a: {file: d.h5ad, keep: [{column: batch, in: [b0, b1, b2]}]}}"),
    ):
        with pytest.raises(ScfmError, match=f"damaged CSR matrix.*{words}"):
            read()
