"""Centroids per batch and label: rates and chance levels known by hand, and nothing depends on the order of rows."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers_metrics import make_inputs
from scfm.errors import NotApplicable, ResourceError, ScfmError
from scfm.io.tables import write_embedding, write_table
from scfm.metrics.centroids import COLUMNS, PLACES, Alignment, Centroids, align, centroid_table, compute_centroids
from scfm.registries.schemas import Schemas
from scfm.umap import centroid_maps as core
from scfm.umap.centroid_maps import centroid_maps, map_centroids, parse_maps

IDENTITY = {
    "dataset": "toy",
    "embedding": "pca.raw.0",
    "method": "pca",
    "family": "none",
    "correction": "raw",
    "seed": 0,
    "batch_key": "batch",
    "label_key": "label",
}


def groups(places: dict[tuple[str, str], list[float]]) -> Centroids:
    """Return centroids from ``{(batch, label): place}``."""
    names = sorted(places)
    return Centroids(
        np.array([b for b, _ in names], dtype=object),
        np.array([x for _, x in names], dtype=object),
        np.ones(len(names), dtype=int),
        np.array([places[n] for n in names], dtype=float),
    )


def cells(n: int = 240, *, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return ids, values, batches and labels of three labels in two batches, ``shift`` apart."""
    rng = np.random.default_rng(1)
    label, batch = np.arange(n) % 3, (np.arange(n) // 3) % 2
    values = (10 * np.eye(6)[label] + shift * np.eye(6)[3 + batch] + rng.normal(size=(n, 6))).astype(np.float32)
    return (
        np.array([f"c{i:03d}" for i in range(n)]),
        values,
        np.array(["b0", "b1"], dtype=object)[batch],
        np.array(list("xyz"), dtype=object)[label],
    )


def rate_of(found: Alignment) -> tuple[float, float]:
    """Return the alignment rate (0 to 1, higher is better) and its chance level; NaN where no centroid counts."""
    if not found.counts.any():
        return math.nan, math.nan
    return float(found.aligned[found.counts].mean()), float(found.chance[found.counts].mean())


# ---------------------------------------------------------------- rates by hand


def test_batches_that_lie_on_each_other_are_aligned():
    found = align(groups({(b, x): [10.0 * i, 0.1 * j] for j, b in enumerate("AB") for i, x in enumerate("xyz")}))
    assert rate_of(found) == (1.0, pytest.approx(1 / 3))
    assert found.nearest.tolist() == [3, 4, 5, 0, 1, 2]


def test_batches_that_are_torn_apart_are_not():
    """Labels are in the opposite order in the other batch, so every nearest is another label."""
    places = {("A", "x"): [0.0], ("A", "y"): [1.0], ("B", "y"): [0.1], ("B", "x"): [0.9]}
    assert rate_of(align(groups(places))) == (0.0, 0.5)


def test_a_mixed_case():
    """x is shared, y of B lies beside x of A, z occurs in B only: 2 of the 4 that count are aligned."""
    places = {
        ("A", "x"): [0.0, 0.0],
        ("A", "y"): [9.0, 0.0],
        ("B", "x"): [0.2, 0.0],
        ("B", "y"): [1.0, 0.0],
        ("B", "z"): [8.0, 0.0],
    }
    found = align(groups(places))
    assert found.counts.tolist() == [True, True, True, True, False]
    assert found.aligned[:4].tolist() == [True, False, True, False]
    np.testing.assert_allclose(found.chance, [1 / 3, 1 / 3, 1 / 2, 1 / 2, np.nan])
    assert rate_of(found) == (0.5, pytest.approx((1 / 3 + 1 / 3 + 1 / 2 + 1 / 2) / 4))


def test_one_batch_has_no_rate_and_no_nearest():
    found = align(groups({("A", "x"): [0.0], ("A", "y"): [1.0]}))
    assert found.nearest.tolist() == [-1, -1]
    assert not found.counts.any()
    assert all(math.isnan(v) for v in rate_of(found))


def test_labels_in_one_batch_only_have_a_nearest_but_do_not_count():
    found = align(groups({("A", "x"): [0.0], ("B", "y"): [1.0]}))
    assert found.nearest.tolist() == [1, 0]
    assert not found.counts.any()


def test_a_collapsed_embedding_is_not_aligned_by_luck():
    found = align(groups({(b, x): [3.0, 3.0] for b in "ABC" for x in "xy"}))
    assert rate_of(found) == (0.0, 0.5)
    one_label = align(groups({(b, "x"): [3.0] for b in "ABC"}))
    assert rate_of(one_label) == (1.0, 1.0)


def brute_chance(batch: list[str], label: list[str]) -> float:
    """Return the mean over the centroids that count of the share of draws with their label, by drawing every one."""
    shares = []
    for b, x in zip(batch, label, strict=True):
        draws = [y == x for c, y in zip(batch, label, strict=True) if c != b]
        if any(draws):
            shares.append(sum(draws) / len(draws))
    return float(np.mean(shares)) if shares else float("nan")


@given(st.sets(st.tuples(st.sampled_from("ABCD"), st.sampled_from("wxyz")), min_size=1), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_chance_and_rate_equal_a_plain_count(names, seed):
    rng = np.random.default_rng(seed)
    made = groups({n: list(rng.normal(size=3)) for n in names})
    rate, chance = rate_of(align(made))
    np.testing.assert_allclose(chance, brute_chance(list(made.batch), list(made.label)))
    hits = []
    for i, j in itertools.product(range(len(made.batch)), repeat=2):
        others = [k for k in range(len(made.batch)) if made.batch[k] != made.batch[i]]
        if j in others and any(made.label[k] == made.label[i] for k in others):
            away = {k: float(((made.means[i] - made.means[k]) ** 2).sum()) for k in others}
            if away[j] == min(away.values()):
                hits.append(made.label[j] == made.label[i])
    np.testing.assert_allclose(rate, np.mean(hits) if hits else np.nan)


def test_chance_is_what_random_centroids_reach():
    rng = np.random.default_rng(0)
    names = [(b, x) for b in "ABCDE" for x in "vwxyz" if (b, x) != ("A", "z")]
    rates = [rate_of(align(groups({n: list(rng.normal(size=8)) for n in names}))) for _ in range(200)]
    assert np.mean([r for r, _ in rates]) == pytest.approx(rates[0][1], abs=0.02)


# ---------------------------------------------------------------- means and rows


def test_means_are_those_of_the_cells():
    ids, values, batch, label = cells()
    found = compute_centroids(ids, values, batch, label)
    expected = pd.DataFrame(values.astype(float)).groupby([batch, label]).mean()
    assert list(zip(found.batch, found.label, strict=True)) == list(expected.index)
    np.testing.assert_allclose(found.means, expected.to_numpy(), rtol=1e-6)
    assert found.n_cells.tolist() == [40] * 6


@pytest.mark.parametrize("shift", [0.0, 3.0, 50.0])
def test_a_shift_alike_for_all_labels_leaves_them_aligned(shift):
    """However large: only the other batch's centroids are looked at. That is what the rate can't see."""
    assert rate_of(align(compute_centroids(*cells(shift=shift)))) == (1.0, pytest.approx(1 / 3))


def test_labels_that_change_places_between_batches_are_not_aligned():
    ids, values, batch, label = cells()
    values[batch == "b1"] = values[batch == "b1"][:, [1, 2, 0, 3, 4, 5]]
    assert rate_of(align(compute_centroids(ids, values, batch, label)))[0] == 0.0


def table_of(ids, values, batch, label) -> pd.DataFrame:
    return centroid_table(make_inputs(values, label, batch, ids=ids), IDENTITY)


def test_permuted_rows_change_no_digit():
    ids, values, batch, label = cells()
    first = table_of(ids, values, batch, label)
    order = np.random.default_rng(5).permutation(len(ids))
    again = table_of(ids[order], values[order], batch[order], label[order])
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert first["aligned"].all()


def test_the_columns_are_those_of_the_schema():
    assert list(COLUMNS) == Schemas().columns("centroids")
    Schemas().check(table_of(*cells()), "centroids")


def test_a_graph_has_no_centroids():
    _, values, batch, label = cells()
    data = dataclasses.replace(make_inputs(values, label, batch), coordinates=None)
    with pytest.raises(NotApplicable) as caught:
        centroid_table(data, IDENTITY)
    assert caught.value.code == "graph_output"


# ---------------------------------------------------------------- maps


def test_maps_are_the_same_every_time_and_small_ones_are_left_out():
    values = np.random.default_rng(0).normal(size=(40, 5))
    for kind in ("umap", "tsne"):
        np.testing.assert_array_equal(map_centroids(values, kind), map_centroids(values, kind))
        assert np.isfinite(map_centroids(values[:5], kind)).all()
        assert np.isnan(map_centroids(values[:4], kind)).all()


@pytest.mark.parametrize(
    ("text", "maps"), [("none", ()), ("umap", ("umap",)), ("tsne, umap", ("umap", "tsne")), (None, ())]
)
def test_the_parameter_is_read(text, maps):
    assert parse_maps(text) == maps


@pytest.mark.parametrize("text", ["pca", "none,umap", "UMAP"])
def test_a_wrong_parameter_is_a_sentence(text):
    with pytest.raises(ScfmError, match="it takes 'none', 'umap', 'tsne' or 'umap,tsne'"):
        parse_maps(text)


def files_of(folder: Path, order=slice(None)) -> tuple[Path, dict, Path]:
    """Write table and obs of the cells in some order; return them with the sidecar."""
    ids, values, batch, label = (part[order] for part in cells())
    write_embedding(folder / "toy.parquet", ids, values)
    write_table(
        pd.DataFrame({"cell_id": ids, "batch": batch, "label": label, "scored": True}), folder / "toy.obs.parquet"
    )
    return folder / "toy.parquet", {**IDENTITY, "output_type": "embedding"}, folder / "toy.obs.parquet"


def test_maps_do_not_depend_on_the_order_of_rows(tmp_path):
    first, notes = centroid_maps(*files_of(tmp_path), maps=("umap", "tsne"))
    again, _ = centroid_maps(*files_of(tmp_path, np.random.default_rng(5).permutation(240)), maps=("umap", "tsne"))
    assert list(first.columns) == ["dataset", "embedding", "batch_key", "label_key", "batch", "label", *PLACES]
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert np.isfinite(first[list(PLACES)].to_numpy()).all()
    assert notes == []


def test_a_map_that_fails_is_reported_and_leaves_the_other(tmp_path, monkeypatch):
    def broken(values, kind):
        if kind == "umap":
            raise ValueError("no spectrum")
        return np.zeros((len(values), 2))

    monkeypatch.setattr(core, "map_centroids", broken)
    table, notes = centroid_maps(*files_of(tmp_path), maps=("umap", "tsne"))
    assert table["umap_1"].isna().all()
    assert table["tsne_1"].notna().all()
    assert [n["code"] for n in notes] == ["W-MAP-01"]
    assert "no spectrum" in notes[0]["text"]

    def full(values, kind):
        raise MemoryError

    monkeypatch.setattr(core, "map_centroids", full)
    with pytest.raises((MemoryError, ResourceError)):
        centroid_maps(*files_of(tmp_path), maps=("umap",))
