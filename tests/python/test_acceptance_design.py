"""Acceptance tests 1, 2, 3, 5 and 9 of the diagnosis: a design or a mistake goes in, its message comes out.

Every data set is simulated and goes through the executables. The tiny variants train scVI for seconds; the slow one
trains it until the statement holds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers_acceptance import Study
from helpers_data import check, make_adata, make_counts, write
from helpers_modules import call
from scfm.io.tables import read_embedding, read_json, write_embedding
from scfm.metrics.lisi import cilisi

PLANTED = 200
#: three donors in two conditions, 200 genes that the condition changes
RESPONSE = {
    "n_genes": 500, "n_types": 2, "n_conditions": 2, "n_donors": 3, "paired": True, "batch_effect": 0.3,
    "programmes": [{"name": "response", "genes": PLANTED, "size": 0.8, "conditions": [1]}],
}  # fmt: skip
CROSSED = RESPONSE | {"nesting": "batch_is_donor", "n_batches": 3}
NESTED = RESPONSE | {"nesting": "batch_is_sample", "n_batches": 6}
DESIGN_KEYS = {"condition_key": "condition", "donor_key": "donor"}
#: a small model; all others of its settings have their defaults
SMALL = {"scvi_n_latent": 10, "scvi_n_layers": 1, "scvi_n_hidden": 64}
#: the forum user's patience: the weight of the KL divergence reaches 1, and the latent space loses what the batch holds
PATIENT = SMALL | {"scvi_early_stopping_patience": 400}
CORRECTORS = ("linear", "combat", "harmony", "fastmnn", "scanorama")


def mixing(study: Study, name: str) -> float:
    """CiLISI of an embedding: how well batches mix inside labels, 0 to 1."""
    return cilisi(study.embedded(name).metric_inputs(study.cells())).overall.value


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("crossed"), CROSSED | {"n_cells": 900}, keys=DESIGN_KEYS, n_hvg=500)


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("nested"), NESTED | {"n_cells": 900}, keys=DESIGN_KEYS, n_hvg=500)


def test_01_a_crossed_design_has_no_confounding_and_every_corrector_mixes_batches(crossed: Study) -> None:
    assert not {"E-CONF-01", "W-CONF-02", "W-DES-01"} & set(crossed.told())
    before = mixing(crossed, crossed.embed("pca"))
    after = {method: mixing(crossed, crossed.embed(method)) for method in CORRECTORS}
    assert all(value > before + 0.1 for value in after.values()), (before, after)


@pytest.mark.slow
def test_01_scvi_mixes_the_batches_of_a_crossed_design_too(crossed: Study) -> None:
    before = mixing(crossed, crossed.embed("pca"))
    after = mixing(crossed, crossed.embed("scvi"))
    assert after > before + 0.1, (before, after)


def test_01_differences_between_conditions_are_conserved_inside_batches(crossed: Study) -> None:
    rows = crossed.compare()
    assert (rows["design"] == "donor + condition").all()
    assert (rows["lfc_spearman"] >= 0.7).all() and (rows["auprc"] >= 0.7).all(), rows.T.to_string()


def test_02_a_batch_nested_in_the_condition_is_an_error_and_the_pseudobulk_finds_the_planted_genes(
    nested: Study,
) -> None:
    (entry,) = nested.told()["E-CONF-01"]
    assert entry["severity"] == "error" and "The donor ('donor') is crossed with 'condition'." in entry["text"]
    rows = nested.compare(nested.embed("scvi", **SMALL, scvi_max_epochs=2)).set_index("analysis")
    assert set(rows.index) == {"pseudobulk", "scvi", "scvi_all_batches"}
    assert (rows["relation"] == "nested").all()
    assert (rows.loc["pseudobulk", "n_significant"] > 100).all()


@pytest.mark.slow
def test_02_scvi_corrected_over_nested_batches_finds_next_to_nothing_and_says_why(nested: Study) -> None:
    """The forum user's mistake: the batch holds the condition, so decoding over all batches averages it away."""
    rows = nested.compare(nested.embed("scvi", **PATIENT)).pivot_table("n_significant", "label", "analysis")
    assert (rows["pseudobulk"] > 100).all() and (rows["scvi"] > 100).all()
    assert (rows["scvi_all_batches"] < 5).all(), rows.to_string()
    (entry,) = nested.told(step="de")["W-DE-01"]
    assert "Batches are nested in conditions" in entry["text"] and len(entry["values"]["labels"]) == 2


