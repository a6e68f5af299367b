"""Linear removal of the batch: equal to least squares on dense data, keeps what it is asked to keep."""

# ruff: noqa: PD011 (`.values` is that of a MethodOutput)
from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from helpers_methods import write_files
from scfm.errors import NotApplicable, ScfmError
from scfm.integration import combat, harmony, linear, scvi
from scfm.integration.base import MethodInputs
from scfm.integration.designs import deviations, independent, kept_design


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    """Two batches and two conditions, unbalanced; ten genes follow the condition, fifteen the batch."""
    rng = np.random.default_rng(0)
    n = 240
    batch = np.repeat(["b1", "b2"], n // 2)
    condition = np.where(rng.random(n) < np.where(batch == "b1", 0.25, 0.75), "stim", "ctrl")
    mean = np.full((n, 40), 5.0)
    mean[:, :10] *= np.where(condition == "stim", 4, 1)[:, None]
    mean[:, 10:25] *= np.where(batch == "b2", 3, 1)[:, None]
    obs = pd.DataFrame(
        {"cell_id": [f"c{i:03d}" for i in range(n)], "batch": batch, "label": "one", "condition": condition}
    )
    obs["site"], obs["constant"] = batch, 1.5
    obs["batch_input"] = np.where(np.arange(n) % 2, "x", "y")
    obs["donor"] = condition + (np.arange(n) % 3).astype(str).astype(object)
    counts = rng.poisson(mean).astype(np.float32)
    return write_files(tmp_path_factory.mktemp("crossed"), counts, obs, hvg=np.ones(40, dtype=bool), n_pcs=10)


def inputs_of(files, workdir):
    return MethodInputs("sim", files.obs, workdir, pca_path=files.pca, prepared_path=files.h5ad)


def between(values: np.ndarray, groups: np.ndarray) -> float:
    """Share of the total variance between groups, 0 to 1."""
    total = ((values - values.mean(axis=0)) ** 2).sum()
    parts = [
        (groups == g).sum() * ((values[groups == g].mean(axis=0) - values.mean(axis=0)) ** 2).sum() for g in set(groups)
    ]
    return float(sum(parts) / total)


def test_it_is_least_squares_and_pca_on_dense_data(crossed, tmp_path):
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LinearRegression

    inputs = inputs_of(crossed, tmp_path)
    matrix = inputs.expression("X")[0].toarray().astype(float)
    second = (inputs.batches == "b2").astype(float)
    stim = (inputs.obs_columns(["condition"])["condition"] == "stim").to_numpy(dtype=float)
    shift = LinearRegression().fit(np.c_[second, stim], matrix).coef_[:, 0]
    rest = matrix - np.outer(second - 0.5, shift)  # deviations: each batch moves half of the way
    wanted = PCA(5, svd_solver="full").fit_transform(rest)
    found = linear.integrate(inputs, {"n_pcs": 5, "keep": "condition"}, 0).values
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=1e-8)


@pytest.mark.parametrize(("method", "setting"), [(linear, "keep"), (combat, "covariates")])
def test_a_kept_condition_survives_where_batches_differ_in_it(method, setting, crossed, tmp_path):
    inputs = inputs_of(crossed, tmp_path)
    condition = inputs.obs_columns(["condition"])["condition"].to_numpy()
    share = {
        keep: between(method.integrate(inputs, {"n_pcs": 10, setting: keep}, 0).values, condition)
        for keep in ("", "condition")
    }
    assert share["condition"] > share[""] + 0.02
    assert between(inputs.pca, inputs.batches) > 0.2


@pytest.mark.parametrize(("method", "setting"), [(linear, "keep"), (combat, "covariates")])
def test_a_column_that_follows_the_batch_makes_it_not_applicable(method, setting, crossed, tmp_path):
    with pytest.raises(NotApplicable, match=r"can't tell the batches from site: one follows from the other") as caught:
        method.integrate(inputs_of(crossed, tmp_path), {"n_pcs": 5, setting: "site"}, 0)
    assert caught.value.code == "confounded_design"


@pytest.mark.parametrize(("method", "setting"), [(linear, "keep"), (combat, "covariates")])
def test_a_column_that_says_the_labels_is_not_kept(method, setting, crossed, tmp_path):
    """The method was given the labels that it is scored by, and nothing said so."""
    inputs = inputs_of(crossed, tmp_path)
    kinds = inputs.obs_columns(["donor"])["donor"].to_numpy().astype(str)
    labels = np.where(np.arange(len(kinds)) < 5, None, np.char.add("of ", kinds.astype("U5"))).astype(object)
    object.__setattr__(inputs, "labels", labels)
    with pytest.raises(ScfmError, match="asked to keep 'donor', which determines the label"):
        method.integrate(inputs, {"n_pcs": 5, setting: "condition,donor"}, 0)
    assert method.integrate(inputs, {"n_pcs": 5, setting: "condition,constant"}, 0).values is not None


