"""Training health, the validation split and the picking of settings: pure functions, known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scfm.errors import ScfmError
from scfm.integration.run import load_method
from scfm.integration.scvi import default_epochs, history_table, split_cells
from scfm.integration.training import (
    TrainingLimits,
    covariate_warnings,
    coverage_warnings,
    judge_training,
    training_facts,
    training_messages,
)
from scfm.task.settings import pick_settings


def history(train, validation=None):
    frame = pd.DataFrame({"epoch": range(1, len(train) + 1), "elbo_train": train})
    return frame if validation is None else frame.assign(elbo_validation=validation)


def messages(frame, max_epochs=400, patience=15, limits=None):
    judgement = judge_training(frame, max_epochs=max_epochs, patience=patience, limits=limits)
    return training_messages(judgement, dataset="d", method="scvi", seed=7)


def codes(frame, **options):
    return [w["code"] for w in messages(frame, **options)]


def falling(n, floor, amount=100.0, pace=5.0):
    return floor + amount * np.exp(-np.arange(n) / pace)


def test_a_healthy_run_is_silent():
    assert codes(history(falling(100, 500), falling(100, 503))) == []


def test_slightly_better_validation_than_training_is_normal():
    assert codes(history(falling(100, 500), falling(100, 495))) == []


def test_a_wide_gap_is_overfitting():
    frame = history(falling(100, 500), falling(100, 600))
    (warning,) = messages(frame)
    assert warning["code"] == "W-TRN-01"
    assert warning["values"]["gap"] == pytest.approx(0.2)
    assert (warning["seed"], warning["values"]["verdict"]) == (7, "overfit")
    assert "Seed 7: validation ELBO is 20.0% above training" in warning["text"]
    assert "memorises" in warning["text"]
    assert warning["threshold"]["max_gap"] == 0.05
    assert messages(frame, limits=TrainingLimits(max_gap=0.3)) == []
    (weak,) = messages(history(falling(100, 500), falling(100, 535)))
    assert "begins to memorise" in weak["text"]


def test_validation_that_rose_long_after_its_best_epoch_is_overfitting():
    validation = np.concatenate([falling(50, 500), np.linspace(500, 520, 100)])
    frame = history(falling(150, 500), validation)
    assert codes(frame) == ["W-TRN-01"]
    (waited,) = messages(frame, patience=400)  # waiting for ever is no excuse
    assert waited["code"] == "W-TRN-01" and "early stopping waited for 400 epochs (limit 20)" in waited["text"]
    assert "--scvi_early_stopping_patience to 10 to 20" in waited["advice"]
    assert codes(frame, patience=400, limits=TrainingLimits(max_patience=400)) == []
    assert codes(frame[:65], patience=15) == []  # ended by its patience
    assert training_facts(frame, TrainingLimits())["rise"] == pytest.approx(0.04, abs=2e-3)


def test_stopping_at_the_limit_while_falling_is_not_converged():
    validation = 1000 * 0.99 ** np.arange(30)
    assert codes(history(validation, validation), max_epochs=30) == ["W-TRN-04"]
    assert codes(history(validation, validation), max_epochs=31) == []  # stopped early instead
    assert training_facts(history(validation, validation), TrainingLimits())["improvement"] == pytest.approx(
        (1 - 0.99**10) / 10
    )


def test_one_training_has_one_verdict():
    """Both a wide gap and a loss that still falls at the limit: one message, and its verdict in the numbers."""
    validation = 1000 * 0.99 ** np.arange(30)
    (only,) = messages(history(0.8 * validation, validation), max_epochs=30)
    assert (only["code"], only["values"]["verdict"]) == ("W-TRN-01", "overfit")
    assert only["values"]["improvement"] > 1e-3
    assert judge_training(history(validation, validation), max_epochs=30, patience=15).verdict == "not_converged"
    assert judge_training(history(validation, validation), max_epochs=40, patience=15).verdict == "fine"
    assert judge_training(history(validation), max_epochs=40, patience=None).verdict == "unknown"


def test_without_validation_the_verdict_is_unknown():
    assert codes(history(falling(100, 500))) == ["W-TRN-02"]
    assert codes(history(falling(100, 500), [np.nan] * 100)) == ["W-TRN-02"]


def test_a_covariate_that_follows_depth_is_named():
    rng = np.random.default_rng(0)
    depth = rng.lognormal(8, 1, 200)
    covariates = pd.DataFrame({"log_counts": np.log(depth), "minus": -depth, "mito": rng.random(200)})
    found = covariate_warnings(covariates, depth, dataset="d", method="scvi")
    assert [(w["code"], w["values"]["covariate"]) for w in found] == [("W-TRN-05", "log_counts"), ("W-TRN-05", "minus")]
    assert found[0]["values"]["spearman"] == pytest.approx(1)


def test_an_epoch_that_sees_a_part_of_the_cells_is_said_with_its_share():
    about = {"dataset": "d", "method": "scvi", "seed": 0}
    (warning,) = coverage_warnings(77_850, 1000, 20, **about)
    assert warning["code"] == "W-TRN-03" and warning["values"]["coverage"] == pytest.approx(20_000 / 77_850)
    assert "20 minibatches of 1,000 cells are 20,000 of 77,850 training cells per epoch (26%)" in warning["text"]
    assert coverage_warnings(77_850, 1000, 78, **about) == coverage_warnings(77_850, 1000, None, **about) == []


def test_a_covariate_that_stands_in_for_the_condition_is_named():
    rng = np.random.default_rng(0)
    condition = pd.Series(["a", "b"] * 100)
    shift = (condition == "b").to_numpy()
    covariates = pd.DataFrame(
        {
            "shifted": 3.0 * shift + rng.normal(size=200),
            "noise": rng.normal(size=200),
            "run": np.where(shift, "r2", "r1"),
        }
    )
    found = covariate_warnings(covariates, rng.lognormal(8, 1, 200), dataset="d", method="scvi", condition=condition)
    assert [(w["code"], w["values"]["covariate"]) for w in found] == [("W-TRN-07", "shifted"), ("W-TRN-07", "run")]
    values = covariates["shifted"]
    within = values.groupby(condition).transform("mean")
    assert found[0]["values"]["share"] == pytest.approx(
        ((within - values.mean()) ** 2).sum() / ((values - values.mean()) ** 2).sum()
    )
    assert found[1]["values"]["share"] == pytest.approx(1)
    strict = TrainingLimits(max_condition_r2=1.0)
    same = {"dataset": "d", "method": "scvi", "condition": condition}
    assert covariate_warnings(covariates, np.arange(200), **same, limits=strict) == []


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(20, 3000),
    batch_size=st.integers(8, 256),
    share=st.sampled_from([None, 0, 0.1, 0.25]),
    seed=st.integers(0, 99),
)
def test_the_split_is_a_partition_without_a_tiny_last_minibatch(n, batch_size, share, seed):
    train, validation = split_cells(n, share, batch_size, seed)
    assert sorted([*train, *validation]) == list(range(n))
    wanted = int((0.1 if share is None else share) * n)
    assert wanted <= len(validation) <= wanted + 2
    if len(validation) and len(train) > 2:
        assert len(train) % batch_size not in (1, 2)
    again, _ = split_cells(n, share, batch_size, seed)
    np.testing.assert_array_equal(train, again)


def test_the_share_shrinks_for_large_data():
    _, validation = split_cells(400_000, None, 128, 0)
    assert len(validation) == pytest.approx(20_000, abs=2)


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore:The default number of maximum epochs")
def test_epochs_follow_the_rule_of_scvi_tools():
    from scvi.model._utils import get_max_epochs_heuristic

    for n in (10, 19_999, 20_001, 68_429, 1_281_499, 7_900_000):
        assert default_epochs(n) == get_max_epochs_heuristic(n)
    assert default_epochs(68_429) == 117  # the study's liver run


def test_history_becomes_one_table_of_epochs():
    logged = {
        "train_loss_step": pd.DataFrame({"train_loss_step": [1.0, 2, 3, 4]}),
        "elbo_train": pd.DataFrame({"elbo_train": [3.0, 2.0]}),
        "elbo_validation": pd.DataFrame({"elbo_validation": [4.0, 3.0]}),
    }
    table = history_table(logged)
    assert list(table.columns) == ["epoch", "elbo_train", "elbo_validation"]
    assert table["epoch"].tolist() == [1, 2]


def test_settings_are_picked_by_name_and_read_by_kind():
    defaults = {"n_pcs": 50, "theta": 2.0, "genes": "hvg", "covariates": [], "epochs": None}
    params = {
        "n_pcs": 30,
        "m_theta": "4",
        "m_genes": "all",
        "m_covariates": "a, b",
        "m_epochs": 7,
        "theta": 99,
        "outdir": "x",
    }
    assert pick_settings("m", defaults, params) == {
        "n_pcs": 30,
        "theta": 4.0,
        "genes": "all",
        "covariates": ["a", "b"],
        "epochs": 7,
    }
    assert pick_settings("m", defaults, {}) == defaults
    empty = pick_settings("m", defaults, {"m_covariates": None, "m_theta": None, "m_epochs": "null"})
    assert (empty["covariates"], empty["theta"], empty["epochs"]) == ([], None, None)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [("much", "m_n = 'much' should be a number"), (2.5, "whole number"), (True, "should be a number")],
)
def test_a_setting_of_the_wrong_kind_is_a_sentence(value, sentence):
    with pytest.raises(ScfmError, match=sentence):
        pick_settings("m", {"n": 1}, {"m_n": value})


def test_every_method_of_the_table_has_code_and_its_settings_are_parameters():
    """A row without a file, or a setting that no parameter reaches, is a dead end."""
    import json
    from pathlib import Path

    from scfm.registries.methods import load_methods
    from scfm.task.settings import SHARED

    root = Path(__file__).resolve().parents[2]
    schema = json.loads((root / "nextflow_schema.json").read_text())
    groups = schema.get("$defs", schema.get("definitions"))
    parameters = {name: spec for group in groups.values() for name, spec in group["properties"].items()}
    for name in load_methods():
        for setting, default in load_method(name).DEFAULTS.items():
            key = setting if setting in SHARED else f"{name}_{setting}"
            assert key in parameters, key
            assert parameters[key].get("default") == (default or None), key


def test_a_method_without_code_is_a_sentence():
    with pytest.raises(ScfmError, match=r"has no file bin/scfm/integration/nosuch.py"):
        load_method("nosuch")
    with pytest.raises(ScfmError, match=r"controls.py is no method: it does not define integrate and DEFAULTS"):
        load_method("controls")
