"""The six recipes on the stand-ins give what a plain computation with pandas and anndata gives, which uses nothing of
the engine.
"""

from __future__ import annotations

import csv
from functools import cache

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from helpers_recipes import RECIPES, SCENARIOS, STAND_INS, dense
from scfm.recipes.build import build
from scfm.recipes.recipe import load_recipe
from scfm.registries.datasets import load_catalogue

IMMUNE = {
    "macrophage": "Macrophages",
    "classical monocyte": "Monocytes",
    "non-classical monocyte": "Monocytes",
    "gamma-delta T cell": "Unconventional T cells",
    "mucosal invariant T cell": "Unconventional T cells",
    "mast cell": "Mast cells",
    "progenitor cell": "Progenitor cells",
    "plasmablast": "B cells",
    "plasma cell": "B cells",
}


def plain_immune_class(name: str) -> str | None:
    """Return the class of a Cell Ontology name, by what it is called."""
    if name in IMMUNE:
        return IMMUNE[name]
    for part, label in (
        ("killer", "NK cells"),
        ("CD4-positive", "CD4+ T cells"),
        ("CD8-positive", "CD8+ T cells"),
        ("B cell", "B cells"),
        ("innate lymphoid", "Innate lymphoid cells"),
        ("dendritic", "Dendritic cells"),
    ):
        if part in name:
            return label
    return None


def plain_lung_class(row: pd.Series) -> str | None:
    """Return the class of a cell: three rules, the first that matches."""
    if row["ann_level_3"] in ["Basal", "Multiciliated lineage", "Secretory", "AT1", "AT2"]:
        return row["ann_level_3"]
    if row["ann_level_2"] in ["Blood vessels", "Lymphatic EC", "Fibroblast lineage", "Smooth muscle"]:
        return row["ann_level_2"]
    if row["ann_level_3"] in [
        "B cell lineage",
        "T cell lineage",
        "Innate lymphoid cell NK",
        "Dendritic cells",
        "Macrophages",
        "Monocytes",
        "Mast cells",
    ]:
        return row["ann_level_3"]
    return None