def test_combat_keeps_columns_of_which_one_follows_from_another(crossed, tmp_path):
    """Donors nested in conditions, and a column with one value, made the model singular: an error, or noise."""
    inputs = inputs_of(crossed, tmp_path)
    settings = {"n_pcs": 5}
    alone = combat.integrate(inputs, settings | {"covariates": "donor"}, 0).values
    for more in ("donor,condition", "donor,constant", "constant,donor"):
        found = combat.integrate(inputs, settings | {"covariates": more}, 0).values
        np.testing.assert_allclose(np.abs(found), np.abs(alone), atol=1e-6)


def test_independent_columns_explain_the_same_whatever_their_units():
    rng = np.random.default_rng(0)
    donor, small, large = rng.integers(4, size=50), 1e-6 * rng.random(50), 1e9 * rng.random(50)
    full = np.column_stack([np.eye(4)[donor], donor < 2, small, large, np.full(50, 0.1)])
    basis = independent(full)
    assert basis.shape == (50, 5)  # three contrasts of donors, and two numbers
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(basis.sum(axis=0), 0, atol=1e-12)
    centred = (full - full.mean(axis=0)) / np.maximum(np.abs(full).max(axis=0), 1e-300)
    np.testing.assert_allclose(basis @ (basis.T @ centred), centred, atol=1e-9)


def test_levels_are_coded_as_deviations_and_numbers_are_centred():
    np.testing.assert_array_equal(deviations(np.array(["c", "a", "b"])), [[-1, -1], [1, 0], [0, 1]])
    columns = pd.DataFrame({"age": [1.0, 2.0, 6.0], "sex": ["f", "m", "f"], "paired": [True, True, False]})
    np.testing.assert_allclose(kept_design(columns), [[-2, 1, -1], [-1, -1, -1], [3, 1, 1]])


def test_components_end_where_the_batches_have_taken_the_rank():
    """Of 20 cells in 4 batches 16 dimensions are left; the others were rounding, 1e-15 of the first."""
    rng = np.random.default_rng(0)
    batch = deviations(np.arange(20) % 4)
    matrix = sparse.csr_matrix(rng.random((20, 60)))
    effects = np.linalg.pinv(np.hstack([np.ones((20, 1)), batch]))[1:] @ matrix
    found = linear.components_of_rest(matrix, batch, effects, 50)
    assert found.shape == (20, 16) and found.std(axis=0).min() > 0.01 * found.std(axis=0).max()


def test_the_matrix_is_not_changed(crossed, tmp_path):
    matrix, _ = inputs_of(crossed, tmp_path).expression("X")
    before = sparse.csr_matrix(matrix, copy=True)
    linear.components_of_rest(matrix, np.ones((240, 1)), np.zeros((1, 40)), 3)
    assert (matrix != before).nnz == 0


def test_a_covariate_that_is_called_batch_stands_beside_the_batch(crossed, tmp_path, monkeypatch):
    """The user's column batch, batch_input in the prepared file, took the place of the batch key in Harmony."""
    given = {}

    def run(_values, columns, *_):
        given.update(columns)
        raise NotApplicable("Not run.", "test")

    monkeypatch.setattr(harmony, "_run", run)
    inputs = inputs_of(crossed, tmp_path)
    with pytest.raises(NotApplicable, match="Not run"):
        harmony.integrate(inputs, harmony.DEFAULTS | {"keys": "batch"}, 0)
    assert [sorted(set(column)) for column in given.values()] == [["b1", "b2"], ["x", "y"]]
    adata, _ = scvi.registered_counts(inputs, scvi.DEFAULTS | {"categorical_covariates": ["batch"]})
    assert set(adata.obs["batch"]) == {"b1", "b2"} and set(adata.obs["batch_input"]) == {"x", "y"}


def test_harmony_corrects_for_further_keys(crossed, tmp_path):
    inputs = inputs_of(crossed, tmp_path)
    condition = inputs.obs_columns(["condition"])["condition"].to_numpy()
    settings = {**harmony.DEFAULTS, "max_iter": 5}
    alone = harmony.integrate(inputs, settings, 0).values
    both = harmony.integrate(inputs, {**settings, "keys": "condition"}, 0).values
    assert between(both, condition) < between(alone, condition) - 0.05
