"""The solver of the logistic probe against scikit-learn, and training on a sample of the cells."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from helpers_probing import study
from scfm.neighbors.search import find_neighbors
from scfm.probing.classifiers import LogisticProbe, neighbors_outside_fold
from scfm.probing.probe import ProbeSettings, probe
from scfm.probing.sample import LEAST_CELLS, stratified_sample
from scfm.probing.softmax import fit_softmax
from scfm.probing.softmax_loss import BLOCK, centre_and_scale, in_blocks
from scfm.probing.splits import make_splits, scored_cells


def draw(kind: str, n: int = 1500, dims: int = 24, seed: int = 0):
    """Return features and classes: overlapping, separable, two classes, nearly collinear features, or no signal."""
    rng = np.random.default_rng(seed)
    n_classes = 2 if kind == "two" else 5
    classes = rng.integers(0, n_classes, n)
    size = {"separable": 3.0, "noise": 0.0}.get(kind, 0.3)
    values = size * rng.normal(size=(n_classes, dims))[classes] + rng.normal(size=(n, dims))
    if kind == "collinear":
        values = values @ (rng.normal(size=(dims, dims)) * np.exp(1.5 * rng.normal(size=dims)))
    return values.astype(np.float32), classes


def loss_of(weights: np.ndarray, values: np.ndarray, classes: np.ndarray, cell_weights: np.ndarray) -> float:
    """Return the penalised loss in double precision; two classes are a pair of opposite vectors."""
    logits = values @ weights[:, :-1].T + weights[:, -1]
    top = logits.max(axis=1)
    entropy = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top - logits[np.arange(len(classes)), classes]
    penalty = (2 if len(weights) == 2 else 1) / (2 * cell_weights.sum())
    return float(cell_weights @ entropy / cell_weights.sum() + penalty * (weights[:, :-1] ** 2).sum())


def weights_of(model: LogisticRegression) -> np.ndarray:
    """Return scikit-learn's coefficients and intercepts as one row per class."""
    found = np.hstack([model.coef_, model.intercept_[:, None]])
    return np.vstack([-found / 2, found / 2]) if len(found) == 1 else found


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("kind", ["overlap", "separable", "two", "collinear", "noise"])
def test_the_optimum_is_that_of_scikit_learn(kind, balanced):
    values, classes = draw(kind)
    if balanced:  # sizes of the classes that differ
        keep = np.random.default_rng(1).random(len(classes)) < np.where(classes == 0, 0.2, 1.0)
        values, classes = values[keep], classes[keep]
    mean, scale = centre_and_scale(values)
    scaler = StandardScaler().fit(values.astype(float))
    np.testing.assert_allclose(mean, scaler.mean_, atol=1e-6)
    np.testing.assert_allclose(scale, scaler.scale_, rtol=1e-6)
    scaled, n_classes = scaler.transform(values.astype(float)), classes.max() + 1
    sizes = np.bincount(classes)
    weights = (len(classes) / (n_classes * sizes))[classes] if balanced else np.ones(len(classes))
    fit = fit_softmax(in_blocks(values, mean, scale), classes, n_classes, c=1.0, cell_weights=weights, max_iter=500)
    theirs = LogisticRegression(max_iter=20_000, tol=1e-9, class_weight="balanced" if balanced else None)
    best = loss_of(weights_of(theirs.fit(scaled, classes)), scaled, classes, weights)
    assert fit.is_converged
    assert loss_of(fit.weights, scaled, classes, weights) == pytest.approx(best, rel=1e-6)
    assert fit.loss == pytest.approx(best, rel=1e-6)
    guess = (scaled @ fit.weights[:, :-1].T + fit.weights[:, -1]).argmax(axis=1)
    expected = theirs.predict(scaled)
    assert (guess == expected).mean() >= 0.999
    macro = [f1_score(classes, g, average="macro") for g in (guess, expected)]
    assert abs(macro[0] - macro[1]) <= 0.002


def test_a_separable_fit_takes_few_iterations_and_a_warm_one_fewer():
    """A first solver of ours needed hundreds of iterations on separable data."""
    values, classes = draw("separable")
    settings = {"c": 1.0, "cell_weights": np.ones(len(classes)), "max_iter": 500}
    blocks = in_blocks(values, *centre_and_scale(values))
    cold = fit_softmax(blocks, classes, 5, **settings)
    warm = fit_softmax(blocks, classes, 5, start=cold.weights * 1.01, **settings)
    assert cold.n_iter < 60
    assert warm.n_iter < cold.n_iter / 2
    assert warm.loss == pytest.approx(cold.loss, rel=1e-6)
    stopped = fit_softmax(blocks, classes, 5, **{**settings, "max_iter": 2})
    assert (stopped.n_iter, stopped.is_converged) == (2, False)
    assert stopped.loss > cold.loss


