"""Inputs that failed in real use: what ``shared/cases/README.md`` asks for, where that folder is laid.

Siblings that need no file are in ``test_bad_inputs.py`` and ``test_inputs_siblings.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import check_inputs
import import_embedding
import prepare_dataset
from helpers_data import SCHEMA
from scfm.inputs.params import with_defaults

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
    import anndata as ad

    status, _ = _prepare("wild/16-old-encoding-wide", tmp_path)
    assert status["status"] == "ok"
    obs = ad.read_h5ad(next(tmp_path.glob("*.prepared.h5ad")), backed="r").obs
    assert len(obs.columns) >= 502 and not set(obs["cell_type"].dropna()) & {str(i) for i in range(20)}


def test_genes_never_measured_are_told_and_left_out_on_request(tmp_path: Path) -> None:
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
