"""Where cells come from: reports of recipes and records of downloads reach the tables and the report."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from scfm.registries.datasets import load_catalogue
from scfm.report.sections.provenance import source_sections
from scfm.report.sections.record import changed_parameters, parameters_digest
from scfm.report.tables.collect import describe_datasets
from scfm.report.tables.load import Collected, _sort_json

RECORD = {
    "key": "cellxgene_x",
    "kind": "cellxgene",
    "url": "https://example.org/x.h5ad",
    "dataset_id": "id-1",
    "dataset_version_id": "v-2",
    "title": "Liver <b>",
    "sha256": "0123456789abcdef",
    "api": "https://example.org",
}
RECIPE: dict[str, Any] = {
    "dataset": "liver",
    "recipe": "liver",
    "description": "Healthy.",
    "n_cells": 90,
    "n_genes": 10,
    "filters": [{"rule": "n is 1", "dropped": 2}],
    "sources": [
        {
            "name": "all",
            "file": "x.h5ad",
            "cells_in": 120,
            "cells_kept": 100,
            "genes_in": 12,
            "genes_kept": 10,
            "filters": [{"rule": "cell_type is not unknown", "dropped": 20}],
            "record": RECORD,
        }
    ],
    "labels": {"column": "level_2", "classes": {"T": 90}, "unmapped": {"odd <i>": 5, "(missing)": 3}},
    "warnings": [
        {
            "code": "W-REC-02",
            "severity": "warning",
            "dataset": "liver",
            "method": "",
            "text": "8 cells",
            "values": {},
            "threshold": None,
        }
    ],
}


def html_of(row: dict[str, Any]) -> str:
    data = SimpleNamespace(row=lambda _name: row, catalogue=load_catalogue())
    sections = source_sections(data, "liver")  # type: ignore[arg-type]
    return "".join(str(s.data) + s.description for s in sections)


def test_files_of_recipes_and_downloads_are_sorted_to_their_data_set(tmp_path: Path) -> None:
    found = Collected(
        plan=None,
        datasets=[{"dataset": "liver", "h5ad": "liver.recipe.h5ad"}, {"dataset": "own", "h5ad": "cellxgene_x.h5ad"}],
    )  # type: ignore[arg-type]
    for name, content in (("liver.recipe.json", RECIPE), ("cellxgene_x.source.json", RECORD)):
        (tmp_path / name).write_text(json.dumps(content))
        _sort_json(tmp_path / name, found)
    described = {d["dataset"]: d for d in describe_datasets(found)}
    assert described["liver"]["recipe"]["n_cells"] == 90
    assert described["liver"]["download"] is None
    assert described["own"]["download"]["dataset_version_id"] == "v-2"
    assert [m["code"] for m in found.messages] == ["W-REC-02"]


def test_the_section_counts_what_was_dropped_and_by_which_rule() -> None:
    html = html_of({"recipe": RECIPE, "download": None})
    assert "90 of 120 cells" in html
    assert "cell_type is not unknown" in html
    assert "8 cells of no class" in html
    assert "odd &lt;i&gt;" in html
    assert "v-2" in html


def test_everything_from_the_outside_is_escaped() -> None:
    html = html_of({"recipe": RECIPE})
    assert "Liver <b>" not in html
    assert "Liver &lt;b&gt;" in html


def test_a_download_without_recipe_has_its_record_and_a_file_of_ones_own_no_section() -> None:
    assert "id-1" in html_of({"recipe": None, "download": RECORD})
    assert html_of({"recipe": None, "download": None}) == ""


def test_a_scenario_says_whom_to_cite() -> None:
    html = html_of({"recipe": RECIPE, "scenario": "Immune"})
    assert "10.1038/s41590-025-02241-4" in html
    assert "CC BY 4.0" in html
    assert "To cite" not in html_of({"recipe": RECIPE, "scenario": ""})


def test_only_parameters_that_differ_from_their_defaults_are_listed() -> None:
    defaults = {"balanced": True, "umap": False, "n_hvg": 2000, "seeds": "0", "weights_dir": None}
    same = {"balanced": True, "umap": None, "n_hvg": "2000", "seeds": 0, "weights_dir": ""}
    assert changed_parameters(same, defaults) == changed_parameters({"balanced": "true"}, defaults) == []
    changed = {"balanced": False, "umap": True, "n_hvg": 500, "seeds": "0,1", "weights_dir": "w"}
    assert changed_parameters(changed, defaults) == [
        ["balanced", "false", "true"],
        ["n_hvg", "500", "2000"],
        ["seeds", "0,1", "0"],
        ["umap", "true", "false"],
        ["weights_dir", "w", "not set"],
    ]


def test_the_digest_of_the_parameters_is_that_of_the_settings_alone() -> None:
    settings = {"n_hvg": 2000, "seeds": "0", "outdir": "a", "input": "a.csv", "run": {"command": "x"}}
    same = {"seeds": "0", "n_hvg": 2000, "outdir": "b", "input": "b.csv", "report_title": "b"}
    assert parameters_digest(settings) == parameters_digest(same)
    assert parameters_digest(settings) != parameters_digest(settings | {"n_hvg": 1500})
