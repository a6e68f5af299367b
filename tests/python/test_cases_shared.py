"""Inputs that failed in real use: what ``shared/cases/README.md`` asks for, where that folder is laid.

Siblings that need no file are in ``test_bad_inputs.py`` and ``test_inputs_siblings.py``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

import apply_recipe
import check_inputs
import import_embedding
import prepare_dataset
from helpers_data import SCHEMA
from helpers_modules import ASSETS, call
from scfm.errors import ScfmError
from scfm.inputs.params import with_defaults
from scfm.metrics.registry import load_metrics

CASES = next((p / "shared" / "cases" for p in Path(__file__).parents if (p / "shared" / "cases").is_dir()), Path())
pytestmark = pytest.mark.skipif(not CASES.parts, reason="needs shared/cases beside the checkout")

#: folder -> parameters, what the one sentence says (empty: no error), messages and what they say
CHECKED: dict[str, tuple[dict, tuple[str, ...], dict[str, str]]] = {
    "wild/06-rawvar-index-column": ({}, (), {"W-IN-07": "'_index'"}),
    "wild/07-seuratdisk-factors": ({}, (), {"E-IN-03": "20 cells of 500 have no label"}),
    "wild/08-outer-join-nan": ({}, ("589 in batch '5p'", "as an outer join", "fill the gaps with zeros"), {}),
    "wild/10-ambient-lowdepth": ({}, ("E-IN-02", "E-IN-01", "--round_counts"), {}),
    "wild/13-raw-duplicate-symbols": ({}, ("2 gene ids of the index of raw/var", "adata.raw.to_adata()"), {}),
    "wild/14-barnyard-prefixes": ({}, (), {"W-IN-11": "two species"}),
    "wild/32-barcode-as-batch": ({}, ("every cell is its own batch", "Is it a column of ids?"), {}),
    "wild/33-label-spaces-case": ({}, (), {"W-IN-09": "'T_CD4' (127) = 't_cd4' (24)"}),
    "wild/34-counts-in-other-layer": ({}, ("the layer 'raw_counts'",), {}),
    "wild/36-rounded-tpm": ({}, (), {"W-IN-10": "no raw counts"}),
    "wild/38-unknown-labels": ({}, (), {"W-IN-08": "'Unknown: "}),
    "wild/50-odd-columns": ({}, (), {"W-IN-07": "'visit'"}),
    "hostile/anndata/X_compound": ({}, ("records of several values",), {}),
    "hostile/anndata/batch_float_inf": ({}, ("70 infinite values",), {}),
    "hostile/anndata/csr_index_neg": ({}, ("damaged CSR matrix", "from -1"), {}),
    "hostile/anndata/csr_index_oob": ({}, ("damaged CSR matrix", "to 100,000"), {}),
    "hostile/anndata/csr_indptr_nonmono": ({}, ("damaged CSR matrix", "'indptr' falls"), {}),
    "hostile/anndata/dtype_complex64": ({}, ("complex numbers",), {}),
    "hostile/anndata/dtype_float16": ({}, ("float16",), {}),
    "hostile/anndata/float64_1e300": ({}, ("above 16,777,216",), {}),
    "hostile/anndata/int64_huge": ({}, ("above 16,777,216",), {}),
    "hostile/anndata/obs_col_short": ({}, ("column 'batch' of obs has 100 values",), {}),
}


def _check(folder: Path, outdir: Path, **params: object) -> tuple[list[str], list[dict], list[dict]]:
    """Run the check; return errors, messages and data sets."""
    sheet = next(folder.glob("*sheet.csv"))
    given = {"input": str(sheet), "outdir": "results", **params}
    (outdir / "params.json").write_text(json.dumps(given))
    (outdir / "all.json").write_text(json.dumps(with_defaults(given, SCHEMA)))
    check_inputs.main(
        ["--params", str(outdir / "params.json"), "--input", str(sheet), "--outdir", str(outdir), "--quiet"]
    )
    read = [json.loads((outdir / f"{name}.json").read_text()) for name in ("input_warnings", "datasets")]
    return (outdir / "errors.txt").read_text().splitlines(), *read


@pytest.mark.parametrize("name", CHECKED)
def test_the_check_says_it(name: str, tmp_path: Path) -> None:
    params, words, messages = CHECKED[name]
    errors, warnings, _ = _check(CASES / name, tmp_path, **params)
    assert len(errors) == bool(words), errors
    assert all(word in errors[0] for word in words), errors
    for code, text in messages.items():
        assert [w for w in warnings if w["code"] == code and text in w["text"]], warnings


def test_an_old_file_is_one_sentence(tmp_path: Path) -> None:
    errors, _, _ = _check(CASES / "wild/17-anndata-0.6", tmp_path)
    of_file = [f for f in errors if "(d.h5ad)" in f]  # the case's name is no valid name of a data set either
    assert len(of_file) == 1 and "before 0.7" in of_file[0]


def _prepare(name: str, outdir: Path, **params: object) -> tuple[dict, dict]:
    """Check and prepare a case; return status and facts."""
    errors, _, datasets = _check(CASES / name, outdir, **params)
    assert errors == []
    dataset = datasets[0]["dataset"]
    options = {"dataset": dataset, "datasets": outdir / "datasets.json", "params": outdir / "all.json"}
    options |= {"h5ad": CASES / name / "d.h5ad", "outdir": outdir, "on_error": "continue"}
    prepare_dataset.main([part for k, v in options.items() for part in (f"--{k}", str(v))])
    facts = outdir / f"{dataset}.facts.json"
    status = json.loads((outdir / f"{dataset}.prepare.status.json").read_text())
    return status, json.loads(facts.read_text()) if facts.stat().st_size else {}


def test_factors_are_their_names_and_gaps_are_missing(tmp_path: Path) -> None:
    status, facts = _prepare("wild/07-seuratdisk-factors", tmp_path)
    assert status["status"] == "ok" and set(facts["batches"]) == {"3pv1", "3pv2", "5p"}
    assert facts["dropped"] == {"no_label": 20} and set(facts["labels"]) >= {"B", "T_CD4", "Mono_CD14"}


def test_a_wide_old_file_keeps_its_columns(tmp_path: Path) -> None:
    status, _ = _prepare("wild/16-old-encoding-wide", tmp_path)
    assert status["status"] == "ok"
    obs = ad.read_h5ad(next(tmp_path.glob("*.prepared.h5ad")), backed="r").obs
    assert len(obs.columns) >= 502 and not set(obs["cell_type"].dropna()) & {str(i) for i in range(20)}


def test_genes_never_measured_are_reported_and_left_out_on_request(tmp_path: Path) -> None:
    _, facts = _prepare("wild/09-outer-join-zeros", tmp_path)
    said = [w["text"] for w in facts["warnings"] if w["code"] == "W-GENE-01"]
    assert len(said) == 1 and "'5p: 237 of 476'" in said[0]
    _, shared = _prepare("wild/09-outer-join-zeros", tmp_path, shared_genes=True)
    assert shared["n_genes"] == 449 and shared["dropped"]["unshared_genes"] == facts["n_genes"] - 449


def test_unknown_labels_are_not_scored(tmp_path: Path) -> None:
    _, facts = _prepare("wild/38-unknown-labels", tmp_path)
    dropped = pd.read_csv(next(tmp_path.glob("*.dropped_cells.tsv")), sep="\t")
    assert facts["n_scored"] == facts["n_cells"] - facts["dropped"]["no_label"]
    assert not {"Unknown", "unassigned"} & set(facts["labels"])
    assert set(dropped["reason"]) == {"no_label"} and dropped["detail"].str.contains("is a placeholder").all()


def test_a_filter_is_counted_per_batch(tmp_path: Path) -> None:
    status, facts = _prepare("wild/40-filter-leaves-no-cell", tmp_path, min_genes_per_cell=100)
    said = [w["text"] for w in facts["warnings"] if w["code"] == "W-QC-02"]
    assert status["status"] == "ok" and len(said) == 1 and "'5p: 183 of 183'" in said[0]
    status, facts = _prepare("wild/40-filter-leaves-no-cell", tmp_path, min_genes_per_cell=250)
    assert status["status"] == "failed" and facts == {}
    assert "after the filters" in status["reason"] or "cells are left" in status["reason"]


@pytest.mark.parametrize(
    ("name", "n_dims", "text"),
    [
        ("csv_index_and_cellid/e.csv", 5, "was not taken as a dimension"),
        ("csv_numeric_meta/e.csv", 6, "'cluster' may be a column of another kind"),
        ("parquet_shuffled_index/e.parquet", 5, "'__index_level_0__'"),
        ("gz_crc/e.csv.gz", 0, "e.csv.gz"),
        ("npz_bytes_latin/e.npz", 0, "not UTF-8"),
        ("pq_flip/e.parquet", 0, "e.parquet"),
    ],
)
def test_imports(name: str, n_dims: int, text: str, tmp_path: Path) -> None:
    pd.DataFrame({"cell_id": ["a"], "batch": ["b"], "label": ["l"]}).to_parquet(tmp_path / "obs.parquet")
    options = {"dataset": "d", "name": "e", "source": CASES / "hostile/import" / name, "obs": tmp_path / "obs.parquet"}
    import_embedding.main([part for k, v in {**options, "outdir": tmp_path}.items() for part in (f"--{k}", str(v))])
    status = json.loads((tmp_path / "d.e.raw.0.embed.status.json").read_text())
    if not n_dims:
        assert status["status"] == "failed" and text in status["reason"] and "Unexpected" not in status["reason"]
        return
    sidecar = json.loads((tmp_path / "d.e.raw.0.unchecked.json").read_text())
    assert sidecar["n_dims"] == n_dims and [w for w in sidecar["warnings"] if text in w["text"]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("yaml_date", "a value can't be read"),
        ("yaml_deep", "deeper than 20 levels"),
        ("yaml_map_bomb", "aliases"),
        ("yaml_recursive", "aliases"),
    ],
)
def test_options_of_models_are_refused_in_a_sentence(name: str, text: str, tmp_path: Path) -> None:
    folder = CASES / "hostile/params" / name
    errors, _, _ = _check(folder, tmp_path, models="scgpt", model_options=str(folder / "m.yml"))
    said = [error for error in errors if "m.yml" in error]
    assert len(said) == 1 and text in said[0], errors


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("recipe/rename_id/r.yml", "'_index'"),
        ("recipe/set_empty/r.yml", "set"),
        ("recipe/src_csr_index_neg/r.yml", "damaged CSR matrix"),
    ],
)
def test_recipes_are_refused_in_a_sentence(name: str, text: str, tmp_path: Path) -> None:
    given = ["--recipe", str(CASES / "hostile" / name), "--dataset", "d", "--outdir", str(tmp_path)]
    source = f"a={CASES / 'hostile/anndata/csr_index_neg/d.h5ad'}"
    with pytest.raises(ScfmError) as refusal:
        apply_recipe.main([*given, "--source", source])
    assert text in str(refusal.value)


def _scores(folder: Path, dataset: str) -> pd.DataFrame:
    """Integrate and score a prepared data set; return the values over all cells, a column per method."""
    found = {}
    obs, pca = folder / f"{dataset}.obs.parquet", folder / f"{dataset}.pca.parquet"
    for method in ("pca", "harmony"):
        stem = f"{dataset}.{method}.raw.0"
        call(
            "integrate_cells",
            method=method,
            dataset=dataset,
            prepared=folder / f"{dataset}.prepared.h5ad",
            obs=obs,
            pca=pca,
            params=folder / "all.json",
            methods_table=ASSETS / "methods.tsv",
            outdir=folder,
        )
        unchecked = {"embedding": folder / f"{stem}.unchecked.parquet", "sidecar": folder / f"{stem}.unchecked.json"}
        call("validate_embedding", **unchecked, obs=obs, outdir=folder)
        of_one = {"embedding": folder / f"{stem}.parquet", "sidecar": folder / f"{stem}.json", "obs": obs}
        call("find_neighbors", **of_one, k=90, outdir=folder)
        call("score_embedding", **of_one, pca=pca, knn=folder / f"{stem}.knn.npz", profile="full", outdir=folder)
        table = pd.read_csv(folder / f"{stem}.scores.tsv", sep="\t")
        found[method] = table[table["group"] == "all"].set_index("metric")["value"]
    return pd.DataFrame(found)


def _seurat_twin(path: Path) -> ad.AnnData:
    """Return a SeuratDisk file decoded here: names are in ``__categories``, the smallest integer is a gap."""
    with h5py.File(path) as file:
        ids = file["obs/_index"].asstr()[()]
        columns = {}
        for name in ("orig.ident", "cell_type"):
            levels = file["obs/__categories"][name].asstr()[()]
            columns[name] = pd.Categorical([levels[c] if c >= 0 else None for c in file["obs"][name][()]])
        counts, genes = file["raw/X"], file["raw/var/_index"].asstr()[()]
        values = csr_matrix((counts["data"][()], counts["indices"][()], counts["indptr"][()]), (len(ids), len(genes)))
    return ad.AnnData(values, obs=pd.DataFrame(columns, index=ids), var=pd.DataFrame(index=genes))


def _labelled_twin(path: Path) -> ad.AnnData:
    """Return the file with no label where it says that there is none."""
    adata = ad.read_h5ad(path)
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.remove_categories(["Unknown", "unassigned"])
    return adata


def _shared_twin(path: Path) -> ad.AnnData:
    """Return the file with the genes that have counts in every batch."""
    adata = ad.read_h5ad(path)
    seen = [
        adata.X[(adata.obs["batch"] == batch).to_numpy()].sum(axis=0).A1 > 0 for batch in adata.obs["batch"].unique()
    ]
    return adata[:, np.logical_and.reduce(seen)].copy()


@pytest.mark.parametrize(
    ("name", "twin_of", "params"),
    [
        ("wild/07-seuratdisk-factors", _seurat_twin, {}),
        ("wild/38-unknown-labels", _labelled_twin, {}),
        ("wild/09-outer-join-zeros", _shared_twin, {"shared_genes": True}),
    ],
)
def test_scores_are_those_of_a_clean_twin(name: str, twin_of: Callable, params: dict, tmp_path: Path) -> None:
    case, twin = tmp_path / "case", tmp_path / "twin"
    clean = tmp_path / "clean"
    for folder in (case, twin, clean):
        folder.mkdir()
    twin_of(CASES / name / "d.h5ad").write_h5ad(clean / "d.h5ad")
    shutil.copy(next((CASES / name).glob("*sheet.csv")), clean / "samplesheet.csv")
    found = []
    for source, folder, more in ((name, case, params), (str(clean), twin, {})):
        status, facts = _prepare(source, folder, n_pcs=20, **more)
        assert status["status"] == "ok"
        found.append(_scores(folder, facts["dataset"]))
    pd.testing.assert_frame_equal(*found)
    batch, bio = found[0].loc["kbet"], found[0].loc["leiden_nmi"]
    assert batch["harmony"] > batch["pca"] and bio["harmony"] > bio["pca"] - 0.05


def test_labels_of_one_batch_give_no_batch_score(tmp_path: Path) -> None:
    status, facts = _prepare("wild/51-one-batch-labelled", tmp_path)
    assert status["status"] == "ok"
    dataset = facts["dataset"]
    _scores(tmp_path, dataset)
    groups = load_metrics()
    for method in ("pca", "harmony"):
        table = pd.read_csv(tmp_path / f"{dataset}.{method}.raw.0.scores.tsv", sep="\t")
        whole = table[table["group"] == "all"].set_index("metric")
        batch = [name for name in whole.index if groups[name].group == "batch"]
        assert batch and whole.loc[batch, "value"].isna().all()
        assert set(whole.loc[batch, "reason"]) == {"one_batch"}
        assert whole.loc["leiden_nmi", "status"] == "ok"
