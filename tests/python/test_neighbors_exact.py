"""Neighbours: exact, self first, independent of row order, fair among ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from scfm.errors import NotApplicable, ScfmError
from scfm.neighbors import exact as neighbors
from scfm.neighbors import products
from scfm.neighbors.exact import by_hash, by_position, nearest
from scfm.neighbors.search import find_neighbors, restrict_neighbors
from scfm.neighbors.table import Neighbors, read_neighbors


def _none_settled(some: np.ndarray, among: np.ndarray, asked: int) -> tuple[np.ndarray, np.ndarray]:
    """Return candidates of which nothing is known."""
    return np.tile(np.arange(asked), (len(some), 1)), np.full(len(some), np.inf)


@pytest.fixture(autouse=True, scope="module", params=["few cells", "many cells", "many cells in double precision"])
def way(request: pytest.FixtureRequest):
    """Run every test with all ways to find candidates."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "few cells":
            patch.setattr(neighbors, "_SMALL", 0)
        if request.param == "many cells in double precision":
            patch.setattr(neighbors, "candidates_of_single", _none_settled)
        yield


def _ids(n: int) -> np.ndarray:
    return np.array([f"c{i:05d}" for i in range(n)], dtype=object)


@pytest.mark.parametrize(("n", "d", "k"), [(2, 3, 90), (50, 5, 90), (95, 4, 90), (400, 30, 90), (400, 2, 15)])
def test_equals_brute_force(n: int, d: int, k: int) -> None:
    values = np.random.default_rng(n).standard_normal((n, d)).astype(np.float32)
    found = find_neighbors(values, _ids(n), k=k)
    full = cdist(values.astype(float), values.astype(float))
    expected = np.argsort(full, axis=1, kind="stable")[:, :k]
    assert found.k == min(k, n)
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_allclose(found.distances, np.take_along_axis(full, expected, axis=1), rtol=1e-6, atol=1e-7)


def test_equals_sklearn_far_from_the_origin() -> None:
    """A large common offset cancels in |x|^2 + |y|^2 - 2xy; the refined distances must not suffer."""
    values = np.random.default_rng(1).standard_normal((300, 10)) * 1e-3
    shifted = (values + 1000).astype(np.float32)
    found = find_neighbors(shifted, _ids(300), k=20)
    distance, _ = NearestNeighbors(n_neighbors=20, algorithm="kd_tree").fit(shifted.astype(float)).kneighbors()
    np.testing.assert_allclose(found.distances[:, 1:], distance[:, :19], rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-25, 1e-18, 1e18])
def test_very_small_and_very_large_coordinates(scale: float) -> None:
    """Squares of them underflow or overflow in single precision."""
    values = np.random.default_rng(1).standard_normal((300, 10))
    scaled = (values * scale).astype(np.float32)
    found = find_neighbors(scaled, _ids(300), k=20)
    full = cdist(scaled.astype(float) / scale, scaled.astype(float) / scale)
    np.testing.assert_array_equal(found.indices, np.argsort(full, axis=1, kind="stable")[:, :20])


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).standard_normal((2500, 20)).astype(np.float32)
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(find_neighbors(values, _ids(2500), k=30))
    np.testing.assert_array_equal(found[0].indices, found[1].indices)
    np.testing.assert_array_equal(found[0].distances, found[1].distances)
    as_double = find_neighbors(values.astype(float), _ids(2500), k=30)
    np.testing.assert_array_equal(found[0].indices, as_double.indices)


@pytest.mark.parametrize("table", ["random", "ties", "every eighth one is small", "few columns"])
def test_the_smallest_of_every_row(table: str) -> None:
    values = np.random.default_rng(6).random((7, 2000)).astype(np.float32)
    if table == "ties":
        values = np.round(values, 1)
    if table == "every eighth one is small":  # a bound that fewer than asked are below
        values[:, ::8] -= 9
    if table == "few columns":
        values = values[:, :300]
    found = products._smallest(values, 40)
    assert found.shape == (7, 40) and all(len(set(row)) == 40 for row in found.tolist())
    chosen = np.take_along_axis(values, found, axis=1)
    np.testing.assert_array_equal(np.sort(chosen, axis=1), np.sort(values, axis=1)[:, :40])
    np.testing.assert_array_equal(chosen[:, -1], chosen.max(axis=1))