def plain_one_file(scenario: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Return counts (cells x genes) and obs of a scenario with one file, and what got no label."""
    data = ad.read_h5ad(STAND_INS / next(iter(SCENARIOS[scenario][0].values())))
    obs, counts = (
        data.obs.astype(object),
        pd.DataFrame(data.raw.X.toarray(), index=data.obs_names, columns=data.raw.var_names),
    )
    if scenario == "liver":
        obs = obs[obs["cell_type"] != "unknown"]
        return counts.loc[obs.index], obs, {}
    if scenario == "Immune":
        obs = obs[obs["donor_id"] == "D529"].copy()
        obs["cell_type_level_2"] = obs["cell_type"].map(plain_immune_class)
    else:
        studies = {
            "HLCA_assay": ["Meyer_2019", "Schiller_2020"],
            "HLCA_disease": ["Thienpont_2018", "Meyer_2019"],
            "HLCA_sn": ["Sun_2020", "Meyer_2019"],
        }
        obs = obs[obs["study"].isin(studies[scenario])]
        obs = obs[obs["disease"] == "normal"] if scenario == "HLCA_assay" else obs
        obs = obs.assign(final_annotation=obs.apply(plain_lung_class, axis=1))
    label = SCENARIOS[scenario][1]
    left = obs[obs[label].isna()]
    obs = obs.dropna(subset=[label])
    source = (
        left["cell_type"]
        if scenario == "Immune"
        else left["ann_level_3"].replace("None", "(missing)") + " | " + left["ann_level_2"]
    )
    return counts.loc[obs.index], obs, source.value_counts().to_dict()


def plain_limb() -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Return counts and obs of the two species, with the ortholog rule written out step by step."""
    human, mouse = (ad.read_h5ad(STAND_INS / f"limb_{s}.h5ad") for s in ("human", "mouse"))
    mouse_cells = mouse.obs["sequencing_center"] == "Sanger"
    with (STAND_INS / "orthologs.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    human_to_mouse: dict[str, str] = {}
    for row in rows:
        h, m = row["Gene stable ID"], row["Mouse gene stable ID"]
        if h and m and h not in human_to_mouse and not h.startswith("["):
            human_to_mouse[h] = m
    mouse_to_human = {}
    for h, m in human_to_mouse.items():
        mouse_to_human[m] = h  # a later row of the table wins
    counts_h = pd.DataFrame(human.raw.X.toarray(), index=human.obs_names, columns=human.raw.var_names)
    counts_m = pd.DataFrame(mouse.raw.X.toarray(), index=mouse.obs_names, columns=mouse.raw.var_names)[
        mouse_cells.to_numpy()
    ]
    counts_h = counts_h[[g for g in counts_h.columns if g in human_to_mouse]]
    counts_m = counts_m[[g for g in counts_m.columns if g in mouse_to_human]].rename(columns=mouse_to_human)
    assert counts_m.columns.is_unique
    genes = sorted(set(counts_h.columns) & set(counts_m.columns))
    counts = pd.concat([counts_h[genes], counts_m[genes]])
    obs = pd.concat(
        [
            human.obs.astype(object).assign(organism="human"),
            mouse.obs[mouse_cells].astype(object).assign(organism="mouse"),
        ]
    )
    return counts, obs.drop(columns="leiden"), {}


@cache
def made(scenario: str, folder: str) -> tuple[dict, ad.AnnData]:
    """Return report and result of the engine."""
    from pathlib import Path

    files = {name: STAND_INS / file for name, file in SCENARIOS[scenario][0].items()}
    recipe = load_recipe(RECIPES / f"{scenario}.yml")
    tables = {"orthologs": STAND_INS / "orthologs.csv"} if recipe.tables else {}
    report = build(recipe, scenario, files, Path(folder), tables=tables)
    return report, ad.read_h5ad(Path(folder) / f"{scenario}.recipe.h5ad")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder for the results."""
    return str(tmp_path_factory.mktemp("recipes"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_rows_classes_genes_and_counts_equal_the_plain_computation(scenario: str, folder: str) -> None:
    report, data = made(scenario, folder)
    counts, obs, unmapped = plain_limb() if scenario == "limb" else plain_one_file(scenario)
    assert report["n_cells"] == data.n_obs == len(obs)
    assert data.obs["source_cell_id"].tolist() == obs.index.tolist()  # the same cells, in the order of the file
    assert data.obs_names.tolist() == [f"cell_{i}" for i in range(len(obs))]
    assert report["n_genes"] == data.n_vars == counts.shape[1]
    assert data.var_names.tolist() == counts.columns.tolist()
    assert data.X.format == "csr"
    assert data.X.dtype == np.float32
    np.testing.assert_array_equal(dense(data), counts.to_numpy())
    assert set(data.obs.columns) == {*obs.columns, "source_cell_id"}
    for column in obs.columns:
        theirs = obs[column].to_numpy(dtype=object)
        ours = data.obs[column].astype(object).to_numpy()
        assert [None if pd.isna(a) else a for a in ours] == [None if pd.isna(b) else b for b in theirs], column
    if report["labels"]:
        label = SCENARIOS[scenario][1]
        assert report["labels"]["column"] == label
        assert report["labels"]["classes"] == obs[label].value_counts().to_dict()
        assert report["labels"]["unmapped"] == unmapped
        assert sum(unmapped.values()) > 0
    assert report["warnings"] == [] or {w["code"] for w in report["warnings"]} == {"W-REC-02"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_batches_and_classes_are_those_of_the_catalogue(scenario: str, folder: str) -> None:
    _, data = made(scenario, folder)
    known = load_catalogue()[scenario]
    batch, label = data.obs[known.batch_key], data.obs[known.label_key]
    assert known.label_key == SCENARIOS[scenario][1]
    assert (batch.nunique(), label.nunique()) == (known.n_batches, known.n_labels)
    assert batch.notna().all()
    assert label.notna().all()
    assert isinstance(batch.dtype, pd.CategoricalDtype)
    assert isinstance(label.dtype, pd.CategoricalDtype)
    assert set(batch.cat.categories) == set(batch)  # no category is left that no cell has
    assert batch.value_counts().min() >= 10
    assert label.value_counts().min() >= 6
    assert 250 <= data.n_obs <= 450


def test_limb_has_the_symbols_of_the_human_genes_and_both_species_columns(folder: str) -> None:
    report, data = made("limb", folder)
    human = ad.read_h5ad(STAND_INS / "limb_human.h5ad").raw.var["feature_name"].astype(str)
    assert data.var["feature_name"].tolist() == human.loc[data.var_names].tolist()
    assert list(data.var_names) == sorted(data.var_names)
    is_mouse = (data.obs["organism"] == "mouse").to_numpy()
    assert data.obs.loc[is_mouse, "stage"].isna().all()
    assert data.obs.loc[~is_mouse, "sequencing_center"].isna().all()
    assert set(data.obs.loc[is_mouse, "sequencing_center"]) == {"Sanger"}
    assert report["dropped_columns"] == ["leiden"]
    assert [
        (s["name"], s["cells_in"] - s["cells_kept"], s["genes_in"], s["genes_kept"]) for s in report["sources"]
    ] == [("human", 0, 250, 220), ("mouse", 60, 250, 220)]
    assert report["sources"][1]["filters"] == [{"rule": "sequencing_center is Sanger", "dropped": 60}]


def test_liver_has_its_donors_and_c68_lacks_eleven_types(folder: str) -> None:
    _, data = made("liver", folder)
    table = pd.crosstab(data.obs["donor_id"], data.obs["cell_type"])
    assert (table.loc["C68"] > 0).sum() <= 7
    assert table.sum(axis=1).max() > 4 * table.sum(axis=1).min()


def test_an_earlier_rule_wins_over_a_later_one(folder: str) -> None:
    source = ad.read_h5ad(STAND_INS / "hlca.h5ad").obs.astype(str)
    seen = set()
    for scenario in ("HLCA_assay", "HLCA_disease", "HLCA_sn"):
        obs = made(scenario, folder)[1].obs.set_index("source_cell_id")
        both = source.loc[obs.index].query("ann_level_2 == 'Blood vessels' and ann_level_3 in ['AT2', 'Macrophages']")
        seen |= set(zip(both["ann_level_3"], obs.loc[both.index, "final_annotation"], strict=True))
    assert seen == {("AT2", "AT2"), ("Macrophages", "Blood vessels")}
