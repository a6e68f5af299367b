"""Metrics of large data: a stratified sample of evaluated cells, its standard errors, and bounded kBET."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from helpers_metrics import blobs, make_inputs
from scfm.metrics import evaluated, silhouette
from scfm.metrics.evaluated import Sample
from scfm.metrics.inputs import MetricInputs
from scfm.metrics.lisi import neighbor_weights
from scfm.metrics.registry import load_metrics, metrics_of
from scfm.metrics.scoring import run_metric
from scfm.neighbors.search import find_neighbors

LABELS = np.repeat([0, 1, 2], [6000, 900, 100])
IDS = np.array([f"c{i:05d}" for i in range(len(LABELS))])


def test_every_label_has_its_part_whatever_the_order() -> None:
    sample = Sample.draw(IDS, LABELS, n=700, per_label=200, seed=3)
    assert np.bincount(LABELS[sample.rows]).tolist() == [600, 200, 100]
    order = np.random.default_rng(0).permutation(len(IDS))
    again = Sample.draw(IDS[order], LABELS[order], n=700, per_label=200, seed=3)
    assert set(IDS[order][again.rows]) == set(IDS[sample.rows])
    assert set(Sample.draw(IDS, LABELS, n=700, per_label=200, seed=4).rows) != set(sample.rows)


def test_a_sample_of_all_cells_is_exact() -> None:
    values = np.random.default_rng(0).standard_normal(len(IDS))
    sample = Sample.draw(IDS, LABELS, n=len(IDS), per_label=1, seed=0)
    assert sample.mean(values) == (pytest.approx(values.mean(), abs=1e-12), 0)
    assert sample.median(values)[0] == pytest.approx(np.median(values), abs=1e-3)
    assert sample.mean(values, 1) == (pytest.approx(values[LABELS == 1].mean(), abs=1e-12), 0)


@pytest.mark.parametrize("how", ["mean", "median"])
def test_intervals_cover_the_value_of_all_cells(how: str) -> None:
    """Labels of different sizes and means, skewed values: 95 % intervals of 100 draws."""
    values = np.random.default_rng(1).exponential(size=len(IDS)) + LABELS
    truth = getattr(np, how)(values)
    hits = []
    for seed in range(100):
        sample = Sample.draw(IDS, LABELS, n=700, per_label=200, seed=seed)
        known = np.full(len(IDS), np.nan)
        known[sample.rows] = values[sample.rows]
        value, error = getattr(sample, how)(known)
        assert 0 < error < 0.2
        hits.append(abs(value - truth) <= 1.96 * error)
    assert np.mean(hits) >= 0.9


def test_distances_of_some_rows_are_those_of_all() -> None:
    rng = np.random.default_rng(2)
    values, codes = (rng.standard_normal((400, 20)) + 50).astype(np.float32), rng.integers(0, 3, 400)
    rows = np.sort(rng.permutation(400)[:70])
    whole = silhouette.distance_sums(values, codes, 3)
    np.testing.assert_allclose(silhouette.distance_sums(values, codes, 3, rows), whole[rows], rtol=1e-5)
    np.testing.assert_allclose(
        silhouette.silhouette_samples(values, codes, rows),
        silhouette.silhouette_samples(values, codes)[rows],
        atol=1e-5,
    )


@pytest.mark.parametrize(("scale", "far"), [(1, 1e4), (1e-25, 0), (1e20, 0)])
def test_silhouettes_of_single_precision_stand_a_far_cell_and_any_unit(scale: float, far: float) -> None:
    """One cell at 1,000 times the usual distance set all other distances to zero; squares of 1e20 were infinite."""
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 4, 800)
    values = (rng.standard_normal((800, 50)) + codes[:, None]).astype(np.float32)
    values[0] += np.float32(far)
    expected = silhouette_samples(values.astype(np.float64), codes)
    for rows in (None, np.arange(800)):
        found = silhouette.silhouette_samples(values * np.float32(scale), codes, rows)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def _large(data: MetricInputs, n: int) -> MetricInputs:
    """Return the inputs as those of a large data set of which n cells are evaluated."""
    large = replace(data, sample_above=100, _kept={})
    large.keep(
        "sample", lambda: Sample.draw(data.cell_ids, data.labels.codes, n=n, per_label=50, seed=0), of=("labels",)
    )
    return large


@pytest.fixture(scope="module")
def inputs() -> MetricInputs:
    values, labels, batches = blobs(per_cell=130, n_labels=4, batch_shift=0.8, label_shift=3.0)
    return make_inputs(values, labels, batches)


#: metrics that evaluate a sample
SAMPLED = ("silhouette_label", "isolated_labels", "clisi", "ilisi", "kbet", "batch_asw")


@pytest.mark.parametrize("name", SAMPLED)
def test_sampled_values_agree_within_their_errors(inputs: MetricInputs, name: str) -> None:
    metric = load_metrics()[name]
    (_, exact), (status, found) = run_metric(metric, inputs), run_metric(metric, _large(inputs, 700))
    assert status == "ok"
    assert exact.overall.stderr is None
    assert found.overall.stderr is not None
    assert abs(found.overall.value - exact.overall.value) <= 4 * found.overall.stderr + 1e-6
    assert found.by_label.keys() == exact.by_label.keys()
    for label, score in found.by_label.items():
        assert abs(score.value - exact.by_label[label].value) <= 4 * score.stderr + 1e-6
        assert score.n_cells < exact.by_label[label].n_cells


def test_other_metrics_read_all_cells(inputs: MetricInputs) -> None:
    """Closed forms and graphs are the same numbers in large data, without a standard error."""
    for metric in metrics_of(load_metrics(), "full"):
        if metric.name in SAMPLED or metric.name.startswith("leiden"):
            continue
        (_, exact), (_, found) = run_metric(metric, inputs), run_metric(metric, _large(inputs, 700))
        assert found == exact, metric.name


@pytest.mark.slow  # a minute: 30,000 cells both ways
def test_values_of_30_000_cells_are_within_0_005_of_the_exact_ones() -> None:
    values, labels, batches = blobs(per_cell=2500, n_batches=3, n_labels=4, batch_shift=1.0, label_shift=4.0, dims=20)
    exact = replace(make_inputs(values, labels, batches), light_above=len(values))
    near = find_neighbors(exact.coordinates, exact.cell_ids, exact_max_cells=10_000)
    assert near.search.recall >= 0.99
    large = replace(exact, neighbors=near, sample_above=10_000, _kept={})
    light = replace(exact, light_above=10_000, _kept={})
    for metric in metrics_of(load_metrics(), "standard"):
        _, one = run_metric(metric, exact)
        for data in (large, light):
            _, other = run_metric(metric, data)
            assert other.overall.value == pytest.approx(one.overall.value, abs=0.005), metric.name
            assert (other.overall.stderr or 0) <= 0.002, metric.name


@pytest.mark.slow  # a minute: exact silhouettes of 50,000 cells
def test_intervals_cover_the_exact_values_of_50_000_cells() -> None:
    values, labels, batches = blobs(per_cell=4167, n_batches=3, n_labels=4, batch_shift=1.0, label_shift=4.0, dims=20)
    data = make_inputs(values, labels, batches)
    weights = neighbor_weights(data.neighbors.distances, data.neighbors.indices == np.arange(data.n_cells)[:, None], 30)
    share = np.where(data.batches.codes[data.neighbors.indices] == 0, weights, 0).sum(axis=1)
    for per_cell, how in (
        (silhouette.silhouette_samples(data.coordinates, data.labels.codes), "mean"),
        (share, "median"),
    ):
        hits = 0
        for seed in range(100):
            sample = Sample.draw(data.cell_ids, data.labels.codes, seed=seed)
            value, error = getattr(sample, how)(sample.spread_out(per_cell[sample.rows]))
            assert error <= 0.002
            hits += abs(value - getattr(np, how)(per_cell)) <= 1.96 * error
        assert hits >= 90
    assert data.n_cells > evaluated.N_EVALUATED
