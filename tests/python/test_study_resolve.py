"""From a samplesheet of scenarios, ids, addresses and recipes to downloads and builds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers_pipeline import PROJECT
from scfm.inputs.samplesheet import Located
from scfm.registries.datasets import load_catalogue
from scfm.registries.methods import load_methods
from scfm.study.resolve import Known, Resolved, resolve_run, write_resolved

HLCA, IMMUNE = "9f222629-9e39-47d0-b83f-e08d610c7479", "1b350d0a-4535-4879-beb6-1142f3f94947"


def resolve(folder: Path, sheet: str, *, ortholog_table: str = "", params: dict | None = None) -> Resolved:
    (folder / "sheet.csv").write_text(sheet)
    known = Known(load_catalogue(), PROJECT / "assets" / "recipes", Located(None, folder), ortholog_table)
    return resolve_run(
        params or {"input": "sheet.csv", "outdir": "out"},
        schema=json.loads((PROJECT / "nextflow_schema.json").read_text()),
        input_schema=json.loads((PROJECT / "assets" / "schema_input.json").read_text()),
        methods=load_methods(),
        samplesheet=folder / "sheet.csv",
        known=known,
    )


def test_scenarios_take_keys_and_role_from_the_catalogue(tmp_path: Path) -> None:
    found = resolve(tmp_path, "dataset,h5ad\nmine,scenario:Immune\n")
    assert found.errors == []
    row = found.rows[0]
    assert row["h5ad"] == "mine.recipe.h5ad"
    assert (row["batch_key"], row["label_key"], row["batch_role"], row["scenario"]) == (
        "tissue",
        "cell_type_level_2",
        "biological",
        "Immune",
    )
    assert list(found.sources) == [f"cellxgene_{IMMUNE}"]
    assert found.builds[0]["recipe"] == "scenarios/Immune.yml"
    assert [s["key"] for s in found.builds[0]["sources"]] == [f"cellxgene_{IMMUNE}"]


def test_what_the_row_says_itself_wins_over_the_catalogue(tmp_path: Path) -> None:
    row = resolve(tmp_path, "dataset,h5ad,label_key,batch_role\nmine,scenario:liver,coarse,mixed\n").rows[0]
    assert (row["label_key"], row["batch_role"], row["batch_key"]) == ("coarse", "mixed", "donor_id")


def test_a_file_shared_by_three_scenarios_is_downloaded_once(tmp_path: Path) -> None:
    found = resolve(tmp_path, "dataset,h5ad\na,scenario:HLCA_assay\nb,scenario:HLCA_sn\nc,scenario:HLCA_disease\n")
    assert list(found.sources) == [f"cellxgene_{HLCA}"]
    assert len(found.builds) == 3


def test_limb_downloads_two_species_and_the_orthologs_unless_a_table_is_given(tmp_path: Path) -> None:
    found = resolve(tmp_path, "dataset,h5ad\nlimb,scenario:limb\n")
    kinds = [spec.kind for spec in found.sources.values()]
    assert sorted(kinds) == ["cellxgene", "cellxgene", "url"]
    selected = [spec.select for spec in found.sources.values() if spec.kind == "cellxgene"]
    assert all(selected)
    given = resolve(tmp_path, "dataset,h5ad\nlimb,scenario:limb\n", ortholog_table="mine.csv")
    assert [spec.kind for spec in given.sources.values()] == ["cellxgene", "cellxgene"]
    assert given.builds[0]["tables"] == [{"name": "orthologs", "path": "mine.csv", "relative_to": "samplesheet"}]


def test_ids_and_addresses_need_no_recipe(tmp_path: Path) -> None:
    found = resolve(
        tmp_path,
        f"dataset,h5ad,batch_key,label_key\na,cellxgene:{HLCA},b,l\nb,https://example.org/x/cells.h5ad?v=2,b,l\nc,own.h5ad,b,l\n",
    )
    assert found.errors == []
    assert found.builds == []
    assert [
        row["h5ad"].startswith(start)
        for row, start in zip(found.rows, ("cellxgene_", "url_cells_", "own.h5ad"), strict=True)
    ] == [True] * 3
    assert found.sources[f"cellxgene_{HLCA}"].dataset_id == HLCA
    assert [s.url for s in found.sources.values() if s.kind == "url"] == ["https://example.org/x/cells.h5ad?v=2"]


def test_a_recipe_of_the_user_takes_the_rows_own_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("name: mine\nsources:\n  cells:\n    keep: [{column: donor, equals: A}]\n")
    found = resolve(tmp_path, "dataset,h5ad,batch_key,label_key,recipe\na,own.h5ad,b,l,mine.yml\n")
    assert found.errors == []
    assert found.builds[0]["sources"] == [{"name": "cells", "path": "own.h5ad", "relative_to": "samplesheet"}]
    assert found.rows[0]["h5ad"] == "a.recipe.h5ad"
    assert "recipe" not in found.rows[0]


def test_a_recipe_with_places_of_its_own_needs_no_h5ad(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("name: mine\nsources:\n  cells: {file: data/x.h5ad}\n")
    found = resolve(tmp_path, "dataset,h5ad,batch_key,label_key,recipe\na,,b,l,mine.yml\n")
    assert found.errors == []
    assert found.builds[0]["sources"] == [{"name": "cells", "path": "data/x.h5ad", "relative_to": "recipe"}]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("a,scenario:livre,b,l,", "there is no scenario 'livre' in the catalogue. Did you mean 'liver'?"),
        ("a,cellxgene:liver,b,l,", "'cellxgene:liver' is no id of a data set"),
        ("a,own.h5ad,b,l,gone.yml", "column 'recipe': the file 'gone.yml' does not exist"),
        ("a,own.h5ad,b,l,placed.yml", "names its sources itself, so 'own.h5ad' would not be read"),
        ("a,,b,l,open.yml", "the source 'cells' does not say where it lies, so column 'h5ad' must name its file"),
        ("a,scenario:liver,b,l,open.yml", "has a recipe of its own"),
        ("a,own.h5ad,b,l,broken.yml", "broken.yml"),
    ],
)
def test_each_error_is_a_sentence_with_its_row(tmp_path: Path, row: str, sentence: str) -> None:
    (tmp_path / "placed.yml").write_text("name: placed\nsources:\n  cells: {file: data/x.h5ad}\n")
    (tmp_path / "open.yml").write_text("name: open\nsources:\n  cells: {}\n")
    (tmp_path / "broken.yml").write_text("name: broken\nsorces: {}\n")
    found = resolve(tmp_path, f"dataset,h5ad,batch_key,label_key,recipe\n{row}\n")
    assert any(sentence in error and error.startswith("sheet.csv: row 2: ") for error in found.errors), found.errors


def test_errors_of_parameters_and_of_every_row_are_reported_together(tmp_path: Path) -> None:
    found = resolve(
        tmp_path,
        "dataset,h5ad\na,scenario:x\nb,cellxgene:y\n",
        params={"input": "s.csv", "outdir": "o", "methods": "harmny"},
    )
    text = "\n".join(found.errors)
    assert "harmny" in text
    assert "row 2" in text
    assert "row 3" in text


def test_the_resolved_sheet_passes_the_samplesheets_own_check(tmp_path: Path) -> None:
    found = resolve(tmp_path, "dataset,h5ad,batch_key\na,own.h5ad,b\n")
    assert any("label_key" in error for error in found.errors)


def test_what_is_written_can_be_read_again(tmp_path: Path) -> None:
    found = resolve(tmp_path, "dataset,h5ad\nliver,scenario:liver\nlung,scenario:HLCA_sn\n")
    write_resolved(found, tmp_path / "out", "sheet.csv")
    assert (tmp_path / "out" / "errors.txt").read_text() == ""
    sources = json.loads((tmp_path / "out" / "sources.json").read_text())
    assert [s["key"] for s in sources] == sorted(s["key"] for s in sources)
    assert [b["dataset"] for b in json.loads((tmp_path / "out" / "builds.json").read_text())] == ["liver", "lung"]
    assert (tmp_path / "out" / "resolved" / "sheet.csv").read_text().startswith("dataset,h5ad,batch_key,")


def test_samplesheet_schema_and_catalogue_name_the_same_scenarios() -> None:
    schema = json.loads((PROJECT / "assets" / "schema_input.json").read_text())
    assert schema["items"]["properties"]["scenario"]["enum"] == list(load_catalogue())
    for scenario in load_catalogue().values():
        assert (PROJECT / "assets" / scenario.recipe).is_file()
        assert f"scenario:{scenario.name}" in (PROJECT / "assets" / "study" / "study.csv").read_text()
        assert f"scenario:{scenario.name}" in (PROJECT / "assets" / "study" / f"{scenario.name}.csv").read_text()


def test_fetching_a_scenario_by_hand_brings_what_the_pipeline_looks_for(tmp_path: Path) -> None:
    from argparse import Namespace

    from scfm.study.request import of_recipes

    keys = {spec.key for spec in of_recipes(Namespace(scenario=["liver", "HLCA_sn", "HLCA_assay", "limb"], recipe=[]))}
    found = resolve(
        tmp_path, "dataset,h5ad\n" + "".join(f"{s},scenario:{s}\n" for s in ("liver", "HLCA_sn", "HLCA_assay", "limb"))
    )
    assert keys == set(found.sources)
    assert len(keys) == 5
