"""The committed stand-ins are what the generator makes, have the quirks of the real files, and are small."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from helpers_recipes import STAND_INS
from scfm.recipes.recipe import load_recipe
from scfm.registries.reader import ASSETS
from scfm.testing.mirror import load_mirror
from scfm.testing.stand_in_cells import deal
from scfm.testing.stand_ins import make_stand_ins, write_stand_ins

FILES = ["Immune.h5ad", "hlca.h5ad", "limb_human.h5ad", "limb_mouse.h5ad", "liver.h5ad", "liver_all.h5ad"]


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the stand-ins made again."""
    folder = tmp_path_factory.mktemp("stand_ins")
    write_stand_ins(folder)
    return folder


def test_the_committed_files_are_those_of_the_generator(again: Path) -> None:
    assert (
        sorted(p.name for p in STAND_INS.iterdir())
        == sorted(p.name for p in again.iterdir())
        == sorted([*FILES, "mirror.json", "orthologs.csv"])
    )
    for name in ("mirror.json", "orthologs.csv"):
        assert (STAND_INS / name).read_bytes() == (again / name).read_bytes()
    for name in FILES:
        ours, new = ad.read_h5ad(STAND_INS / name), ad.read_h5ad(again / name)
        pd.testing.assert_frame_equal(ours.obs, new.obs)
        pd.testing.assert_frame_equal(ours.var, new.var)
        assert (ours.raw.X != new.raw.X).nnz == 0, name
        np.testing.assert_allclose(ours.X.toarray(), new.X.toarray(), rtol=1e-6)


def test_another_seed_gives_other_counts() -> None:
    one, two = make_stand_ins(0)["liver.h5ad"].raw.X, make_stand_ins(1)["liver.h5ad"].raw.X
    assert one.shape != two.shape or (one != two).nnz > 0


def test_they_are_small() -> None:
    assert sum(p.stat().st_size for p in STAND_INS.iterdir()) < 1_500_000


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_shaped_like_one_of_discover(name: str) -> None:
    data = ad.read_h5ad(STAND_INS / name)
    assert "feature_name" in data.var and "feature_name" in data.raw.var
    prefix = "ENSMUSG" if "mouse" in name else "ENSG"
    assert data.raw.var_names.str.fullmatch(prefix + r"\d{11}").all()
    counts = data.raw.X.toarray()
    assert (counts == np.rint(counts)).all()
    assert (counts.sum(axis=1) > 0).all()
    expected = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(data.X.toarray(), expected, rtol=1e-5)
    assert data.obs_names.is_unique
    assert list(data.obs_names) != sorted(data.obs_names)


def test_the_quirks_are_there() -> None:
    immune, human, mouse, lung = (
        ad.read_h5ad(STAND_INS / f"{n}.h5ad").obs for n in ("Immune", "limb_human", "limb_mouse", "hlca")
    )
    assert immune["donor_id"].isna().sum() == 10
    assert immune["donor_id"].nunique() == 3
    assert "erythrocyte" in set(immune["cell_type"])
    for obs in (human, mouse):
        assert not isinstance(obs["organism"].dtype, pd.CategoricalDtype)  # plain text, as the study stumbled over
        assert "leiden" in obs
    assert set(mouse.columns) ^ set(human.columns) == {"stage", "sequencing_center", "embryonic_day"}
    assert human["cell_type"].nunique() < 42 > mouse["cell_type"].nunique()
    assert len(set(human["cell_type"]) | set(mouse["cell_type"])) == 42
    assert set(lung["study"]) > {"Meyer_2019", "Schiller_2020", "Thienpont_2018", "Sun_2020"}
    assert (lung["ann_level_3"] == "Unknown").any()
    table = pd.read_csv(STAND_INS / "orthologs.csv", dtype=str, skipfooter=1, engine="python")
    assert table["Gene stable ID"].dropna().duplicated().any()
    assert table["Mouse gene stable ID"].dropna().duplicated().any()
    assert table[["Gene stable ID", "Mouse gene stable ID"]].isna().any().all()


def test_the_mirror_serves_what_the_recipes_ask_for() -> None:
    mirror = load_mirror(STAND_INS)
    for name in ("limb", "liver", "Immune", "HLCA_assay", "HLCA_disease", "HLCA_sn"):
        for source in load_recipe(ASSETS / "recipes" / f"{name}.yml").sources.values():
            collection = mirror.find_collection(source.collection)
            assert collection is not None
            if source.cellxgene:
                found = [mirror.find_dataset(source.cellxgene)]
            else:
                found = [
                    d
                    for d in collection.datasets
                    if all(_fits(d.versions[0].entry[k], v) for k, v in source.select.items())
                ]
            assert len(found) == 1 and found[0] is not None, (name, source.name)
    assert len(mirror.find_collection("ff69f0ee-fef6-4895-9f48-6c64a68c8289").datasets) == 2  # select has to choose


def _fits(labels: list[str], wanted: str | list[str]) -> bool:
    return set(labels) == set(wanted) if isinstance(wanted, list) else wanted in labels


def test_dealing_keeps_to_what_a_batch_may_have() -> None:
    batches, labels = deal({"a": 20, "b": 15}, {"a": ["x", "y", "z"], "b": ["y"]}, np.random.default_rng(0), minimum=5)
    assert (batches.count("a"), batches.count("b")) == (20, 15)
    assert {label for b, label in zip(batches, labels, strict=True) if b == "b"} == {"y"}
    assert min(labels.count(c) for c in "xyz") >= 5


def test_classes_are_separable_and_batches_too() -> None:
    """A planted signal that a nearest-neighbour vote finds: labels well, donors above chance, less so after
    centring.
    """
    from sklearn.model_selection import cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    data = ad.read_h5ad(STAND_INS / "hlca.h5ad")
    obs = data.obs.astype(str)
    known = (obs["ann_level_3"] != "None") & obs["study"].isin(["Meyer_2019", "Sun_2020"])
    values, batch, label = (
        data.X.toarray()[known],
        obs.loc[known, "study"].to_numpy(),
        obs.loc[known, "ann_level_3"].to_numpy(),
    )
    label = np.where(np.char.startswith(label.astype(str), "EC "), "EC", label)
    vote = KNeighborsClassifier(7)
    centred = values.copy()
    for name in set(batch):
        centred[batch == name] -= centred[batch == name].mean(axis=0)

    def accuracy(x: np.ndarray, y: np.ndarray) -> float:
        return float((cross_val_predict(vote, x, y, cv=3) == y).mean())

    assert accuracy(values, label) > 0.7
    assert accuracy(values, batch) > 0.75
    assert accuracy(centred, batch) < accuracy(values, batch) - 0.1
