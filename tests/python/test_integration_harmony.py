"""Harmony's rounds: the setting that ends them, against the library's own default, and what is said about them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from scfm.integration import harmony
from scfm.integration.base import MethodInputs
from scfm.io.tables import write_embedding, write_table
from scfm.task.settings import pick_settings

N_CELLS, N_GENES = 400, 1000


def splatter_like(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return PCA, batch and label of two types in two batches, gamma-Poisson counts with log-normal batch factors.

    The model and its parameters are those of the Splatter sets that integration methods were published on: every gene
    has a factor per batch and, for a part of the genes, a factor per type.
    """
    rng = np.random.default_rng(seed)
    base = rng.gamma(0.6, 1 / 0.3, N_GENES)
    types = [np.where(rng.random(N_GENES) < 0.3, rng.lognormal(0.1, 0.4, N_GENES), 1.0) for _ in range(2)]
    batches = [rng.lognormal(0.05, 0.2, N_GENES) for _ in range(2)]
    counts, label = [], []
    for factors in batches:
        kind = rng.integers(0, 2, N_CELLS)
        means = np.stack([base * types[k] * factors for k in kind])
        means *= rng.lognormal(8, 0.2, N_CELLS)[:, None] / means.sum(axis=1, keepdims=True)
        counts.append(rng.poisson(rng.gamma(10, means / 10)))
        label.append(kind)
    whole = np.vstack(counts).astype(float)
    logged = np.log1p(whole / whole.sum(axis=1, keepdims=True) * 1e4)
    values = PCA(50, svd_solver="full").fit_transform(logged)
    return values, np.repeat(["b0", "b1"], N_CELLS), np.concatenate(label).astype(str)


def same_batch(values: np.ndarray, batch: np.ndarray) -> float:
    """Return the share of a cell's 15 neighbours that are of its batch; 0.5 where two equal batches are mixed."""
    near = NearestNeighbors(n_neighbors=16).fit(values).kneighbors(return_distance=False)[:, 1:]
    return float((batch[near] == batch[:, None]).mean())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Write the simulated cells as Harmony reads them."""
    folder = tmp_path_factory.mktemp("splatter")
    values, batch, label = splatter_like()
    ids = np.array([f"cell{i:04d}" for i in range(len(values))], dtype=object)
    write_embedding(folder / "pca.parquet", ids, values)
    write_table(pd.DataFrame({"cell_id": ids, "batch": batch, "label": label, "scored": True}), folder / "obs.parquet")
    return MethodInputs("splatter", folder / "obs.parquet", folder, pca_path=folder / "pca.parquet")


def run(inputs, **changes):
    return harmony.integrate(inputs, pick_settings("harmony", harmony.DEFAULTS, changes), seed=0)


def test_the_published_epsilon_mixes_what_the_library_s_leaves_apart(inputs):
    loose, ours = run(inputs, harmony_epsilon=1e-2), run(inputs)
    embeddings = (inputs.pca, loose.values, ours.values)  # noqa: PD011
    apart, stopped, mixed = (same_batch(e, inputs.batches) for e in embeddings)
    assert apart > 0.95
    assert loose.details["rounds"] == 1
    assert stopped > 0.8
    assert ours.details["rounds"] >= 5
    assert mixed < 0.52
    assert [w["code"] for w in loose.warnings] == ["W-TRN-06"]
    assert "(seed 0) ended after one round" in loose.warnings[0]["text"]
    assert loose.warnings[0]["threshold"] == 1e-2
    assert ours.warnings == []
    assert not ours.details["converged"]  # ten rounds as published; what they still gained was small
    assert 0 < ours.details["last_change"] < harmony.STILL_FALLING


def test_the_default_is_the_published_one():
    assert harmony.DEFAULTS["epsilon"] == 1e-4


@pytest.mark.parametrize(
    ("objective", "limit", "expected"),
    [
        ([100.0, 99.999], 10, ["W-TRN-06"]),  # one round of ten, a change of 1e-5
        ([100.0, 99.999], 1, []),  # one round is what was asked for
        ([100.0, 90.0, 80.0], 2, ["W-TRN-04"]),  # cut while it fell by 11 %
        ([100.0, 90.0, 89.95], 2, []),  # cut at the limit, next to nothing left to gain
        ([100.0, 90.0, 89.9999], 10, []),  # settled
        ([100.0, 104.0], 1, []),  # rose
    ],
)
def test_messages_about_the_rounds(objective, limit, expected):
    settings = harmony.DEFAULTS | {"max_iter": limit}
    facts = harmony.convergence(objective, settings)
    assert facts["rounds"] == len(objective) - 1
    assert facts["last_change"] == pytest.approx((objective[-2] - objective[-1]) / objective[-2])
    found = harmony.convergence_messages(facts, settings, dataset="d", seed=3)
    assert [m["code"] for m in found] == expected
    assert all(m["seed"] == 3 for m in found)