def test_threads_change_no_bit():
    values, classes = draw("overlap", n=2 * BLOCK + 100, dims=6)
    blocks = in_blocks(values, *centre_and_scale(values))
    assert [block.shape[1] for block in blocks] == [BLOCK, BLOCK, 100]
    settings = {"c": 1.0, "cell_weights": np.ones(len(classes)), "max_iter": 500}
    alone = fit_softmax(blocks, classes, 5, **settings)
    with ThreadPoolExecutor(3) as pool:
        together = fit_softmax(blocks, classes, 5, each=pool.map, **settings)
    np.testing.assert_array_equal(alone.weights, together.weights)


def test_folds_start_from_each_other_and_keep_their_optimum():
    """The second fold has other means and scales: its start is translated, and its result does not depend on it."""
    values, classes = draw("overlap")
    values = values * 7 + 100
    first, second, rest = np.arange(600), np.arange(400, 1200), np.arange(1200, 1500)
    warm = LogisticProbe(c=1.0, max_iter=500, is_balanced=True)
    cold = LogisticProbe(c=1.0, max_iter=500, is_balanced=True)
    warm.predict(values[first], [classes[first]], values[rest], 5, name="label")
    (got,) = warm.predict(values[second], [classes[second]], values[rest], 5, name="label")
    (expected,) = cold.predict(values[second], [classes[second]], values[rest], 5)
    np.testing.assert_allclose(got.scores, expected.scores, atol=2e-3)
    assert (got.classes == expected.classes).mean() > 0.995
    start = warm._start("label", 5, *centre_and_scale(values[second]))
    blocks = in_blocks(values[second], *centre_and_scale(values[second]))
    settings = {"c": 1.0, "cell_weights": np.ones(800), "max_iter": 500}
    again = fit_softmax(blocks, classes[second], 5, start=start, **settings)
    assert again.n_iter < fit_softmax(blocks, classes[second], 5, **settings).n_iter


def test_a_sample_keeps_small_classes_and_stands_for_all_cells():
    classes = np.repeat([0, 1, 2, 4], [9000, 900, 150, 40])
    chosen, stands_for = stratified_sample(classes, 5, 2000, np.random.default_rng(0))
    sizes = np.bincount(classes[chosen], minlength=5)
    assert sizes[4] == 40
    assert sizes[2] >= LEAST_CELLS
    assert 1900 < sizes.sum() <= 2000
    assert len(set(chosen)) == len(chosen)
    np.testing.assert_allclose(np.bincount(classes[chosen], weights=stands_for), [9000, 900, 150, 0, 40])
    every, ones = stratified_sample(classes, 5, 0, np.random.default_rng(0))
    assert len(every) == len(classes) == ones.sum()


def test_training_on_a_sample_is_said_with_its_effect():
    obs, values = study(1500, label_signal=1.5, batch_signal=1.0)
    splits, cells = make_splits(obs, n_folds=5, seed=123), scored_cells(obs)
    values = values[np.argsort(obs["cell_id"].to_numpy())]
    few = {"permutations": 0, "logistic_permutations": 0}
    full, notes = probe(cells, values, splits, ProbeSettings(**few))
    assert notes == []
    sampled, (note,) = probe(cells, values, splits, ProbeSettings(max_training=900, **few))
    assert note["code"] == "I-PRB-03"
    assert "sample of 900 of up to 1,200 training cells" in note["text"]
    effects = {(e["target"], e["scheme"]): e for e in note["values"]["effects"]}
    assert set(effects) == {("label", "kfold"), ("batch", "kfold"), ("label", "leave_one_batch_out")}
    assert all(0 < abs(e["auroc"]) < 0.1 for e in effects.values())
    rows = (full["fold"] == "mean") & (full["metric"] == "auroc") & (full["status"] == "ok")
    logistic = rows & (full["classifier"] == "logistic")
    assert (full.loc[logistic, "value"] - sampled.loc[logistic, "value"]).abs().between(1e-9, 0.03).all()
    knn = rows & (full["classifier"] == "knn")
    np.testing.assert_array_equal(full.loc[knn, "value"], sampled.loc[knn, "value"])


def test_neighbors_that_are_known_are_not_searched_again(monkeypatch):
    """The file of the shared search gives the same neighbours; a second search serves short cells only."""
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], [150, 150, 20])
    values = rng.normal(size=(320, 4)).astype(np.float32) + 0.4 * group[:, None].astype(np.float32)
    values[:100] -= 1000  # their neighbours are all of their own group
    ids = np.array([f"cell{i:04d}" for i in range(320)])
    known = find_neighbors(values, ids, k=90)
    folds = [np.arange(320) % 5, group]
    expected = neighbors_outside_fold(values, ids, folds, k=15)
    asked = []
    search = find_neighbors.__globals__["nearest"]
    monkeypatch.setattr("scfm.neighbors.search.nearest", lambda *a, **k: asked.append(k.get("rows")) or search(*a, **k))
    found = neighbors_outside_fold(values, ids, folds, k=15, known=known)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert all(rows is not None for rows in asked)
    assert set(range(100)) <= set(np.concatenate(asked))
    assert sum(map(len, asked)) < 250
    others = neighbors_outside_fold(values[1:], ids[1:], [folds[0][1:]], k=15, known=known)  # of other cells: not used
    assert asked[-1] is None
    assert others[0].shape == (319, 15)
