"""Probes against known answers, against scikit-learn, and with studies in which little is defined."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers_probing import pick, run_probe, study
from scfm.errors import ScfmError
from scfm.probing.probe import ProbeSettings, probe
from scfm.probing.rows import COLUMNS
from scfm.probing.splits import make_splits, scored_cells

BOTH = pytest.mark.parametrize("classifier", ["logistic", "knn"])


@pytest.fixture(scope="module")
def noisy():
    """Every cell weighs the same, as in plain scikit-learn; few permutations, for speed."""
    obs, values = study(300, label_signal=1.5, batch_signal=1.0, seed=4)
    return obs, values, run_probe(obs, values, balanced=False, permutations=20)


@BOTH
def test_separable_classes_score_one_and_the_baselines_do_not(classifier):
    obs, values = study(600, label_signal=40.0, batch_signal=40.0)
    table = run_probe(obs, values)
    for target, chance in (("label", 0.25), ("batch", 1 / 3)):
        for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
            assert pick(table, target, "kfold", classifier, metric=metric)["value"] == 1.0
            assert pick(table, target, "kfold", classifier, metric=metric, fold="sd")["value"] == 0.0
        row = pick(table, target, "kfold", classifier, metric="balanced_accuracy")
        assert row["baseline_majority"] == pytest.approx(chance)
        assert abs(row["baseline_permuted"] - chance) < 0.12
    rescaled = pick(table, "batch", "kfold", classifier, metric="balanced_accuracy_rescaled")
    assert rescaled["value"] == 1.0
    assert rescaled["baseline_majority"] == pytest.approx(0.0)


@BOTH
def test_noise_scores_like_its_permuted_baseline(classifier):
    obs, values = study(900, seed=2)
    table = run_probe(obs, values, permutations=3)
    for target, chance in (("label", 0.25), ("batch", 1 / 3)):
        row = pick(table, target, "kfold", classifier, metric="balanced_accuracy")
        assert abs(row["value"] - chance) < 0.06
        assert abs(row["baseline_permuted"] - chance) < 0.06
    assert abs(pick(table, "batch", "kfold", classifier, metric="balanced_accuracy_rescaled")["value"]) < 0.09


@BOTH
@pytest.mark.parametrize(
    ("target", "scheme"), [("label", "kfold"), ("batch", "kfold"), ("label", "leave_one_batch_out")]
)
def test_equals_a_plain_scikit_learn_pipeline(noisy, classifier, target, scheme):
    obs, values, table = noisy
    splits = make_splits(obs, n_folds=5, seed=123)
    part = splits[(splits["target"] == target) & (splits["scheme"] == scheme)].set_index("cell_id")["fold"]
    fold_of = part[obs["cell_id"]].to_numpy()
    names, number = np.unique(fold_of, return_inverse=True)
    true = obs[target].to_numpy()
    model = (
        make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000, tol=1e-8))  # its own 1e-4 stops early
        if classifier == "logistic"
        else KNeighborsClassifier(15, algorithm="brute")
    )
    guess = cross_val_predict(model, values.astype(float), true, cv=PredefinedSplit(number))
    if classifier == "knn":  # scikit-learn gives tied votes to the first class by name, we to the nearest
        votes = cross_val_predict(model, values, true, cv=PredefinedSplit(number), method="predict_proba")
        tied = np.sum(votes == votes.max(axis=1, keepdims=True), axis=1) > 1
    for j, name in enumerate(names):
        test = number == j
        room = tied[test].sum() / test.sum() if classifier == "knn" else 0.0
        ours = pick(table, target, scheme, classifier, metric="accuracy", fold=name)
        assert abs(ours["value"] - accuracy_score(true[test], guess[test])) <= room + 1e-12
        assert ours["n_test"] == test.sum()
        if room == 0:
            balanced = pick(table, target, scheme, classifier, metric="balanced_accuracy", fold=name)["value"]
            assert balanced == pytest.approx(balanced_accuracy_score(true[test], guess[test]))
            macro = pick(table, target, scheme, classifier, metric="macro_f1", fold=name)["value"]
            assert macro == pytest.approx(f1_score(true[test], guess[test], average="macro"))
            classes = np.unique(true)
            for metric, reference in (("recall", recall_score), ("f1", f1_score)):
                expected = reference(true[test], guess[test], labels=classes, average=None)
                got = [
                    pick(table, target, scheme, classifier, metric=metric, fold=name, group=c)["value"] for c in classes
                ]
                assert got == pytest.approx(list(expected))
    mean = table[(table["fold"] == "mean") & (table["metric"] == "accuracy")].set_index(
        ["target", "scheme", "classifier"]
    )
    folds = [pick(table, target, scheme, classifier, metric="accuracy", fold=f)["value"] for f in names]
    assert mean.loc[(target, scheme, classifier), "value"] == pytest.approx(np.mean(folds))
    sd = pick(table, target, scheme, classifier, metric="accuracy", fold="sd")["value"]
    assert sd == pytest.approx(np.std(folds, ddof=1))


def test_row_order_changes_nothing(noisy):
    obs, values, table = noisy
    order = np.random.default_rng(8).permutation(len(obs))
    again = run_probe(obs.iloc[order].reset_index(drop=True), values[order], balanced=False, permutations=20)
    pd.testing.assert_frame_equal(table, again)


@BOTH
def test_batch_baseline_is_permuted_within_label(classifier):
    """The embedding holds the label only, and the label predicts the batch: no batch effect, as the baseline shows."""
    rng = np.random.default_rng(5)
    label = rng.integers(0, 2, 600)
    batch = np.where(rng.random(600) < 0.9, label, 1 - label)
    obs = pd.DataFrame(
        {
            "cell_id": [f"c{i:03d}" for i in range(600)],
            "batch": batch.astype(str),
            "label": label.astype(str),
            "scored": True,
        }
    )
    values = (20 * np.eye(2)[label] + rng.normal(size=(600, 2))).astype(np.float32)
    table = run_probe(obs, values, permutations=50, logistic_permutations=8)
    row = pick(table, "batch", "kfold", classifier, metric="balanced_accuracy")
    assert row["value"] > 0.85
    assert row["baseline_permuted"] > 0.85
    label_row = pick(table, "label", "kfold", classifier, metric="balanced_accuracy")
    assert label_row["baseline_permuted"] < 0.65  # over all cells: nothing is left


@BOTH
def test_held_out_batch_excludes_and_counts_labels_never_seen(classifier):
    obs, values = study(240, label_signal=40.0, seed=1)
    only = (obs["label"] == "mono") & (obs["batch"] != "b2")
    obs.loc[only, "label"] = "T"
    values[only] = values[(obs["label"] == "T") & ~only][: only.sum()].mean(axis=0)
    table = run_probe(obs, values)
    lost = int(((obs["label"] == "mono") & (obs["batch"] == "b2")).sum())
    key = ("label", "leave_one_batch_out", classifier)
    assert pick(table, *key, metric="cells_excluded", fold="b2")["value"] == lost > 0
    assert pick(table, *key, metric="cells_excluded", fold="b0")["value"] == 0
    row = pick(table, *key, metric="recall", fold="b2", group="mono")
    assert (row["status"], row["reason"], row["n_test"]) == ("not_applicable", "label_absent_from_training", lost)
    assert np.isnan(row["value"])
    scored = pick(table, *key, metric="macro_f1", fold="b2")
    assert scored["value"] == 1.0  # over the labels that can be known
    assert scored["n_test"] == (obs["batch"] == "b2").sum() - lost
    summary = pick(table, *key, metric="f1", fold="mean", group="mono")
    assert (summary["status"], summary["reason"]) == ("not_applicable", "label_absent_from_training")


def test_absent_class_counts_zero_in_macro_f1_as_in_the_study():
    obs, values = study(200, label_signal=40.0, seed=1)
    obs.loc[obs["label"] == "mono", "label"] = "T"
    obs.loc[:1, "label"] = "rare"
    values[:2, :4] = [0, 80, 0, 80]
    table = run_probe(obs, values)
    fold_rows = [
        pick(table, "label", "kfold", "logistic", metric="support", fold=str(f), group="rare") for f in range(5)
    ]
    absent = [str(f) for f, row in enumerate(fold_rows) if row["value"] == 0]
    assert len(absent) == 3
    row = pick(table, "label", "kfold", "logistic", metric="recall", fold=absent[0], group="rare")
    assert (row["status"], row["reason"]) == ("not_applicable", "class_absent_from_test")
    assert pick(table, "label", "kfold", "logistic", metric="f1", fold=absent[0], group="rare")["value"] == 0.0
    others = [
        pick(table, "label", "kfold", "logistic", metric="f1", fold=absent[0], group=g)["value"]
        for g in ("B", "NK", "T")
    ]
    assert pick(table, "label", "kfold", "logistic", metric="macro_f1", fold=absent[0])["value"] == pytest.approx(
        sum(others) / 4
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"batch": "b0"}, {("batch", "kfold"): "one_batch", ("label", "leave_one_batch_out"): "one_batch"}),
        ({"label": "T"}, {("label", "kfold"): "one_label", ("label", "leave_one_batch_out"): "one_label"}),
        ({"scored": False}, {("label", "kfold"): "no_scored_cells", ("batch", "kfold"): "no_scored_cells"}),
        ({}, {}),
    ],
)
def test_undefined_targets_give_reasons_and_the_rest_is_scored(change, expected):
    obs, values = study(90, label_signal=3.0)
    table = run_probe(obs.assign(**change), values)
    assert list(table.columns) == COLUMNS
    expected = {("batch", "leave_one_batch_out"): "not_defined_for_batch", **expected}
    if change == {"scored": False}:
        expected = dict.fromkeys([*expected, ("label", "leave_one_batch_out")], "no_scored_cells")
    for (target, scheme), part in table.groupby(["target", "scheme"]):
        if (target, scheme) in expected:
            assert set(part["status"]) == {"not_applicable"}
            assert set(part["reason"]) == {expected[target, scheme]}
            assert part["value"].isna().all()
            assert set(part["fold"]) == {"mean"}
        else:
            whole = part[part["group"] == "all"]
            assert set(whole["status"]) == {"ok"}
            assert whole["value"].notna().all()


def test_too_few_cells_and_one_label_in_training_are_reasons():
    obs, values = study(12)
    obs["label"] = [f"type{i // 2}" for i in range(12)]
    assert pick(run_probe(obs, values), "label", "kfold", "knn", metric="accuracy")["reason"] == "too_few_cells"
    obs["batch"], obs["label"] = ["b0"] * 6 + ["b1"] * 6, ["T"] * 6 + ["B", "T"] * 3
    table = run_probe(obs, values, n_folds=2)
    row = pick(table, "label", "leave_one_batch_out", "logistic", metric="accuracy", fold="b1")
    assert (row["status"], row["reason"]) == ("not_applicable", "one_label_in_training")
    sd = pick(table, "label", "leave_one_batch_out", "logistic", metric="accuracy", fold="sd")
    assert (sd["status"], sd["reason"]) == ("not_applicable", "one_fold")


def test_a_class_the_embedding_lost_still_counts_in_the_study():
    obs, values = study(200, label_signal=40.0)
    splits, cells = make_splits(obs, n_folds=5, seed=123), scored_cells(obs).astype({"label": "category"})
    keep = (cells["label"] != "mono").to_numpy()
    ordered = values[np.argsort(obs["cell_id"].to_numpy())]
    table, _ = probe(cells[keep], ordered[keep], splits, ProbeSettings())
    assert pick(table, "label", "kfold", "logistic", metric="macro_f1")["value"] == pytest.approx(0.75)
    assert pick(table, "label", "kfold", "logistic", metric="accuracy")["value"] == 1.0


def test_names_that_are_words_of_the_table_are_quoted():
    obs, values = study(120, label_signal=40.0)
    obs = obs.replace({"b0": "mean", "NK": "all"})
    table = run_probe(obs, values)
    assert pick(table, "label", "leave_one_batch_out", "knn", metric="accuracy", fold="'mean'")["value"] == 1.0
    assert pick(table, "label", "kfold", "knn", metric="f1", group="'all'")["value"] == 1.0
    assert pick(table, "label", "leave_one_batch_out", "knn", metric="accuracy", fold="mean")["n_test"] == 120


def test_fits_that_do_not_converge_are_one_warning():
    obs, values = study(120, label_signal=1.0)
    splits = make_splits(obs, n_folds=3, seed=0)
    cells = scored_cells(obs)
    _, warnings = probe(cells, values, splits, ProbeSettings(max_iter=1))
    (entry,) = warnings
    assert entry["code"] == "W-PRB-02"
    assert entry["values"] == {"unconverged": 18, "fits": 18}  # 3 tasks x 3 folds x (true, permuted)
    assert "18 of 18 logistic probes stopped at 1 iterations" in entry["text"]
    assert probe(cells, values, splits, ProbeSettings())[1] == []


def test_permutations_can_be_none_and_change_only_the_baseline(noisy):
    obs, values, table = noisy
    bare = run_probe(obs, values, balanced=False, permutations=0, logistic_permutations=0)
    of_null = ["baseline_permuted", "permuted_q95", "p_value"]
    assert bare[of_null].isna().all(axis=None)
    pd.testing.assert_frame_equal(bare.drop(columns=of_null), table.drop(columns=of_null))


def test_the_mean_is_compared_with_the_means_of_the_permutations(noisy):
    _, _, table = noisy
    knn = table[(table["classifier"] == "knn") & (table["group"] == "all") & (table["status"] == "ok")]
    knn = knn[knn["metric"] != "cells_excluded"]
    assert knn.loc[knn["fold"] != "sd", ["permuted_q95", "p_value"]].notna().all(axis=None)
    assert knn.loc[knn["fold"] == "sd", ["permuted_q95", "p_value"]].isna().all(axis=None)
    auroc = knn[(knn["metric"] == "auroc") & (knn["target"] == "label") & (knn["scheme"] == "kfold")]
    mean = auroc[auroc["fold"] == "mean"].iloc[0]
    folds = auroc[~auroc["fold"].isin(["mean", "sd"])]
    assert mean["p_value"] == pytest.approx(1 / 21)  # none of 20 permutations comes near
    assert mean["baseline_permuted"] == pytest.approx(folds["baseline_permuted"].mean())
    assert mean["permuted_q95"] < folds["permuted_q95"].mean()  # means of folds vary less than folds
    assert table.loc[table["classifier"] == "logistic", ["permuted_q95", "p_value"]].isna().all(axis=None)


def test_noise_has_a_p_value_that_is_no_news():
    obs, values = study(300, seed=9)
    table = run_probe(obs, values, permutations=200)
    rows = table[(table["classifier"] == "knn") & (table["fold"] == "mean") & (table["metric"] == "auroc")]
    rows = rows[rows["status"] == "ok"]
    assert len(rows) == 3
    assert (rows["p_value"] > 0.05).all()
    assert (rows["value"] - 0.5).abs().max() < 0.08


def test_means_over_folds_of_permutations_vary_like_those_of_noise(monkeypatch):
    """Near cells in two folds vote for each other. Folds permuted one by one: sd 0.8 of the true one, and 10 % of the
    p values of noise below 0.05.
    """
    monkeypatch.setattr("scfm.probing.probe.CLASSIFIERS", ("knn",))
    found, spread = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        ids = [f"c{i:03d}" for i in range(120)]
        obs = pd.DataFrame({"cell_id": ids, "batch": rng.choice(["a", "b"], 120), "label": "T", "scored": True})
        table = run_probe(obs, rng.normal(size=(120, 3)), permutations=60)
        row = pick(table, "batch", "kfold", "knn", metric="auroc")
        found.append(row["value"])
        spread.append((row["permuted_q95"] - row["baseline_permuted"]) / 1.645)
    assert np.mean(spread) == pytest.approx(np.std(found), rel=0.1)


def test_a_small_batch_far_from_a_large_one_is_seen():
    """1,000 and 50 cells, 2.5 sd apart. Equal votes say the large batch everywhere: rescaled accuracy 0, no signal."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1050, 10)).astype(np.float32)
    values[1000:, 0] += 2.5
    obs = pd.DataFrame(
        {
            "cell_id": [f"c{i:04d}" for i in range(1050)],
            "batch": np.repeat(["large", "small"], [1000, 50]),
            "label": "T",
            "scored": True,
        }
    )
    key = ("batch", "kfold", "knn")
    blind = run_probe(obs, values, balanced=False, permutations=19)
    assert pick(blind, *key, metric="balanced_accuracy_rescaled")["value"] == 0.0
    seen = run_probe(obs, values, permutations=100)
    assert pick(seen, *key, metric="balanced_accuracy_rescaled")["value"] > 0.5
    for table, classifier in ((blind, "knn"), (seen, "knn"), (seen, "logistic")):
        assert pick(table, "batch", "kfold", classifier, metric="auroc")["value"] > 0.8
    for metric in ("auroc", "balanced_accuracy"):
        assert pick(seen, *key, metric=metric)["p_value"] == pytest.approx(1 / 101)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"probe_c": 0}, "probe_c is 0.0; it must be above 0"),
        ({"probe_k": "many"}, "probe_k is 'many'; expected a number"),
        ({"probe_c": "nan"}, "probe_c is nan"),
        ({"probe_permutations": -1}, "probe_permutations is -1"),
        ({"probe_balanced": "yes"}, "probe_balanced is 'yes'; expected true or false"),
        ({"probe_k": True}, "probe_k is 'True'; expected a number"),
    ],
)
def test_wrong_parameters_are_sentences(params, sentence):
    with pytest.raises(ScfmError, match=sentence):
        ProbeSettings.from_params(params)


def test_parameters_are_read_by_name():
    params = {"probe_c": 0.5, "probe_k": 7, "probe_max_iter": "50", "probe_seed": None, "probe_balanced": False}
    assert ProbeSettings.from_params(params | {"n_hvg": 2000}) == ProbeSettings(c=0.5, k=7, max_iter=50, balanced=False)
