"""The published numbers as files: complete, consistent with themselves, and refused when broken."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import numpy as np
import pytest

from helpers_report import ASSETS
from scfm.errors import ScfmError
from scfm.fetch.discover import OFFICIAL
from scfm.io.tables import read_json
from scfm.registries.datasets import load_catalogue
from scfm.registries.methods import load_methods
from scfm.registries.reader import read_registry
from scfm.study.comparable import OFFICIAL_HOST, SETTINGS, cell_doubts, other_settings
from scfm.study.compare import CLASSICAL
from scfm.study.published import BATCH, BIO, MEANS, METRICS, TABLES, Published, load_published


@pytest.fixture(scope="module")
def published() -> Published:
    return load_published()


@pytest.fixture(scope="module")
def wide(published):
    """One row per scenario, method and correction."""
    return published.scib.pivot_table(
        index=["scenario", "method", "correction"], columns="metric", values="value", aggfunc="first"
    )


def test_every_row_of_the_studys_tables_is_there_with_all_its_values(published, wide):
    assert len(published.scib) == 120 * 8 and len(wide) == 120 and wide.notna().all(axis=None)
    assert set(wide.columns) == {*METRICS, *MEANS}
    sizes = wide.groupby(["scenario", "correction"]).size().unstack()
    assert len(sizes) == 6 and (sizes["raw"] == 12).all() and (sizes["center_l2"] == 8).all()
    assert not set(wide.xs("center_l2", level="correction").index.get_level_values("method")) & set(CLASSICAL)


def test_bio_batch_and_total_agree_with_the_printed_metrics_within_rounding(wide):
    # a printed mean and printed parts are each off by at most half a unit of the second decimal
    limit = 0.01 + 1e-9
    assert (wide[list(BIO)].mean(axis=1) - wide["bio"]).abs().max() <= limit
    assert (wide[list(BATCH)].mean(axis=1) - wide["batch"]).abs().max() <= limit
    assert (0.5 * wide["bio"] + 0.5 * wide["batch"] - wide["total"]).abs().max() <= limit


def test_names_are_those_of_the_pipeline(published):
    known = {*load_methods(), *read_registry(ASSETS / "models.tsv", kind="model")}
    for table in (published.scib, published.probing, published.models):
        assert set(table["method"]) <= known
    assert set(published.scenarios()) == set(load_catalogue()) == set(published.scaling["scenario"])
    assert set(published.models["method"]) == set(published.scib["method"]) - set(CLASSICAL)


def test_true_data_sets_are_behind_the_swapped_panel_titles(published, wide):
    """The printed correlations fit the totals of the data set named here, and of no other, within the rounding of the
    totals.
    """
    sizes = published.models.set_index("method")
    totals = wide["total"].xs("raw", level="correction").unstack("scenario").loc[sizes.index]
    for x in ("parameters", "cells"):
        printed = published.scaling[published.scaling["x"] == x].set_index("scenario")["pearson_r"]
        ours = {s: np.corrcoef(np.log2(sizes[f"{x}_millions"]), totals[s])[0, 1] for s in printed.index}
        assert all(abs(ours[s] - printed[s]) < 0.045 for s in printed.index), (ours, printed)
    by_title = published.scaling.set_index("printed_title")["scenario"].to_dict()
    assert {k: by_title[k] for k in ("Tissue", "Donor", "Assay", "RNA source")} == {
        "Tissue": "liver",
        "Donor": "Immune",
        "Assay": "HLCA_sn",
        "RNA source": "HLCA_assay",
    }


def test_probing_has_only_what_can_be_read_of_one_method(published):
    rows = published.probing.set_index(["scenario", "method", "correction", "target", "metric"])
    assert len(rows) == 193 and rows.index.is_unique
    assert rows.loc[("liver", "harmony", "raw", "batch", "macro_f1"), "value"] == 0.12
    assert rows.loc[("liver", "pca", "raw", "batch", "macro_f1"), "precision"] == "approximate"
    assert tuple(rows.loc[("limb", "cellplm", "center_l2", "batch", "macro_f1"), ["low", "high"]]) == (0.60, 0.85)
    for absent in [
        ("HLCA_disease", "nicheformer", "center_l2", "batch", "macro_f1"),
        ("liver", "scgpt", "raw", "batch", "accuracy"),
        ("liver", "pca", "raw", "label", "accuracy"),
    ]:
        assert absent not in rows.index
    assert set(rows["error"].xs("raw", level="correction")) == {0.01} and set(
        rows["error"].xs("center_l2", level="correction")
    ) == {0.02}


@pytest.mark.parametrize("table", TABLES)
def test_schemas_are_valid_and_hold_the_rows(published, table):
    schema = read_json(ASSETS / f"schema_published_{table}.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    rows = getattr(published, table).astype(object)
    records = rows.where(rows.notna(), None).to_dict("records")
    assert not list(jsonschema.Draft202012Validator(schema).iter_errors(records))


def broken(tmp_path: Path, name: str, old: str, new: str) -> Path:
    """Return a copy of the published tables with one text replaced."""
    shutil.copytree(ASSETS / "published", tmp_path / "published")
    for schema in ASSETS.glob("schema_published_*.json"):
        shutil.copy(schema, tmp_path)
    path = tmp_path / "published" / f"{name}.tsv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path.parent


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        (
            "scib",
            "limb\tpca\traw\tleiden_nmi\t0.47",
            "limb\tpca\traw\tleiden_nmi\t4.7",
            "against maximum 1, first: 4.7",
        ),
        ("scib", "limb\tpca\traw\tleiden_ari", "limb\tpca\traw\tleiden_nmi", "repeat a key"),
        ("scib", "limb\tpca", "limp\tpca", "against enum"),
        ("models", "316", "many", "'parameters_millions': 1 values are not of type number"),
        ("probing", "\t0.64\t\t\texact", "\t\t\t\texact", "1 rows have neither a value alone nor a range alone"),
        ("probing", "\t\t0.60\t0.85\trange", "\t\t0.85\t0.60\trange", "1 rows have neither"),
    ],
)
def test_a_broken_table_is_refused_in_a_sentence(tmp_path, name, old, new, words):
    with pytest.raises(ScfmError, match=re.escape(words)):
        load_published(broken(tmp_path, name, old, new))


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(ScfmError, match=r"scib\.tsv does not exist"):
        load_published(tmp_path, ASSETS)


# ---------------------------------------------------------------- the study's cells and settings

RECORD = {"kind": "cellxgene", "api": OFFICIAL, "url": "https://datasets.example/x.h5ad"}


def row_of(record=None, *, n_cells=68429, n_batches=16, **other):
    """Return an entry of ``datasets.json`` made by a recipe from one file."""
    prepared = {"n_cells": n_cells, "batches": {f"d{i}": 1 for i in range(n_batches)}}
    return {
        "dataset": "own",
        "prepared": prepared,
        "recipe": {"sources": [{"name": "all", "file": "x.h5ad", "record": record}]},
        **other,
    }


def test_the_official_host_is_the_one_that_downloads_come_from():
    assert urlsplit(OFFICIAL).hostname == OFFICIAL_HOST


def test_the_studys_own_cells_raise_no_doubt():
    assert cell_doubts(row_of(RECORD), n_cells=68429, n_batches=16) == ([], [])


def test_other_numbers_of_cells_and_batches_and_mirrors_are_reported():
    differs, unknown = cell_doubts(
        row_of({**RECORD, "api": "http://127.0.0.1:8123/x"}, n_cells=600, n_batches=4), n_cells=68429, n_batches=16
    )
    assert differs == [
        "There are 600 cells here and 68,429 in the study.",
        "There are 4 batches here and 16 in the study.",
        "x.h5ad came from 127.0.0.1, not from CELLxGENE Discover (api.cellxgene.cziscience.com).",
    ]
    assert unknown == []


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "url", "url": "https://mirror.example/x.h5ad", "api": None},
        {**RECORD, "api": "mirror.example/api"},
        {**RECORD, "api": "https://api.cellxgene.cziscience.com.mirror.example"},
    ],
)
def test_a_plain_address_and_a_host_that_only_looks_official_are_mirrors(record):
    (text,), _ = cell_doubts(row_of(record), n_cells=68429, n_batches=16)
    assert "mirror.example, not from CELLxGENE" in text


def test_what_can_not_be_checked_is_reported():
    differs, unknown = cell_doubts({"dataset": "own", "h5ad": "mine.h5ad"}, n_cells=None, n_batches=10)
    assert differs == [] and len(unknown) == 2
    assert "does not state how many cells" in unknown[0] and "mine.h5ad" in unknown[1]
    assert "the preparation left no facts" in cell_doubts({"dataset": "own"}, n_cells=5)[1][0]


def test_settings_other_than_the_studys_are_reported_and_text_counts_as_its_number():
    params = {"n_hvg": "2000", "harmony_lambda": 1.0, "hvg_flavor": "seurat_v3", "scvi_max_epochs": 20, "outdir": "x"}
    assert other_settings(params) == [("hvg_flavor", "seurat_v3", "cell_ranger"), ("scvi_max_epochs", 20, None)]
    assert other_settings(SETTINGS) == []


def test_the_paper_profile_has_the_same_settings():
    text = (ASSETS.parent / "conf" / "paper.config").read_text()
    found = {k: v.strip("'") for k, v in re.findall(r"^\s+(\w+)\s+= ('[^']*'|[^\s/]+)", text, re.MULTILINE)}
    params = {k: None if v == "null" else v for k, v in found.items()}
    assert set(SETTINGS) <= set(params)
    assert other_settings(params) == []
