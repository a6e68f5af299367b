"""The input contract: every error of a file is found and said; every valid storage is accepted."""

from __future__ import annotations

import gzip

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest

from helpers_data import SHARED, assert_says, check, check_one, make_adata, make_counts, write
from scfm.errors import ScfmError
from scfm.io.store import open_store


@pytest.mark.parametrize("file", ["d.h5ad", "d.zarr"])
@pytest.mark.parametrize("storage", ["csr", "csc", "dense"])
@pytest.mark.parametrize("dtype", ["float32", "int32", "float64"])
def test_valid_storage_has_no_error(tmp_path, file, storage, dtype):
    outcome = check_one(tmp_path, make_adata(storage=storage, dtype=dtype), file=file)
    assert outcome.errors == []
    assert outcome.datasets[0]["counts_source"] == "X"
    assert outcome.datasets[0]["counts_storage"] == storage
    assert (outcome.datasets[0]["n_cells"], outcome.datasets[0]["n_genes"]) == (60, 40)


def test_zarr_of_format_3(tmp_path):
    with ad.settings.override(zarr_write_format=3):
        assert check_one(tmp_path, make_adata(storage="csc"), file="d.zarr").errors == []


def _logged(data: ad.AnnData) -> ad.AnnData:
    """Replace X by log data."""
    data.X = np.log1p(data.X)
    return data


@pytest.mark.parametrize(
    ("place", "row", "expected"),
    [
        ("layer", {"counts_layer": "umi"}, "layers/umi"),
        ("counts", {}, "layers/counts"),
        ("raw", {}, "raw"),
        ("raw", {"counts_layer": "raw"}, "raw"),
    ],
)
def test_counts_are_found_where_they_are(tmp_path, place, row, expected):
    data = make_adata()
    counts = data.X.copy()
    if place == "raw":
        data.raw = data.copy()
        data = data[:, :30].copy()
    else:
        data.layers["umi" if place == "layer" else "counts"] = counts
    outcome = check_one(tmp_path, _logged(data), row=row)
    assert outcome.errors == []
    assert outcome.datasets[0]["counts_source"] == expected
    assert outcome.datasets[0]["n_genes"] == 40  # raw keeps the genes that X has lost


def test_counts_layer_with_log_data_is_passed_over_with_a_warning(tmp_path):
    data = make_adata()
    data.layers["counts"] = np.log1p(data.X)
    outcome = check_one(tmp_path, data)
    assert outcome.errors == []
    assert outcome.datasets[0]["counts_source"] == "X"
    assert [w["code"] for w in outcome.warnings if w["code"].startswith("W-IN")] == ["W-IN-04"]


def test_log_data_is_refused_even_with_rounding(tmp_path):
    for rounding in (False, True):
        outcome = check_one(tmp_path, _logged(make_adata()), round_counts=rounding)
        said = assert_says(
            outcome.errors,
            "d (d.h5ad): X looks log-transformed (E-IN-02)",
            f"a maximum of {np.log1p(make_counts().max()):.4g}",
        )
        assert "counts_layer" in said


def test_fractions_are_refused_and_can_be_rounded(tmp_path):
    data = make_adata()
    data.X.data[:7] += 0.25
    outcome = check_one(tmp_path, data)
    said = assert_says(outcome.errors, "X holds fractions (E-IN-01): 7 values of", "0.25 from a whole number")
    assert "--round_counts" in said
    rounded = check_one(tmp_path, data, round_counts=True)
    assert rounded.errors == []
    assert [w["values"]["n_fractional"] for w in rounded.warnings if w["code"] == "E-IN-01"] == [7]


@pytest.mark.parametrize("storage", ["csr", "csc", "dense"])
@pytest.mark.parametrize(
    ("value", "words"), [(-2.0, "3 negative values"), (np.inf, "3 infinite values"), (np.nan, "3 NaN values")]
)
def test_bad_values_are_counted(tmp_path, storage, value, words):
    counts = make_counts()
    counts[[1, 2, 3], [4, 5, 6]] = value
    outcome = check_one(tmp_path, make_adata(counts, storage=storage))
    assert_says(outcome.errors, f"d (d.h5ad): X holds {words}")
    assert len(outcome.errors) == 1


def test_values_are_streamed_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr("scfm.io.matrix.BLOCK_VALUES", 50)
    counts = make_counts()
    counts[-1, -1] = 3.5  # in the last block only
    for storage in ("csr", "csc", "dense"):
        outcome = check_one(tmp_path, make_adata(counts, storage=storage))
        assert_says(outcome.errors, "fractions (E-IN-01): 1 value of")


def test_all_zero_is_no_count(tmp_path):
    outcome = check_one(tmp_path, make_adata(np.zeros((30, 20), dtype=np.float32)))
    assert_says(outcome.errors, "X holds no counts: no value is above zero")