@pytest.mark.parametrize("order", ["random", "every part is smaller than the last", "ties"])
@pytest.mark.parametrize("tile", [(3, 50), (7, 64), (256, 8192)])
def test_the_smallest_products_part_by_part(order: str, tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_TILE", tile)
    rng = np.random.default_rng(7)
    left, right = rng.random((7, 1)).astype(np.float32) + 1, rng.random((1000, 1)).astype(np.float32)
    if order == "every part is smaller than the last":
        right = np.sort(right, axis=0)[::-1]
    if order == "ties":
        right = np.round(right, 1)
    found = products._smallest_products(left, np.ascontiguousarray(right), 20)
    table = left @ right.T
    assert all(len(set(row)) == 20 for row in found.tolist())
    chosen = np.take_along_axis(table, found, axis=1)
    np.testing.assert_array_equal(np.sort(chosen, axis=1), np.sort(table, axis=1)[:, :20])
    np.testing.assert_array_equal(chosen[:, -1], chosen.max(axis=1))


def test_row_order_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    values = rng.integers(0, 3, (200, 3)).astype(np.float32)  # 27 places: ties everywhere
    ids, order = _ids(200), rng.permutation(200)
    first, second = find_neighbors(values, ids, k=30), find_neighbors(values[order], ids[order], k=30)
    np.testing.assert_array_equal(first.cell_ids, second.cell_ids)
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_array_equal(first.distances, second.distances)


@pytest.mark.parametrize("k", [5, 40, 90])
def test_ties_are_exact_and_self_is_first(k: int) -> None:
    values = np.random.default_rng(3).integers(0, 3, (300, 2)).astype(np.float32)  # 9 places of about 33 cells
    found = find_neighbors(values, _ids(300), k=k)
    full = np.sort(cdist(values, values), axis=1)[:, :k]
    np.testing.assert_allclose(found.distances, full, rtol=1e-6)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(300))
    assert all(len(set(row)) == k for row in found.indices)
    actual = np.linalg.norm(values[found.indices] - values[:, None, :], axis=2)
    np.testing.assert_allclose(actual, found.distances, rtol=1e-6)


def test_cells_in_one_place_draw_their_own_neighbours() -> None:
    """Without a fair draw the first cells by name would be the neighbours of all and nothing would point at the
    others.
    """
    found = find_neighbors(np.zeros((500, 4), dtype=np.float32), _ids(500), k=15)
    pointed_at = np.bincount(found.indices[:, 1:].ravel(), minlength=500)
    assert not found.distances.any()
    assert pointed_at.min() > 0
    assert pointed_at.max() < 40  # 14 on average
    neighbours_of_first_batch = found.indices[:100, 1:] < 100
    assert 0.15 < neighbours_of_first_batch.mean() < 0.25  # a fifth of the cells, not all of them


def test_mixed_heaps_and_lone_cells() -> None:
    """A heap larger than k, a heap smaller than k, and cells of their own in one search."""
    values = np.concatenate([np.zeros((120, 2)), np.ones((8, 2)), np.arange(20, 52).reshape(16, 2)]).astype(np.float32)
    found = find_neighbors(values, _ids(144), k=30)
    np.testing.assert_allclose(found.distances, np.sort(cdist(values, values), axis=1)[:, :30], rtol=1e-6)
    assert (found.indices[:120] < 120).all()
    assert all(set(range(120, 128)) <= set(row) for row in found.indices[120:128])


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(1, 4), st.integers(2, 70), st.integers(0, 2**31))
def test_property_distances_are_the_smallest(n: int, d: int, k: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(-2, 3, (n, d)).astype(np.float32)
    found = find_neighbors(values, _ids(n), k=k)
    np.testing.assert_allclose(found.distances, np.sort(cdist(values, values), axis=1)[:, : found.k], rtol=1e-6)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(n))


@pytest.mark.reference
def test_approximate_search_finds_nearly_all_and_repeats() -> None:
    values = np.random.default_rng(4).standard_normal((1500, 10)).astype(np.float32)
    exact = find_neighbors(values, _ids(1500), k=15)
    first, second = (find_neighbors(values, _ids(1500), k=15, exact_max_cells=100, seed=7) for _ in range(2))
    recall = np.mean([len(set(a) & set(b)) / 15 for a, b in zip(exact.indices, first.indices, strict=True)])
    assert recall > 0.97
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_array_equal(first.indices[:, 0], np.arange(1500))
    assert not first.distances[:, 0].any()
    assert (np.diff(first.distances, axis=1) >= 0).all()


def test_file_round_trip_and_damage(tmp_path) -> None:
    found = find_neighbors(np.random.default_rng(5).standard_normal((40, 3)).astype(np.float32), _ids(40), k=10)
    found.write(tmp_path / "x.knn.npz")
    read = read_neighbors(tmp_path / "x.knn.npz")
    assert list(read.cell_ids) == list(found.cell_ids)
    np.testing.assert_array_equal(read.indices, found.indices)
    assert read.indices.dtype == np.int32
    assert read.distances.dtype == np.float32
    np.savez(tmp_path / "y.npz", cell_ids=found.cell_ids.astype(str), indices=found.indices)
    with pytest.raises(ScfmError, match="arrays missing: distances"):
        read_neighbors(tmp_path / "y.npz")
    Neighbors(found.cell_ids, found.indices[:, 1:], found.distances[:, 1:]).write(tmp_path / "z.npz")
    with pytest.raises(ScfmError, match="first neighbour of every cell must be the cell itself"):
        read_neighbors(tmp_path / "z.npz")


