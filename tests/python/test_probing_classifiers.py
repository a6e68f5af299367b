"""Neighbours outside a fold, the vote, the leak test and the metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.preprocessing import StandardScaler

from scfm.neighbors import exact
from scfm.probing import metrics
from scfm.probing.baselines import generator_for, majority_class, permute
from scfm.probing.classifiers import LogisticProbe, neighbors_outside_fold, vote


def test_standardisation_sees_the_training_part_only():
    """A test cell far away must not move the prediction of the others; it does if the scaler sees it."""
    rng = np.random.default_rng(0)
    train, classes = rng.normal(size=(80, 3)).astype(np.float32), np.arange(80) % 2
    train[:, 0] += classes
    test = rng.normal(size=(200, 3)).astype(np.float32) + 0.5
    far = np.vstack([test, np.full((1, 3), 1e4, dtype=np.float32)])
    probe = LogisticProbe(c=1.0, max_iter=1000)
    (alone,), (beside,) = probe.predict(train, [classes], test), probe.predict(train, [classes], far)
    np.testing.assert_array_equal(alone, beside[:-1])
    leaking = StandardScaler().fit(np.vstack([train, far]))
    model = LogisticRegression(max_iter=1000).fit(leaking.transform(train), classes)
    assert (model.predict(leaking.transform(test)) != alone).any()  # so this test can fail


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
    for fold, nearest in zip(folds, neighbors_outside_fold(values, folds, k=k, seed=0), strict=True):
        assert nearest.shape == (n, k)
        for i, expected in enumerate(reference(values, fold, k)):
            mine = nearest[i][nearest[i] >= 0]
            assert len(mine) == len(expected) == len(set(mine))
            assert (fold[mine] != fold[i]).all() and (fold[mine] >= 0).all()
            got = ((values[mine].astype(float) - values[i].astype(float)) ** 2).sum(axis=1)
            np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_neighbors_do_not_depend_on_the_block_size(monkeypatch):
    rng = np.random.default_rng(1)
    values, fold = rng.normal(size=(300, 6)).astype(np.float32), rng.integers(0, 3, 300)
    (whole,) = neighbors_outside_fold(values, [fold], k=10, seed=0)
    monkeypatch.setattr(exact, "_BLOCK_BYTES", 4 * 300 * 7)
    (blocks,) = neighbors_outside_fold(values, [fold], k=10, seed=0)
    np.testing.assert_array_equal(whole, blocks)


def test_identical_cells_do_not_favour_the_first_ids():
    """Ids often carry the batch: with all cells alike, neighbours must be a sample of all cells."""
    fold = np.arange(400) % 5
    (nearest,) = neighbors_outside_fold(np.ones((400, 2), dtype=np.float32), [fold], k=15, seed=0)
    first_half = (nearest < 200).mean(axis=1)
    assert 0.2 < first_half.mean() < 0.8


def test_vote_takes_the_majority_and_then_the_nearest():
    classes = np.array([0, 1, 1, 2, 2, 0])
    neighbors = np.array([[0, 1, 2, 3], [3, 1, 2, 4], [5, -1, -1, -1], [2, 0, 5, 1]])
    np.testing.assert_array_equal(vote(neighbors, classes, 3), [1, 2, 0, 1])


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


def test_permutation_keeps_each_stratum():
    rng = np.random.default_rng(0)
    classes, strata = rng.integers(0, 3, 300), rng.integers(0, 4, 300)
    permuted = permute(classes, within=strata, rng=generator_for(1, "batch"))
    assert (permuted != classes).any()
    for stratum in range(4):
        np.testing.assert_array_equal(np.sort(permuted[strata == stratum]), np.sort(classes[strata == stratum]))
    free = permute(classes, within=None, rng=generator_for(1, "label"))
    np.testing.assert_array_equal(np.bincount(free), np.bincount(classes))
    assert majority_class(np.array([2, 1, 1, 2, 0]), 3) == 1
    assert generator_for(1, "label", "0").random() != generator_for(1, "label", "1").random()