def test_duplicate_ids(tmp_path):
    data = make_adata()
    data.obs_names = ["same", "same", "same", *data.obs_names[3:]]
    data.var_names = ["ACTB", "ACTB", *data.var_names[2:]]
    outcome = check_one(tmp_path, data)
    assert_says(
        outcome.errors,
        "1 cell id of the index of obs occurs more than once",
        "2 surplus rows",
        "'same'",
        "obs_names_make_unique()",
    )
    assert_says(outcome.errors, "1 gene id of the index of var occurs more than once", "1 surplus row", "'ACTB'")


def test_missing_columns_offer_the_nearest(tmp_path):
    row = {"batch_key": "bach", "label_key": "celltype", "donor_key": "patient", "gene_symbol_column": "sym"}
    outcome = check_one(tmp_path, make_adata(), row=row)
    assert_says(outcome.errors, "obs has no column 'bach' (column batch_key of the samplesheet). Did you mean 'batch'?")
    assert_says(outcome.errors, "obs has no column 'celltype'", "Did you mean 'cell_type'?")
    assert_says(outcome.errors, "obs has no column 'patient' (column donor_key")
    assert_says(outcome.errors, "var has no column 'sym' (column gene_symbol_column")


def test_missing_layer_offers_the_nearest(tmp_path):
    data = make_adata()
    data.layers["counts_raw"] = data.X.copy()
    outcome = check_one(tmp_path, data, row={"counts_layer": "count_raw"})
    assert_says(outcome.errors, "there is no layer 'count_raw'", "Did you mean 'counts_raw'?")
    assert_says(
        check_one(tmp_path, make_adata(), row={"counts_layer": "raw"}).errors,
        "asks for counts in 'raw', and the file has none",
    )


@pytest.mark.parametrize("gap", [None, np.nan, "", "nan", "NA"])
def test_cells_without_label_are_a_counted_warning(tmp_path, gap):
    data = make_adata()
    labels = data.obs["cell_type"].astype(object).to_numpy()
    labels[:4] = gap
    data.obs["cell_type"] = (
        pd.Categorical(labels) if gap is None else pd.Series(labels, index=data.obs_names, dtype=object)
    )
    outcome = check_one(tmp_path, data)
    assert outcome.errors == []
    warning = next(w for w in outcome.warnings if w["code"] == "E-IN-03")
    assert (warning["severity"], warning["dataset"], warning["values"]["n_missing"]) == ("warning", "d", 4)
    assert "4 cells of 60 have no label in 'cell_type'" in warning["text"]


def test_no_label_at_all_is_an_error(tmp_path):
    data = make_adata()
    data.obs["cell_type"] = np.nan
    assert_says(check_one(tmp_path, data).errors, "obs column 'cell_type' (label_key) is empty for all 60 cells")


def test_a_label_of_its_own_for_every_cell(tmp_path):
    """Cell ids as labels were scored, and ranked by what was left of the bio metrics."""
    data = make_adata()
    data.obs["cell_type"] = data.obs_names.to_numpy()
    assert_says(check_one(tmp_path, data).errors, "has a label of its own for every cell (60 labels")


def test_one_batch_only(tmp_path):
    data = make_adata()
    data.obs["batch"] = "only"
    assert_says(check_one(tmp_path, data).errors, "obs column 'batch' (batch_key) has one batch only ('only')")


def test_one_label_is_a_warning(tmp_path):
    data = make_adata()
    data.obs["cell_type"] = "T"
    outcome = check_one(tmp_path, data)
    assert outcome.errors == []
    assert "one label only ('T')" in next(w["text"] for w in outcome.warnings if w["code"] == "W-MET-02")


def test_too_few_cells_in_a_batch(tmp_path):
    data = make_adata()
    batch = data.obs["batch"].astype(str).to_numpy()
    batch[:2], batch[2:7] = "tiny", "small"
    data.obs["batch"] = batch
    outcome = check_one(tmp_path, data)
    assert_says(outcome.errors, "1 batch has fewer than 3 cells ('tiny: 2')")
    warning = next(w for w in outcome.warnings if w["code"] == "W-BATCH-01")
    assert (warning["values"], warning["threshold"]) == ({"small": 5}, 10)


@pytest.mark.parametrize("row", [{"label_key": "batch"}, {"batch_key": "donor;batch", "label_key": "cell_type;batch"}])
def test_batch_as_label_is_an_error(tmp_path, row):
    assert_says(
        check_one(tmp_path, make_adata(), row=row).errors,
        "'batch' is listed in batch_key and in label_key; the batch can't be the label.",
    )