def test_03_replicate_names_that_stand_for_several_subjects_are_named(tmp_path: Path) -> None:
    design = {"n_cells": 240, "n_genes": 100, "n_types": 2, "n_batches": 2, "n_conditions": 2, "n_donors": 3}
    study = Study(tmp_path, design, keys={"condition_key": "condition", "donor_key": "replicate"})
    (entry,) = study.told()["W-DES-01"]
    assert "3 levels of 'replicate' stand for several subjects" in entry["text"] and "different sex" in entry["text"]
    assert "a+b" in entry["advice"]
    joined = tmp_path / "joined"
    joined.mkdir()
    study = Study(joined, design, keys={"condition_key": "condition", "donor_key": "replicate+condition"})
    assert "W-DES-01" not in study.told() and study.obs()["donor"].nunique() == 6


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """300 cells."""
    design = {"n_cells": 300, "n_genes": 300, "n_types": 3, "n_batches": 2}
    return Study(tmp_path_factory.mktemp("few"), design, n_hvg=300)


def test_05_twenty_minibatches_are_a_part_of_the_cells(few: Study) -> None:
    limited = {"scvi_limit_train_batches": 20, "scvi_batch_size": 8, "scvi_max_epochs": 2}
    (entry,) = few.trained(few.embed("scvi", **SMALL, **limited))["W-TRN-03"]
    assert entry["values"]["seen"] == 160 and entry["values"]["n_train"] == 270
    assert "20 minibatches of 8 cells are 160 of 270 training cells per epoch (59%)" in entry["text"]
    assert "This saves no memory" in entry["text"]


@pytest.mark.slow
def test_05_a_patience_of_400_epochs_overfits_and_one_of_10_does_not(tmp_path: Path) -> None:
    """The forum user's other mistake: 300 cells of many noisy genes, trained with scVI's defaults for 400 epochs."""
    design = {"n_cells": 300, "n_genes": 2000, "n_types": 3, "n_batches": 2, "dispersion": 1.0}
    study = Study(tmp_path, design, scvi_max_epochs=400)
    (entry,) = study.trained(study.embed("scvi", scvi_early_stopping_patience=400))["W-TRN-01"]
    assert entry["values"]["epochs_run"] == 400 and entry["values"]["rise"] > entry["threshold"]["max_rise"]
    assert "because early stopping waited for 400 epochs (limit 20). The model memorises cells." in entry["text"]
    assert "--scvi_early_stopping_patience to 10 to 20" in entry["advice"]
    assert "W-TRN-01" not in study.trained(study.embed("scvi", scvi_early_stopping_patience=10))


def test_09_log_data_and_fractions_are_no_counts_and_missing_labels_are_counted(tmp_path: Path) -> None:
    row = {"dataset": "sim", "h5ad": "sim.h5ad", "batch_key": "batch", "label_key": "cell_type"}
    counts = make_counts()
    logged = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    for values, code in ((logged, "E-IN-02"), (counts * 0.9, "E-IN-01")):
        write(make_adata(values), tmp_path / "sim.h5ad")
        (error,) = check(tmp_path, [row]).errors
        assert code in error
    unlabelled = make_adata(counts)
    unlabelled.obs.loc[unlabelled.obs_names[:7], "cell_type"] = np.nan
    write(unlabelled, tmp_path / "sim.h5ad")
    found = check(tmp_path, [row])
    (entry,) = [m for m in found.warnings if m["code"] == "E-IN-03"]
    assert found.errors == [] and "7 cells of 60 have no label" in entry["text"]


def test_09_rows_of_an_embedding_are_joined_by_id_and_missing_ones_are_listed(crossed: Study, tmp_path: Path) -> None:
    crossed.embed("pca")
    ids, values = read_embedding(crossed.folder / "sim.pca.raw.0.unchecked.parquet")
    order = np.random.default_rng(0).permutation(len(ids))
    sidecar = tmp_path / "sim.pca.raw.0.unchecked.json"
    sidecar.write_bytes((crossed.folder / sidecar.name).read_bytes())
    given = {"embedding": tmp_path / "sim.pca.raw.0.unchecked.parquet", "sidecar": sidecar}
    obs = crossed.files("obs")["obs"]
    for kept in (order, order[:-5]):
        write_embedding(given["embedding"], [ids[i] for i in kept], values[kept])
        call("validate_embedding", **given, obs=obs, outdir=tmp_path, on_error="stop")
        passed, found = read_embedding(tmp_path / "sim.pca.raw.0.parquet")
        rows = pd.Series(range(len(ids)), index=ids).loc[passed]
        np.testing.assert_array_equal(found, values[rows])
    told = read_json(tmp_path / "sim.pca.raw.0.json")["warnings"]
    assert "5 are missing" in next(m["text"] for m in told if m["code"] == "E-ID-01")
