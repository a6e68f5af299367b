"""fastMNN on constructed cases: what the paper and the documentation of batchelor say must come out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from scfm.errors import ScfmError
from scfm.integration.fastmnn import _given_order, _messages, merge_batches, multi_batch_components, unit_cells
from scfm.integration.mnn import average_vectors, flatten_along, mutual_pairs, smoothed_vectors
from scfm.neighbors.exact import by_hash, by_position

SIDES = np.arange(30), np.arange(30, 75)


@pytest.fixture
def cloud():
    return np.random.default_rng(3).normal(size=(75, 4))


def test_mutual_pairs_are_those_of_the_definition(cloud):
    left, right = SIDES
    distances = np.linalg.norm(cloud[left][:, None] - cloud[right][None], axis=2)
    near = distances <= np.sort(distances, axis=1)[:, [4]]
    wanted = {
        (int(left[i]), int(right[j])) for i, j in np.argwhere(near & (distances <= np.sort(distances, axis=0)[4]))
    }
    first, second = mutual_pairs(cloud, left, right, 5, ties=by_position)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == wanted
    assert len(first) == len(wanted) > 10


def test_vectors_of_a_cell_in_several_pairs_are_averaged(cloud):
    paired, vectors = average_vectors(cloud, np.array([0, 1, 2, 2]), np.array([40, 40, 31, 40]))
    np.testing.assert_array_equal(paired, [31, 40])
    np.testing.assert_allclose(vectors[0], cloud[2] - cloud[31])
    np.testing.assert_allclose(vectors[1], cloud[:3].mean(axis=0) - cloud[40])


def test_flattening_removes_all_variation_along_the_vector_and_no_other(cloud):
    vector = np.array([1.0, 2.0, 0.0, -1.0])
    flat = flatten_along(cloud, vector)
    assert (flat @ vector).std() < 1e-12
    np.testing.assert_allclose(flat.mean(axis=0), cloud.mean(axis=0))
    other = np.array([2.0, -1.0, 5.0, 0.0])  # orthogonal
    np.testing.assert_allclose(flat @ other, cloud @ other)
    assert flatten_along(cloud, np.zeros(4)) is cloud


@pytest.mark.parametrize("k", [5, 6])
def test_smoothing_follows_the_tricube_kernel(k, cloud):
    paired = np.arange(30, 42)
    vectors = np.random.default_rng(0).normal(size=(12, 4))
    found = smoothed_vectors(cloud, SIDES[1], paired, vectors, k=k, width=2.0, ties=by_position)
    for cell, vector in zip(SIDES[1], found, strict=True):
        distances = np.linalg.norm(cloud[paired] - cloud[cell], axis=1)
        nearest = np.argsort(distances)[:k]
        relative = np.minimum(distances[nearest] / (2.0 * distances[nearest[2]]), 1)  # the third of five and of six
        weights = (1 - relative**3) ** 3
        np.testing.assert_allclose(vector, weights @ vectors[nearest] / weights.sum(), atol=1e-12)


def test_smoothing_where_all_paired_cells_lie_on_the_cell():
    values = np.zeros((6, 2))
    found = smoothed_vectors(
        values, np.arange(6), np.arange(3), np.arange(6.0).reshape(3, 2), k=3, width=3, ties=by_position
    )
    np.testing.assert_allclose(found, np.tile([2.0, 3.0], (6, 1)))


def shifted_copies(n: int = 120):
    """Three types in two dimensions, and the same cells again, shifted along a third dimension."""
    rng = np.random.default_rng(1)
    types = np.repeat([0, 1, 2], n // 3)
    cells = rng.normal(size=(n, 2)) + np.array([[0, 0], [12, 0], [0, 12]])[types]
    values = np.vstack([np.c_[cells, np.zeros(n)], np.c_[cells, np.full(n, 7.0)]])
    return values, np.tile(types, 2), {"a": np.arange(n), "b": np.arange(n, 2 * n)}


def merge(values, cells, order="size", k=20, ids=None):
    ids = np.array([f"c{i}" for i in range(len(values))], dtype=object) if ids is None else ids
    return merge_batches(values, cells, k=k, width=3.0, order=order, ties=by_hash(ids))


def test_a_constant_shift_orthogonal_to_the_biology_goes_to_rounding():
    values, _, cells = shifted_copies()
    corrected, records = merge(values, cells, k=1)
    np.testing.assert_allclose(corrected[cells["b"]], corrected[cells["a"]], atol=1e-10)
    assert records[0]["batch_effect"] == pytest.approx(7.0, abs=1e-12)
    assert records[0]["pairs"] == 120
    assert max(records[0]["lost_variance"].values()) < 1e-12


def test_with_more_neighbours_the_shift_goes_and_types_stay():
    values, types, cells = shifted_copies()
    corrected, records = merge(values, cells)
    apart = np.linalg.norm(corrected[cells["b"]] - corrected[cells["a"]], axis=1)
    assert np.median(apart) < 1.0
    for kind in range(3):
        middle = [corrected[cells[b]][types[cells[b]] == kind].mean(axis=0) for b in "ab"]
        assert np.linalg.norm(middle[0] - middle[1]) < 0.3
    assert max(records[0]["lost_variance"].values()) < 0.01


def test_a_type_of_one_batch_only_stays_apart():
    values, types, cells = shifted_copies()
    cells["b"] = cells["b"][types[cells["b"]] != 1]  # type 1 exists in batch a only
    kept = np.sort(np.concatenate(list(cells.values())))
    position = {int(row): i for i, row in enumerate(kept)}
    some = {name: np.array([position[int(row)] for row in rows]) for name, rows in cells.items()}
    corrected, _ = merge(values[kept], some)
    kinds = types[kept]
    own = corrected[kinds == 1]
    others = corrected[kinds != 1]
    assert np.linalg.norm(own[:, None] - others[None], axis=2).min() > 4
    shared = [corrected[some[b]][kinds[some[b]] == 0].mean(axis=0) for b in "ab"]
    assert np.linalg.norm(shared[0] - shared[1]) < 0.5


def test_the_order_of_cells_changes_nothing():
    values, _, cells = shifted_copies()
    ids = np.array([f"c{i}" for i in range(len(values))], dtype=object)
    corrected, records = merge(values, cells, ids=ids)
    order = np.random.default_rng(0).permutation(len(values))
    place = np.argsort(order)
    again, same = merge(values[order], {b: np.sort(place[rows]) for b, rows in cells.items()}, ids=ids[order])
    np.testing.assert_allclose(again[place], corrected, atol=1e-9)
    assert [r["pairs"] for r in same] == [r["pairs"] for r in records]


def test_a_batch_vector_along_the_biology_costs_variance_and_is_reported():
    rng = np.random.default_rng(0)
    line = np.c_[rng.uniform(0, 10, 200), rng.normal(0, 0.1, (200, 1))]
    values = np.vstack([line, line + np.array([8.0, 0.0])])
    _, records = merge(values, {"a": np.arange(200), "b": np.arange(200, 400)})
    lost = records[0]["lost_variance"]
    assert min(lost.values()) > 0.5
    [warning] = _messages(records, "sim")
    assert warning["code"] == "W-MNN-01"
    assert warning["threshold"] == 0.1
    assert warning["values"]["lost_variance"] == max(lost.values())


def test_three_batches_merge_in_the_order_asked_for():
    values, _, cells = shifted_copies()
    values = np.vstack([values, values[cells["a"]][:60] + np.array([0, 0, -3.0])])
    cells["c"] = np.arange(240, 300)
    assert [r["batch"] for r in merge(values, cells)[1]] == ["b", "c"]  # a and b are of one size: by name
    assert [r["batch"] for r in merge(values, cells, order=["c", "b", "a"])[1]] == ["b", "a"]
    counts = {
        (x, y): len(mutual_pairs(values, cells[x], cells[y], 20, ties=by_position)[0])
        for x, y in (("a", "b"), ("a", "c"), ("b", "c"))
    }
    first = max(counts, key=lambda pair: counts[pair])
    assert merge(values, cells, order="auto")[1][0]["batch"] == first[1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a,b", "missing: 'c'"), ("a,b,d", "missing: 'c'; no batch of the data: 'd'"), ("a,b,c,c", "duplicate: 'c'")],
)
def test_a_merge_order_must_name_each_batch_once(text, problem):
    with pytest.raises(ScfmError, match=f"does not name each batch once \\({problem}\\)"):
        _given_order(text, ["a", "b", "c"], "sim")
    assert _given_order("c, a,b", ["a", "b", "c"], "sim") == ["c", "a", "b"]


def test_the_pca_gives_every_batch_the_same_weight():
    """Equal to the PCA of data in which each batch is scaled by the root of its size, by a dense eigensolver."""
    rng = np.random.default_rng(5)
    codes = np.repeat([0, 1, 2], [200, 30, 70])
    dense = rng.poisson(1.0, (300, 25)) + codes[:, None] * rng.random(25)
    matrix = unit_cells(sparse.csr_matrix(dense))
    np.testing.assert_allclose(np.linalg.norm(matrix.toarray(), axis=1), 1)
    cells = matrix.toarray()
    centre = np.mean([cells[codes == b].mean(axis=0) for b in range(3)], axis=0)
    weighted = np.vstack([(cells[codes == b] - centre) / np.sqrt((codes == b).sum()) for b in range(3)])
    _, _, rotation = np.linalg.svd(weighted, full_matrices=False)
    found = multi_batch_components(matrix, codes, 6)
    np.testing.assert_allclose(np.abs(found), np.abs((cells - centre) @ rotation[:6].T), atol=1e-8)