def test_genes_without_a_name(tmp_path):
    data = make_adata()
    data.var_names = [f"gene_{i}" for i in range(40)]
    said = assert_says(check_one(tmp_path, data).errors, "0 of 40 genes have a gene symbol or an Ensembl id")
    assert "'gene_0', 'gene_1', 'gene_2'" in said
    data.var["feature_name"] = [f"ABC{i}" for i in range(40)]
    outcome = check_one(tmp_path, data)
    assert outcome.errors == []
    assert outcome.datasets[0]["genes"]["symbols_from"] == "feature_name"


def test_organism_is_held_against_the_ids(tmp_path):
    data = make_adata()
    data.var_names = [f"ENSMUSG{i:011d}.3" for i in range(40)]
    outcome = check_one(tmp_path, data, row={"organism": "Homo sapiens"})
    assert outcome.errors == []
    assert [w["values"] for w in outcome.warnings if w["code"] == "W-IN-06"] == [
        {"declared": "human", "found": "mouse"}
    ]
    assert not [w for w in check_one(tmp_path, data, row={"organism": "mouse"}).warnings if w["code"] == "W-IN-06"]


def test_composite_keys(tmp_path):
    outcome = check_one(tmp_path, make_adata(), row={"batch_key": "donor+time"})
    assert outcome.errors == []
    note = next(w for w in outcome.warnings if w["code"] == "I-KEY-01")
    assert note["values"] == {
        "parts": {"donor": 2, "time": 3},
        "levels": dict.fromkeys(("d0+0", "d0+1", "d0+2", "d1+0", "d1+1", "d1+2"), 10),
    }
    assert outcome.datasets[0]["batches"]["d0+1"] == 10
    outcome = check_one(tmp_path, make_adata(), row={"batch_key": "donor+tme"})
    assert_says(outcome.errors, "obs has no column 'tme'", "Did you mean 'time'?")


def test_unreadable_files(tmp_path):
    (tmp_path / "text.h5ad").write_text("no HDF5")
    whole = write(make_adata(), tmp_path / "whole.h5ad").read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    with h5py.File(tmp_path / "other.h5ad", "w") as handle:
        handle["numbers"] = [1, 2]
    (tmp_path / "empty.zarr").mkdir()
    rows = [
        {"dataset": n.split(".")[0], "h5ad": n, "batch_key": "batch", "label_key": "cell_type"}
        for n in ("text.h5ad", "cut.h5ad", "other.h5ad", "empty.zarr", "absent.h5ad")
    ]
    errors = check(tmp_path, rows).errors
    assert_says(errors, "text (text.h5ad): not a readable h5ad file")
    assert_says(errors, "cut (cut.h5ad): not a readable h5ad file")
    assert_says(errors, "other (other.h5ad): there is no 'obs', 'var' in the file; it is not an AnnData object")
    assert_says(errors, "empty (empty.zarr): not a readable zarr folder")
    assert_says(errors, "row 6, column 'h5ad': the file 'absent.h5ad' does not exist")
    assert len(errors) == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "It is empty"),
        (gzip.compress(b"AnnData", mtime=0), "compressed with gzip: decompress it"),
        (b"PK\x03\x04", "a zip archive: unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "download the file again"),
        (b"RDX3\n", "an R object"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, content, words):
    (tmp_path / "d.h5ad").write_bytes(content)
    with pytest.raises(ScfmError, match=words), open_store(tmp_path / "d.h5ad"):
        pass


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (["matrix/barcodes"], "scanpy.read_10x_h5"),
        (["matrix", "row_attrs", "col_attrs"], "a loom file"),
        (["mod/rna", "obs_map"], "a MuData file"),
        (["assays", "cell.names"], "an h5Seurat file"),
    ],
)
def test_an_hdf5_file_of_another_kind_is_named(tmp_path, groups, words):
    with h5py.File(tmp_path / "d.h5ad", "w") as handle:
        for name in groups:
            handle.create_group(name)
    with pytest.raises(ScfmError, match=words), open_store(tmp_path / "d.h5ad"):
        pass


def test_damaged_column_and_wrong_shapes_are_named(tmp_path):
    path = write(make_adata(), tmp_path / "d.h5ad")
    with h5py.File(path, "a") as handle:
        del handle["obs/cell_type"]  # still listed in column-order
        del handle["X"]
        handle["X"] = np.ones((59, 40))
    errors = check(
        tmp_path, [{"dataset": "d", "h5ad": "d.h5ad", "batch_key": "batch", "label_key": "cell_type"}]
    ).errors
    assert_says(errors, "'obs/cell_type' can't be read")
    assert_says(errors, "X has 59 rows and obs 60; the file is damaged")


