"""Methods that are expected to need more memory than a task may have are named before anything starts."""

from __future__ import annotations

import pytest

from helpers_data import check_one, make_adata
from scfm.errors import ScfmError
from scfm.planning.memory import Need, bytes_of, memory_warnings, read_needs
from scfm.registries.methods import load_methods


@pytest.mark.parametrize(
    ("text", "expected"), [("128.GB", 2**37), ("1.5 TB", 1.5 * 2**40), ("512MB", 2**29), ("7 B", 7)]
)
def test_memory_is_read_as_nextflow_writes_it(text, expected):
    assert bytes_of(text) == expected


def test_a_memory_without_a_unit_is_an_error():
    with pytest.raises(ScfmError, match="--max_memory is 'lots'; expected a number with a unit"):
        bytes_of("lots")


def test_needs_follow_cells_and_genes():
    needs = read_needs()
    assert needs["SCANORAMA"].of(200_000, 20_000) > 2 * needs["HARMONY"].of(200_000, 20_000)
    assert Need(600, 10, 2).of(0, 20_000) == 600 * 2**20
    assert Need(0, 1, 2).of(100, 50) == 100 * (1024 + 100)


def test_only_what_runs_and_does_not_fit_is_named():
    data = {"dataset": "atlas", "n_cells": 1_000_000, "n_genes": 20_000}
    found = memory_warnings(
        data,
        ["pca", "scanorama", "scanorama", "shuffled", "imported_one"],
        load_methods(),
        limit="16.GB",
        needs=read_needs(),
    )
    (entry,) = found
    assert (entry["code"], entry["dataset"], entry["method"]) == ("W-COST-01", "atlas", "scanorama")
    assert "Scanorama is expected to need" in entry["text"]
    assert "1,000,000 cells and 20,000 genes; --max_memory allows 16.GB" in entry["text"]
    assert entry["values"]["needed_gb"] > 16


def test_the_check_of_a_run_says_it(tmp_path):
    methods = {"methods": "pca,harmony", "controls": "none"}
    assert (
        check_one(tmp_path, make_adata(), max_memory="4.GB", **methods).warnings
        == check_one(tmp_path, make_adata(), **methods).warnings
    )
    codes = [
        w["method"]
        for w in check_one(tmp_path, make_adata(), max_memory="500.MB", **methods).warnings
        if w["code"] == "W-COST-01"
    ]
    assert codes == ["pca", "harmony"]
