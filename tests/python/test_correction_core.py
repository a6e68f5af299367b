"""Corrections against slow implementations written from their definitions, one cell at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scfm.corrections.core import center, center_label_balanced, drop_first_component, l2_normalize
from scfm.corrections.run import find_correction, settings_of
from scfm.errors import ScfmError
from scfm.inputs.params import properties_of
from scfm.io.tables import read_json
from scfm.registries.corrections import load_corrections
from scfm.registries.reader import ASSETS

CORRECTIONS = load_corrections()


def correct(name: str, values, batches, labels, **params):
    """Correct by name, with the parameters that the correction reads."""
    function = find_correction(name)
    return function(values, batches, labels, **settings_of(function, params))


def test_every_row_has_a_module_and_says_which_parameters_and_labels_it_uses():
    known = properties_of(read_json(ASSETS.parent / "nextflow_schema.json"))
    for name, row in CORRECTIONS.items():
        settings = settings_of(find_correction(name), {})
        assert all(known[key]["default"] == value for key, value in settings.items()), name
        assert bool(settings) == bool(row.parameters) and all(key.startswith(row.parameters) for key in settings), name
        rng = np.random.default_rng(1)
        values, batches = rng.normal(size=(40, 3)), np.array(["a", "b"] * 20, dtype=object)
        one, other = (rng.choice(np.array(["x", "y"], dtype=object), 40) for _ in range(2))
        same = np.array_equal(correct(name, values, batches, one), correct(name, values, batches, other))
        assert same != row.needs_labels, name
        capped = [correct(name, values, batches, one, center_max_cells=5, center_seed=seed) for seed in (1, 2)]
        assert np.array_equal(*capped) != row.stochastic, name


@pytest.fixture(scope="module")
def cells():
    """Two batches far apart and one of three cells; 1 in 10 cells without a label."""
    rng = np.random.default_rng(3)
    batches = np.array(["a"] * 30 + ["b"] * 17 + ["c"] * 3, dtype=object)[rng.permutation(50)]
    labels = rng.choice(np.array(["x", "y", "z", None], dtype=object), 50, p=[0.6, 0.2, 0.1, 0.1])
    values = rng.normal(size=(50, 6)) + 4 * (batches == "b")[:, None] + 2 * (labels == "y")[:, None]
    return values.astype(np.float32), batches, labels


def slow_center(values, batches, max_cells, seed):
    """Centre as the study's pseudocode says it, with NumPy's global legacy generator."""
    result = [[float(x) for x in row] for row in values]
    for batch in set(batches):
        members = [i for i in range(len(batches)) if batches[i] == batch]
        sample = members
        if len(members) > max_cells:
            np.random.seed(seed)  # noqa: NPY002
            sample = list(np.random.choice(members, size=max_cells, replace=False))  # noqa: NPY002
        for d in range(values.shape[1]):
            mean = sum(float(values[i][d]) for i in sample) / len(sample)
            for i in members:
                result[i][d] -= mean
    return np.array(result)


def slow_l2(values):
    """Divide each row by its length, if it has one."""
    rows = []
    for row in values:
        length = sum(float(x) ** 2 for x in row) ** 0.5
        rows.append([float(x) / length if length else 0.0 for x in row])
    return np.array(rows)


def slow_label_balanced(values, batches, labels):
    """Subtract the mean of label means, summed by hand."""
    result = np.array(values, dtype=float)
    for i in range(len(batches)):
        means = []
        for label in {x for x, b in zip(labels, batches, strict=True) if b == batches[i] and x is not None}:
            rows = [values[j] for j in range(len(batches)) if batches[j] == batches[i] and labels[j] == label]
            means.append(np.sum(np.array(rows, dtype=float), axis=0) / len(rows))
        result[i] = np.asarray(values[i], dtype=float) - sum(means) / len(means)
    return slow_l2(result)


@pytest.mark.parametrize("max_cells", [10_000, 17, 16, 5, 1])
def test_center_equals_the_definition_with_and_without_the_cap(cells, max_cells):
    values, batches, _ = cells
    expected = slow_center(values, batches, max_cells, 42)
    np.testing.assert_allclose(center(values, batches, max_cells=max_cells, seed=42), expected, atol=1e-12)


def test_the_cap_and_the_seed_change_the_result(cells):
    values, batches, _ = cells
    capped = center(values, batches, max_cells=5)
    assert np.abs(capped - center(values, batches)).max() > 0.05
    assert np.abs(capped - center(values, batches, max_cells=5, seed=1)).max() > 0.05
    untouched = batches == "c"  # three cells, below the cap
    np.testing.assert_array_equal(capped[untouched], center(values, batches)[untouched])


def test_the_generator_starts_anew_for_every_batch():
    """Two equal batches draw the same positions, so they are shifted by the same mean."""
    block = np.random.default_rng(0).normal(size=(40, 3))
    result = center(np.vstack([block, block]), np.array(["a"] * 40 + ["b"] * 40, dtype=object), max_cells=7)
    np.testing.assert_array_equal(result[:40], result[40:])


def test_every_correction_equals_its_definition(cells):
    values, batches, labels = cells
    expected = {
        "center": slow_center(values, batches, 10, 7),
        "l2": slow_l2(values),
        "center_l2": slow_l2(slow_center(values, batches, 10, 7)),
        "center_label_balanced": slow_label_balanced(values, batches, labels),
    }
    for correction, wanted in expected.items():
        got = correct(correction, values, batches, labels, center_max_cells=10, center_seed=7)
        np.testing.assert_allclose(got, wanted, atol=1e-10, err_msg=correction)
    assert set(CORRECTIONS) == set(expected) | {"drop_pc1"}


def test_drop_pc1_removes_sklearn_s_first_component(cells):
    from sklearn.decomposition import PCA

    values, batches, labels = cells
    axis = PCA(1, svd_solver="full").fit(values.astype(float)).components_[0]
    wanted = np.array([row - (row @ axis) * axis for row in values.astype(float)])
    np.testing.assert_allclose(drop_first_component(values), wanted, atol=1e-6)
    np.testing.assert_allclose(correct("drop_pc1", values, batches, labels), slow_l2(wanted), atol=1e-6)
    assert np.linalg.matrix_rank(drop_first_component(values), tol=1e-6) == values.shape[1] - 1


def test_label_balanced_centring_is_not_pulled_by_a_frequent_label():
    values = np.array([[0.0, 0], [0, 0], [0, 0], [6, 0]])
    batches, labels = np.array(["a"] * 4, dtype=object), np.array(["x", "x", "x", "y"], dtype=object)
    np.testing.assert_allclose(center_label_balanced(values, batches, labels)[:, 0], [-3, -3, -3, 3])
    np.testing.assert_allclose(center(values, batches)[:, 0], [-1.5, -1.5, -1.5, 4.5])


def test_unlabelled_cells_move_with_their_batch_but_have_no_vote():
    values = np.array([[1.0, 0], [3, 0], [100, 0]])
    labels = np.array(["x", "y", None], dtype=object)
    result = center_label_balanced(values, np.array(["a"] * 3, dtype=object), labels)
    np.testing.assert_allclose(result[:, 0], [-1, 1, 98])
    unlabelled = center_label_balanced(values, np.array(["a"] * 3, dtype=object), np.array([None] * 3, dtype=object))
    np.testing.assert_allclose(unlabelled.mean(axis=0), 0, atol=1e-12)


def test_rows_of_zeros_stay_zero_under_l2():
    result = l2_normalize(np.array([[0.0, 0.0], [3.0, 4.0]]))
    np.testing.assert_allclose(result, [[0, 0], [0.6, 0.8]])
    assert np.isfinite(result).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), correction=st.sampled_from(sorted(CORRECTIONS)))
def test_row_order_does_not_matter_below_the_cap(seed, correction):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 40))
    values, batches = rng.normal(size=(n, 4)), rng.choice(np.array(["a", "b"], dtype=object), n)
    labels = rng.choice(np.array(["x", "y", None], dtype=object), n)
    order = rng.permutation(n)
    straight = correct(correction, values, batches, labels)
    shuffled = correct(correction, values[order], batches[order], labels[order])
    np.testing.assert_allclose(shuffled, straight[order], atol=1e-8)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_center_removes_what_was_added_to_a_batch(seed):
    """Centring undoes any shift of a batch, whatever its size, and input is left as it was."""
    rng = np.random.default_rng(seed)
    values, batches = rng.normal(size=(30, 3)), rng.choice(np.array(["a", "b", "c"], dtype=object), 30)
    shifted = values + 50 * rng.normal(size=3) * (batches == "a")[:, None]
    before = shifted.copy()
    np.testing.assert_allclose(center(shifted, batches), center(values, batches), atol=1e-9)
    np.testing.assert_array_equal(shifted, before)


def test_an_unknown_correction_is_a_sentence_with_a_suggestion(cells):
    with pytest.raises(ScfmError, match=r"Unknown correction 'centre_l2'\. Did you mean 'center_l2'"):
        correct("centre_l2", *cells)