def test_a_file_in_another_order_is_read_by_id(tmp_path) -> None:
    found = find_neighbors(np.random.default_rng(5).standard_normal((40, 3)).astype(np.float32), _ids(40), k=10)
    order = np.random.default_rng(6).permutation(40)
    rank = np.argsort(order)
    Neighbors(found.cell_ids[order], rank[found.indices[order]], found.distances[order]).write(tmp_path / "x.npz")
    read = read_neighbors(tmp_path / "x.npz")
    np.testing.assert_array_equal(read.cell_ids, found.cell_ids)
    np.testing.assert_array_equal(read.indices, found.indices)
    np.testing.assert_array_equal(read.distances, found.distances)


@pytest.mark.parametrize("ties", [by_hash(np.arange(200).astype(str)), by_position])
@pytest.mark.parametrize("kind", ["normal", "grid", "lattice", "heap"])
def test_some_rows_among_some_columns_equal_brute_force(kind: str, ties) -> None:
    """The order is that of (distance, tie key) over all columns, self first, with rows inside and outside of them.

    The steps of the lattice are the root of 5, which single precision rounds upward.
    """
    rng = np.random.default_rng(8)
    values = {
        "normal": rng.normal(size=(200, 4)),
        "grid": rng.integers(0, 3, (200, 2)),
        "lattice": np.repeat(rng.integers(0, 4, (200, 2)), 5, axis=1),
        "heap": np.ones((200, 3)),
    }[kind]
    rows, columns = rng.permutation(200)[:90], np.sort(rng.permutation(200)[:120])
    indices, distances = nearest(values.astype(np.float32), 15, ties=ties, rows=rows, columns=columns)
    values = values.astype(np.float32).astype(float)
    for row, found, away in zip(rows, indices, distances, strict=True):
        full = np.sqrt(((values[columns] - values[row]) ** 2).sum(axis=1))
        keys = ties(np.full(len(columns), row), columns)
        order = np.lexsort((keys, np.where(columns == row, -1.0, full)))[:15]
        np.testing.assert_array_equal(found, columns[order])
        np.testing.assert_allclose(away, full[order], rtol=1e-12)


def test_the_position_orders_ties() -> None:
    indices, _ = nearest(np.zeros((40, 2)), 5, ties=by_position)
    assert indices[0].tolist() == [0, 1, 2, 3, 4]
    assert indices[7].tolist() == [7, 0, 1, 2, 3]


@pytest.mark.parametrize(("k", "share"), [(90, 0.5), (30, 0.4), (5, 0.5), (90, 0.03)])
def test_neighbours_among_a_sample_equal_a_search_among_it(k: int, share: float) -> None:
    rng = np.random.default_rng(0)
    values, ids = rng.normal(size=(400, 6)).astype(np.float32), _ids(400)
    chosen = np.sort(rng.choice(400, int(400 * share), replace=False))
    near = restrict_neighbors(find_neighbors(values, ids, k=k), values[chosen], chosen, k=15)
    expected = find_neighbors(values[chosen], ids[chosen], k=15)
    np.testing.assert_array_equal(near.cell_ids, expected.cell_ids)
    np.testing.assert_array_equal(near.indices, expected.indices)
    np.testing.assert_array_equal(near.distances, expected.distances)


def test_identical_cells_keep_themselves_first_in_a_sample() -> None:
    alone = Neighbors(_ids(60), np.arange(60)[:, None], np.zeros((60, 1), dtype=np.float32))
    found = restrict_neighbors(alone, np.ones((30, 2), dtype=np.float32), np.arange(0, 60, 2), k=15)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(30))
    assert all(len(set(row)) == 15 for row in found.indices)
    assert not found.distances.any()


def test_wrong_input_is_refused() -> None:
    values = np.zeros((3, 2), dtype=np.float32)
    with pytest.raises(ScfmError, match="1 cell ids occur twice"):
        find_neighbors(values, np.array(["a", "b", "a"], dtype=object))
    with pytest.raises(ScfmError, match="not finite"):
        find_neighbors(np.array([[0.0], [np.nan]]), np.array(["a", "b"], dtype=object))
    with pytest.raises(ScfmError, match="2 cell ids for 3 rows"):
        find_neighbors(values, np.array(["a", "b"], dtype=object))
    with pytest.raises(NotApplicable) as error:
        find_neighbors(values[:1], np.array(["a"], dtype=object))
    assert error.value.code == "too_few_cells"
