"""The approximate search: recall, the same result whatever threads and order, cells that share a place."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from scfm.neighbors import inverted, search
from scfm.neighbors.exact import by_hash, by_position, nearest
from scfm.neighbors.search import find_neighbors, find_outside


def _cells(n: int, d: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clusters in dimensions of falling variance, as in a PCA."""
    rng = np.random.default_rng(seed)
    scale = (np.arange(d) + 1.0) ** -0.5
    values = (rng.standard_normal((n, d)) + 2 * rng.standard_normal((6, d))[rng.integers(0, 6, n)]) * scale
    return values.astype(np.float32), np.array([f"c{i:05d}" for i in range(n)], dtype=object)


def _recall(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, truth, strict=True)]))


@pytest.fixture(scope="module")
def both():
    """Exact and approximate neighbours of the same cells."""
    values, ids = _cells(6000)
    return values, ids, find_neighbors(values, ids, k=40), find_neighbors(values, ids, k=40, exact_max_cells=1000)


def test_recall_is_reached_and_measured(both) -> None:
    _, _, exact, found = both
    actual = _recall(found.indices, exact.indices)
    assert actual >= inverted.MIN_RECALL
    assert found.search.recall == pytest.approx(actual, abs=0.003)
    assert 1 <= found.search.n_read < found.search.n_lists
    assert exact.search.is_exact
    assert exact.search.recall == 1
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(6000))
    complete = (found.indices == exact.indices).all(axis=1)
    assert complete.mean() > 0.5
    np.testing.assert_array_equal(found.distances[complete], exact.distances[complete])


def test_threads_and_row_order_change_nothing(both) -> None:
    values, ids, _, found = both
    order = np.random.default_rng(1).permutation(len(ids))
    with threadpool_limits(2):
        again = find_neighbors(values[order], ids[order], k=40, exact_max_cells=1000)
    np.testing.assert_array_equal(again.indices, found.indices)
    np.testing.assert_array_equal(again.distances, found.distances)
    assert again.search == found.search


def test_few_cells_in_many_dimensions_are_searched_exactly() -> None:
    """Where nearly all lists have to be read the exact search takes over, and says so."""
    values = np.random.default_rng(2).standard_normal((600, 60)).astype(np.float32)
    indices, distances, how = inverted.nearly_nearest(values, 90, ties=by_position, seed=0)
    assert how.is_exact
    expected = nearest(values, 90, ties=by_position)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_array_equal(distances, expected[1])


def test_cells_that_share_a_place_draw_their_own_neighbours() -> None:
    """One-hot coordinates: three places of thousands of cells, and lone cells beside them."""
    heaps = np.repeat(np.eye(3), 1500, axis=0)
    lone = np.random.default_rng(3).standard_normal((300, 3)) * 0.1 + 5
    values = np.concatenate([heaps, lone]).astype(np.float32)
    ids = np.array([f"c{i:05d}" for i in range(len(values))])
    indices, distances, how = inverted.nearly_nearest(values, 15, ties=by_hash(ids), seed=0)
    assert not how.is_exact
    own = np.arange(len(values))
    np.testing.assert_array_equal(indices[:, 0], own)
    assert (indices[:4500] // 1500 == own[:4500, None] // 1500).all()
    assert not distances[:4500].any()
    assert all(len(set(row)) == 15 for row in indices[:4500:50])
    pointed_at = np.bincount(indices[:4500, 1:].ravel(), minlength=4500)
    assert pointed_at.max() < 60  # 14 on average
    expected, _ = nearest(values, 15, ties=by_hash(ids), rows=own[4500:])
    assert _recall(indices[4500:], expected) >= inverted.MIN_RECALL


def test_neighbours_outside_a_group_use_the_same_search(monkeypatch: pytest.MonkeyPatch) -> None:
    values, _ = _cells(3000, 6)
    group = np.arange(3000) % 4
    (exact,) = find_outside(values, [group], 5, ties=by_position)
    monkeypatch.setattr(search, "EXACT_MAX_CELLS", 500)
    (found,) = find_outside(values, [group], 5, ties=by_position)
    assert (group[found] != group[:, None]).all()
    assert _recall(found, exact) >= inverted.MIN_RECALL