def test_damaged_values_are_one_error_and_the_other_checks_run(tmp_path):
    data = make_adata()
    data.write_h5ad(tmp_path / "d.h5ad", compression="gzip")
    with h5py.File(tmp_path / "d.h5ad") as handle:
        place = handle["X/data"].id.get_chunk_info(0)
        offset, size = place.byte_offset, place.size
    with (tmp_path / "d.h5ad").open("r+b") as handle:
        handle.seek(offset)
        handle.write(b"\x00" * size)
    errors = check(tmp_path, [{"dataset": "d", "h5ad": "d.h5ad", "batch_key": "batch", "label_key": "nope"}]).errors
    assert_says(errors, "d (d.h5ad): a part of the file can't be read")
    assert_says(errors, "obs has no column 'nope'")
    assert len(errors) == 2


def test_object_without_x(tmp_path):
    data = make_adata()
    empty = ad.AnnData(obs=data.obs, var=data.var, layers={"counts": data.X})
    assert check_one(tmp_path, empty).datasets[0]["counts_source"] == "layers/counts"
    empty.layers = None
    assert_says(
        check_one(tmp_path, empty).errors, "there are no counts: neither layers['counts'] nor raw.X nor X exists"
    )


def test_file_of_anndata_0_7_keeps_its_categories(tmp_path):
    """Before 0.8 a categorical column was its codes, with the categories in a group beside it."""
    path = write(make_adata(), tmp_path / "d.h5ad")
    with h5py.File(path, "a") as handle:
        obs = handle["obs"]
        codes, names = obs["batch/codes"][:], obs["batch/categories"][:]
        del obs["batch"]
        obs["batch"] = codes
        obs["__categories/batch"] = names
        obs["batch"].attrs["categories"] = obs["__categories/batch"].ref
        obs.attrs["encoding-version"] = "0.1.0"
    outcome = check(tmp_path, [{"dataset": "d", "h5ad": "d.h5ad", "batch_key": "batch", "label_key": "cell_type"}])
    assert outcome.errors == []
    assert outcome.datasets[0]["batches"] == {"b0": 20, "b1": 20, "b2": 20}


def test_covariates_of_scvi_must_exist(tmp_path):
    errors = check_one(tmp_path, make_adata(), scvi_continuous_covariates="covariate,covariat").errors
    assert_says(errors, "obs has no column 'covariat'. Did you mean 'covariate'?")
    assert check_one(tmp_path, make_adata(), scvi_continuous_covariates="covariat", methods="pca").errors == []


def test_all_errors_of_all_files_in_one_run(tmp_path):
    bad = _logged(make_adata())
    bad.obs_names = ["same"] * 2 + list(bad.obs_names[2:])
    bad.obs["batch"] = "one"
    write(bad, tmp_path / "bad.h5ad")
    worse = make_counts()
    worse[0, :2], worse[1, 0] = (-1, np.nan), np.inf
    write(make_adata(worse, storage="csc"), tmp_path / "worse.zarr")
    rows = [
        {"dataset": "bad", "h5ad": "bad.h5ad", "batch_key": "batch", "label_key": "nope", "batch_rol": "technical"},
        {"dataset": "worse", "h5ad": "worse.zarr", "batch_key": "nope", "label_key": "cell_type"},
        {"dataset": "worse", "h5ad": "gone.h5ad", "batch_key": "batch", "label_key": "cell_type"},
    ]
    errors = check(tmp_path, rows, methods="harmny", n_hvg="many", sees=1).errors
    for parts in (
        ("Unknown parameter '--sees'. Did you mean '--seeds'?",),
        ("--n_hvg is 'many'; expected a whole number, at least 10",),
        ("unknown method 'harmny'", "'harmony'"),
        ("unknown column 'batch_rol'. Did you mean 'batch_role'?",),
        ("the dataset name 'worse' is in 2 rows",),
        ("log-transformed",),
        ("more than once",),
        ("one batch only",),
        ("bad", "no column 'nope'"),
        ("worse", "no column 'nope'"),
        ("1 NaN value;",),
        ("1 infinite value;",),
        ("1 negative value;",),
        ("'gone.h5ad' does not exist",),
    ):
        assert_says(errors, *parts)
    assert len(errors) == 14


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real data sets beside the checkout (../shared/data)")
def test_real_data_pass(tmp_path):
    rows = [
        {"dataset": "tech", "h5ad": str(SHARED / "pbmc_3tech.h5ad"), "batch_key": "batch", "label_key": "cell_type"},
        {
            "dataset": "ifnb",
            "h5ad": str(SHARED / "pbmc_ifnb.h5ad"),
            "batch_key": "condition",
            "label_key": "cell_type_marker",
        },
    ]
    outcome = check(tmp_path, rows)
    assert outcome.errors == []
    tech = outcome.datasets[0]
    assert (tech["n_cells"], tech["n_genes"], tech["counts_source"]) == (1200, 1767, "X")
    assert tech["batches"] == {"3pv1": 290, "3pv2": 480, "5p": 430}
    assert tech["genes"]["organism"] == "human"
