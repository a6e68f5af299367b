"""Neighbours outside a fold, the vote, the leak test and the metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from scfm.neighbors import exact
from scfm.probing import metrics
from scfm.probing.baselines import generator_for, majority_class
from scfm.probing.classifiers import LogisticProbe, neighbors_outside_fold
from scfm.probing.null import Permutations, knn_null, strata_of
from scfm.probing.softmax_loss import centre_and_scale
from scfm.probing.splits import KFOLD, LEAVE_ONE_BATCH_OUT
from scfm.probing.tasks import Fold, Task, make_fold
from scfm.probing.votes import auroc_of_votes, classes_of, count_votes, decide, vote_weights


def test_standardisation_uses_the_training_part_only():
    """A test cell far away must not move the prediction of the others; it does if the scaler is fitted with it."""
    rng = np.random.default_rng(0)
    train, classes = rng.normal(size=(80, 3)).astype(np.float32), np.arange(80) % 2
    train[:, 0] += classes
    test = rng.normal(size=(200, 3)).astype(np.float32) + 0.5
    far = np.vstack([test, np.full((1, 3), 1e4, dtype=np.float32)])
    probe = LogisticProbe(c=1.0, max_iter=1000, is_balanced=False)
    (alone,), (beside,) = (probe.predict(train, [classes], cells, 2) for cells in (test, far))
    alone = alone.classes
    np.testing.assert_array_equal(alone, beside.classes[:-1])
    leaking = StandardScaler().fit(np.vstack([train, far]))
    model = LogisticRegression(max_iter=1000).fit(leaking.transform(train), classes)
    assert (model.predict(leaking.transform(test)) != alone).any()  # so this test can fail


def names(values):
    return np.array([f"cell{i:04d}" for i in range(len(values))])


def reference(values, fold, k):
    """Return sorted float64 distances of the k nearest cells outside the fold, one row at a time."""
    found = []
    for i in range(len(values)):
        open_cells = np.flatnonzero((fold != fold[i]) & (fold >= 0))
        found.append(np.sort(((values[open_cells].astype(float) - values[i].astype(float)) ** 2).sum(axis=1))[:k])
    return found


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(3, 150),
    k=st.integers(1, 15),
    n_folds=st.integers(2, 4),
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["normal", "far", "grid", "identical", "huge", "tiny"]),
)
def test_neighbors_equal_brute_force(n, k, n_folds, seed, kind):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 3))
    group = rng.integers(0, n_folds, n)
    if kind in {"far", "huge"}:  # with a fold per group, no near cell is open
        values += 1e3 * group[:, None]
    if kind == "grid":
        values = np.round(values)
    if kind == "identical":
        values = np.eye(3)[rng.integers(0, 3, n)]
    values = (values * {"huge": 1e25, "tiny": 1e-25}.get(kind, 1.0)).astype(np.float32)
    folds = [rng.integers(-1, n_folds, n), np.arange(n) % n_folds, group]
    for fold, nearest in zip(folds, neighbors_outside_fold(values, names(values), folds, k=k), strict=True):
        assert nearest.shape == (n, k)
        for i, expected in enumerate(reference(values, fold, k)):
            mine = nearest[i][nearest[i] >= 0]
            assert len(mine) == len(expected) == len(set(mine))
            assert (fold[mine] != fold[i]).all() and (fold[mine] >= 0).all()
            got = ((values[mine].astype(float) - values[i].astype(float)) ** 2).sum(axis=1)
            np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_dimension_that_a_projection_emptied_tells_nothing():
    """Scaled up to a standard deviation of 1, the rounding left in it gave every batch away."""
    rng = np.random.default_rng(0)
    classes, values = rng.integers(0, 3, 600), rng.standard_normal((600, 10)).astype(np.float32)
    values[:, 4] = (classes - 1) * 1e-17
    probe = LogisticProbe(c=1.0, max_iter=1000, is_balanced=True)
    (found,) = probe.predict(values[:400], [classes[:400]], values[400:], 3)
    assert (found.classes == classes[400:]).mean() < 0.45
    _, scale = centre_and_scale(values)
    assert scale[4] == scale.max()
    assert scale[0] == pytest.approx(values[:, 0].std(), rel=1e-5)


def test_neighbors_do_not_depend_on_the_block_size(monkeypatch):
    rng = np.random.default_rng(1)
    values, fold = rng.normal(size=(300, 6)).astype(np.float32), rng.integers(0, 3, 300)
    (whole,) = neighbors_outside_fold(values, names(values), [fold], k=10)
    monkeypatch.setattr(exact, "_BLOCK_BYTES", 4 * 300 * 7)
    (blocks,) = neighbors_outside_fold(values, names(values), [fold], k=10)
    np.testing.assert_array_equal(whole, blocks)


def test_identical_cells_do_not_favour_the_first_ids():
    """Ids often carry the batch: with all cells alike, neighbours must be a sample of all cells."""
    fold = np.arange(400) % 5
    (nearest,) = neighbors_outside_fold(np.ones((400, 2), dtype=np.float32), names(fold), [fold], k=15)
    first_half = (nearest < 200).mean(axis=1)
    assert 0.2 < first_half.mean() < 0.8


def test_vote_takes_the_majority_and_then_the_nearest():
    classes = np.array([0, 1, 1, 2, 2, 0])
    neighbors = np.array([[0, 1, 2, 3], [3, 1, 2, 4], [5, -1, -1, -1], [2, 0, 5, 1]])
    near = classes_of(neighbors.T, classes, 3)
    votes = count_votes(near, 3)
    np.testing.assert_array_equal(votes.T, [[1, 2, 1], [0, 2, 2], [1, 0, 0], [2, 2, 0]])
    np.testing.assert_array_equal(decide(votes, near, np.ones(3)), [1, 2, 0, 1])


def test_balanced_votes_weigh_a_class_by_its_size():
    train = np.repeat([0, 1], [90, 10])
    near = np.array([[0] * 8 + [1]]).T
    weights = vote_weights(train, 3, is_balanced=True)
    np.testing.assert_allclose(weights, [1 / 90, 1 / 10, 0])
    votes = count_votes(near, 3)
    assert decide(votes, near, vote_weights(train, 3, is_balanced=False)) == 0
    assert decide(votes, near, weights) == 1  # 8 / 90 against 1 / 10
    tie = np.array([[0] * 9 + [1]]).T  # 9 / 90 against 1 / 10: the nearest decides
    assert decide(count_votes(tie, 3), tie, weights) == 0
    assert decide(count_votes(tie[::-1], 3), tie[::-1], weights) == 1


@settings(max_examples=40, deadline=None)
@given(n=st.integers(8, 60), seed=st.integers(0, 10**6))
def test_auroc_equals_scikit_learn_and_the_histogram_of_votes(n, seed):
    rng = np.random.default_rng(seed)
    true = np.concatenate([[0, 1, 2], rng.integers(0, 3, n)])
    by_class = count_votes(rng.integers(0, 3, (5, len(true))), 4)
    votes = by_class.T
    shares = votes[:, :3] / 5
    expected = roc_auc_score(true, shares, multi_class="ovr", average="macro")
    assert metrics.auroc(votes, true) == pytest.approx(expected)  # the fourth class is in no test cell
    np.testing.assert_allclose(auroc_of_votes(np.stack([by_class, by_class], axis=1), true, 5), expected)
    assert np.isnan(metrics.auroc(votes, np.zeros(len(true), dtype=int)))
    assert np.isnan(auroc_of_votes(by_class[:, None], np.zeros(len(true), dtype=int), 5)).all()


def test_the_distribution_of_permuted_votes_equals_a_loop(monkeypatch):
    """One permutation at a time, by the functions that score the observed vote; and in blocks of any size."""
    rng = np.random.default_rng(3)
    near = np.array([rng.permutation(90)[:7] for _ in range(30)]).T
    near[5:, 4] = -1
    fold = Fold("0", np.arange(90), np.arange(90, 120), np.zeros(3, dtype=int), "")
    strata = 2 * (np.arange(120) < 90) + rng.integers(0, 2, 120)
    permutations = Permutations(rng.integers(0, 3, 120), strata, (1, "batch", "kfold"))
    weights = vote_weights(permutations.classes[:90], 3, is_balanced=True)
    found = knn_null(near, fold, permutations, weights, n_draws=25, key=("batch", "kfold"))
    (draws,) = permutations.draws(25, 25)
    for i, drawn in enumerate(draws):
        true, classes = drawn[90:], classes_of(near, drawn[:90], 3)
        votes = count_votes(classes, 3)
        counts = metrics.confusion(true, decide(votes, classes, weights), 3)
        for name, value in metrics.overall(counts, classes_of_f1="study").items():
            assert found.whole[name][i] == pytest.approx(value)
        assert found.whole["auroc"][i] == pytest.approx(metrics.auroc(votes.T, true))
        np.testing.assert_allclose(found.parts["f1"][i], metrics.per_class(counts)["f1"])
    monkeypatch.setattr("scfm.probing.null._VOTES", 7 * 30 * 4)
    blocks = knn_null(near, fold, permutations, weights, n_draws=25, key=("batch", "kfold"))
    for name, draws in found.whole.items():
        np.testing.assert_array_equal(draws, blocks.whole[name])


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 60), seed=st.integers(0, 10**6))
def test_metrics_equal_scikit_learn(n, seed):
    rng = np.random.default_rng(seed)
    true, guess = rng.integers(0, 4, n), rng.integers(0, 4, n)
    counts = metrics.confusion(true, guess, 5)
    whole = metrics.overall(counts, classes_of_f1="study")
    assert whole["accuracy"] == pytest.approx((true == guess).mean())
    assert whole["macro_f1"] == pytest.approx(f1_score(true, guess, labels=range(5), average="macro", zero_division=0))
    tested = np.unique(true)
    assert metrics.overall(counts, classes_of_f1="test")["macro_f1"] == pytest.approx(
        f1_score(true, guess, labels=tested, average="macro", zero_division=0)
    )
    if set(guess) <= set(true):
        assert whole["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, guess))
    assert np.isnan(metrics.per_class(counts)["recall"][4])


def test_rescaling_puts_chance_at_zero():
    assert metrics.rescale(0.25, 4) == pytest.approx(0.0)
    assert metrics.rescale(1.0, 4) == pytest.approx(1.0)
    assert metrics.rescale(0.625, 4) == pytest.approx(0.5)


def test_permuted_classes_keep_the_folds_the_labels_and_who_is_tested():
    fold, labels = np.repeat([0, 1, 2], 40), np.tile([0, 1], 60)
    classes = np.where(np.arange(120) < 10, 3, np.arange(120) % 3)  # class 3 is in the first fold only
    task = Task("label", LEAVE_ONE_BATCH_OUT, list("abcd"), classes, fold, ["0", "1", "2"], None)
    folds = [make_fold(task, number) for number in range(3)]
    strata = strata_of(task, folds)
    assert len(np.unique(strata)) == 4 and len(np.unique(strata[:10])) == 1 and strata[0] not in strata[10:]
    by_label = strata_of(replace(task, target="batch", scheme=KFOLD, strata=labels), folds)
    assert all(len(np.unique(by_label[(fold == f) & (labels == x)][-10:])) == 1 for f in range(3) for x in (0, 1))
    (drawn,) = Permutations(classes, strata, (0,)).draws(5, 5)
    for one in drawn:
        for number, before in enumerate(folds):
            after = make_fold(replace(task, classes=one), number)
            np.testing.assert_array_equal(after.test, before.test)
            np.testing.assert_array_equal(np.bincount(one[after.test]), np.bincount(classes[before.test]))


def test_permutation_keeps_each_stratum():
    rng = np.random.default_rng(0)
    classes, strata = rng.integers(0, 3, 300), rng.integers(0, 4, 300)
    (drawn,) = Permutations(classes, strata, (1, "batch")).draws(3, 3)
    assert (drawn != classes).any(axis=1).all()
    for permuted in drawn:
        for stratum in range(4):
            np.testing.assert_array_equal(np.sort(permuted[strata == stratum]), np.sort(classes[strata == stratum]))
    (other,) = Permutations(classes, np.where(classes == 2, 9, strata), (1, "batch")).draws(1, 1)
    np.testing.assert_array_equal(other[0] == 2, classes == 2)  # a stratum of one class stays as it is
    assert majority_class(np.array([2, 1, 1, 2, 0]), 3) == 1
    assert generator_for(1, "label", "0").random() != generator_for(1, "label", "1").random()
