"""Metrics against hand-computed cases and slow, independent implementations."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_samples

from helpers_metrics import blobs, make_inputs, uneven
from scfm.errors import NotApplicable
from scfm.metrics import agreement, bras, connectivity, entropy, kbet, kmeans, lisi, pcr, preservation, silhouette
from scfm.metrics.connectivities import smooth_distances, umap_connectivities
from scfm.metrics.leiden import leiden_clusters

# --- agreement -------------------------------------------------------------------------------------------------------


def test_agreement_equals_sklearn() -> None:
    rng = np.random.default_rng(0)
    for n_first, n_second in itertools.product((1, 2, 7), (1, 3, 30)):
        first, second = rng.integers(0, n_first, 200), rng.integers(0, n_second, 200)
        assert agreement.normalized_mutual_information(first, second) == pytest.approx(
            normalized_mutual_info_score(first, second), abs=1e-12
        )
        assert agreement.adjusted_rand_index(first, second) == pytest.approx(
            adjusted_rand_score(first, second), abs=1e-12
        )


def test_agreement_by_hand() -> None:
    truth, halves = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    assert agreement.normalized_mutual_information(truth, 1 - truth) == pytest.approx(1)
    assert agreement.normalized_mutual_information(truth, halves) == pytest.approx(0)
    assert agreement.adjusted_rand_index(truth, halves) == pytest.approx(-0.5)  # 0 pairs agree, 2/3 expected, highest 2


# --- silhouettes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_silhouette_equals_sklearn(offset: float) -> None:
    values, labels, _ = uneven()
    codes = np.unique(labels, return_inverse=True)[1]
    codes[0] = 3  # a group of one cell
    values = values.astype(float) + offset
    np.testing.assert_allclose(
        silhouette.silhouette_samples(values, codes), silhouette_samples(values, codes), atol=1e-7
    )


def test_silhouette_by_hand_and_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values, codes = np.array([[0.0], [1.0], [4.0], [6.0]]), np.array([0, 0, 1, 1])
    expected = [(5 - 1) / 5, (4 - 1) / 4, (3.5 - 2) / 3.5, (5.5 - 2) / 5.5]
    np.testing.assert_allclose(silhouette.silhouette_samples(values, codes), expected)
    for tile in ((1, 1), (1, 2), (3, 1), (2, 3)):
        monkeypatch.setattr(silhouette, "_TILE", tile)
        np.testing.assert_allclose(silhouette.silhouette_samples(values, codes), expected)


def test_silhouette_of_identical_cells_is_zero() -> None:
    values = np.full((20, 3), 7.7)
    np.testing.assert_array_equal(silhouette.silhouette_samples(values, np.arange(20) % 2), np.zeros(20))


def test_distance_sums_by_group() -> None:
    values, labels, _ = uneven(n=60)
    codes = np.unique(labels, return_inverse=True)[1]
    full = cdist(values.astype(float), values.astype(float))
    expected = np.stack([full[:, codes == g].sum(axis=1) for g in range(3)], axis=1)
    np.testing.assert_allclose(silhouette.distance_sums(values, codes, 3), expected, rtol=1e-9)


def test_isolated_labels_are_those_in_the_fewest_batches() -> None:
    values, labels, batches = uneven()
    keep = ~((labels == "gamma") & (batches != "one"))  # gamma now occurs in one batch only
    data = make_inputs(values[keep], labels[keep], batches[keep])
    result = silhouette.isolated_labels(data)
    assert list(result.by_label) == ["gamma"]
    scaled = (silhouette_samples(values[keep], labels[keep]) + 1) / 2
    assert result.overall.value == pytest.approx(scaled[labels[keep] == "gamma"].mean(), abs=1e-6)


# --- BRAS ------------------------------------------------------------------------------------------------------------


def test_bras_equals_the_sum_over_all_pairs() -> None:
    values, _, batches = uneven(n=90)
    codes = np.unique(batches, return_inverse=True)[1]
    distance = cdist(values.astype(float), values.astype(float), metric="cosine")
    expected = np.empty(90)
    for i in range(90):
        own, other = (codes == codes[i]) & (np.arange(90) != i), codes != codes[i]
        a, b = distance[i, own].mean(), distance[i, other].mean()
        expected[i] = 1 - abs((b - a) / max(a, b))
    np.testing.assert_allclose(bras.cosine_mixing(bras.unit_rows(values), codes), expected, atol=1e-9)


def test_bras_of_a_zero_row_is_finite_and_not_perfect() -> None:
    """A cell at the origin has no direction; in scib-metrics its NaN would turn the whole label into a perfect 1."""
    values, labels, batches = blobs(per_cell=20, batch_shift=50, n_labels=1)
    values[0] = 0
    result = bras.bras(make_inputs(values, labels, batches))
    assert result.overall.value < 0.2


# --- neighbour weights -----------------------------------------------------------------------------------------------


def test_smooth_distances_solve_their_equation() -> None:
    data = make_inputs(*uneven())
    near = data.nearest(15)
    sigma, rho = smooth_distances(near.distances)
    np.testing.assert_array_equal(rho, near.distances[:, 1])
    reached = np.exp(-np.maximum(near.distances[:, 1:] - rho[:, None], 0) / sigma[:, None]).sum(axis=1)
    np.testing.assert_allclose(reached, np.log2(15), atol=2e-5)


def test_connectivities_are_the_fuzzy_union() -> None:
    indices, distances = (
        np.array([[0, 1, 2], [1, 0, 2], [2, 1, 0]]),
        np.array([[0, 1, 3], [0, 1, 2], [0, 2, 3]], dtype=np.float32),
    )
    graph = umap_connectivities(indices, distances).toarray()
    sigma, rho = smooth_distances(distances)
    single = np.zeros((3, 3))
    for i, j in itertools.permutations(range(3), 2):
        d = distances[i, list(indices[i]).index(j)]
        single[i, j] = np.exp(-max(0, d - rho[i]) / sigma[i])
    np.testing.assert_allclose(graph, single + single.T - single * single.T, atol=1e-6)
    assert graph[0, 1] == 1  # each is the other's nearest


def test_leiden_finds_planted_groups_and_leaves_the_random_state_alone() -> None:
    import random

    values, labels, _ = blobs(per_cell=30, n_labels=3)
    near = make_inputs(values, labels, labels).nearest(15)
    graph = umap_connectivities(near.indices, near.distances)
    random.seed(5)
    state = random.getstate()
    first, again = leiden_clusters(graph, [0.2, 1.0]), leiden_clusters(graph, [0.2, 1.0])
    assert random.getstate() == state
    assert adjusted_rand_score(labels, first[0]) == 1
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_clusterings_of_several_seeds_give_median_and_spread() -> None:
    """The resolution is chosen with the first seed; the values are those of one clustering per seed."""
    from dataclasses import replace

    from scfm.metrics.agreement import adjusted_rand_index, normalized_mutual_information
    from scfm.metrics.connectivities import umap_connectivities
    from scfm.metrics.leiden import K, _leiden, leiden_ari, leiden_nmi

    rng = np.random.default_rng(5)
    labels = rng.integers(0, 4, 240)
    one = make_inputs(rng.normal(size=(240, 6)) + 1.1 * np.eye(6)[labels], labels.astype(str), np.repeat("b", 240))
    five = replace(one, n_seeds=5, _kept={})
    near = one.nearest(K)
    graph = umap_connectivities(near.indices, near.distances)
    (chosen,) = _leiden(one)
    codes = one.labels.codes
    by_seed = [leiden_clusters(graph, [chosen.resolution], seed)[0] for seed in range(42, 47)]
    for metric, agree in ((leiden_nmi, normalized_mutual_information), (leiden_ari, adjusted_rand_index)):
        values = [agree(codes, clusters) for clusters in by_seed]
        assert metric(one).overall.value == values[0]
        assert metric(one).overall.spread is None
        assert metric(five).overall.value == np.median(values)
        assert metric(five).overall.spread == pytest.approx(np.ptp(values))
    assert leiden_ari(five).overall.spread > 0
    by_start = [kmeans.kmeans_clusters(one.coordinates, 4, seed) for seed in range(5)]
    values = [adjusted_rand_index(codes, clusters) for clusters in by_start]
    assert kmeans.kmeans_ari(one).overall.value == values[0]
    assert kmeans.kmeans_ari(five).overall.value == np.median(values)
    assert kmeans.kmeans_ari(five).overall.spread == pytest.approx(np.ptp(values))


def test_kmeans_finds_planted_groups_and_a_fixed_point() -> None:
    values, labels, _ = blobs(per_cell=30, n_labels=3)
    clusters = kmeans.kmeans_clusters(values, 3)
    assert adjusted_rand_score(labels, clusters) == 1
    values, _, _ = uneven()
    clusters = kmeans.kmeans_clusters(values, 5)
    centers = np.stack([values[clusters == c].mean(axis=0) for c in range(5)])
    np.testing.assert_array_equal(cdist(values, centers).argmin(axis=1), clusters)


@pytest.mark.parametrize("seed", range(8))
def test_kmeans_of_fewer_places_than_clusters_is_constant(seed: int) -> None:
    """Rounding made a distance above zero of cells in one place, so that a sixth centre was found among five."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((5, 20))[rng.integers(0, 5, 100)].astype(np.float32)
    with pytest.raises(NotApplicable) as caught:
        kmeans.kmeans_clusters(values, 6)
    assert caught.value.code == "constant"
    assert len(np.unique(kmeans.kmeans_clusters(values, 5))) == 5


# --- LISI ------------------------------------------------------------------------------------------------------------


def _slow_lisi(distances: np.ndarray, groups: np.ndarray, perplexity: float) -> float:
    """LISI of one cell: root of entropy(beta) = log(perplexity), then the inverse Simpson index."""

    def weights(beta: float) -> np.ndarray:
        raw = np.exp(-beta * (distances - distances.min()))
        return raw / raw.sum()

    beta = brentq(lambda b: stats.entropy(weights(b)) - np.log(perplexity), 1e-9, 1e3, xtol=1e-12)
    share = [weights(beta)[groups == g].sum() for g in np.unique(groups)]
    return 1 / float(np.square(share).sum())


def test_lisi_equals_the_direct_formula() -> None:
    values, labels, batches = uneven()
    data = make_inputs(values, labels, batches)
    near = data.nearest(90)
    fast = lisi.lisi(near.indices, near.distances, data.batches.codes)
    codes = data.batches.codes
    slow = [
        _slow_lisi(near.distances[i, 1:].astype(float), codes[near.indices[i, 1:]], 30)
        for i in range(0, data.n_cells, 7)
    ]
    np.testing.assert_allclose(fast[::7], slow, atol=1e-4)


def test_inverse_simpson_by_hand() -> None:
    weights, indices, codes = (
        np.array([[0.5, 0.25, 0.25], [0, 0, 0]]),
        np.array([[0, 1, 2], [0, 1, 2]]),
        np.array([0, 1, 1]),
    )
    found = lisi.inverse_simpson(weights, indices, codes)
    assert found[0] == pytest.approx(2)  # shares 1/2 and 1/2
    assert np.isnan(found[1])


def test_lisi_of_a_cell_far_from_all_others_has_its_perplexity() -> None:
    """Weights are those of the distances beyond the nearest: exp(-beta * 2000) is zero whatever the neighbours."""
    data = make_inputs(*uneven())
    near = data.nearest(90)
    is_self = near.indices == np.arange(data.n_cells)[:, None]
    expected = lisi.neighbor_weights(near.distances, is_self, 30)
    far = near.distances.astype(float) + np.where(is_self, 0, 2000)
    np.testing.assert_allclose(lisi.neighbor_weights(far, is_self, 30), expected, atol=1e-9)


def test_lisi_of_cells_in_one_place_weighs_all_neighbours_alike() -> None:
    data = make_inputs(np.zeros((60, 2)), ["x"] * 60, ["a", "b"] * 30)
    near = data.nearest(60)
    weights = lisi.neighbor_weights(near.distances, near.indices == np.arange(60)[:, None], 20)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights[weights > 0], 1 / 59)


# --- kBET ------------------------------------------------------------------------------------------------------------


def test_acceptance_equals_scipys_chi_square_test() -> None:
    data = make_inputs(*uneven())
    indices, codes = data.nearest(20).indices, data.batches.codes
    share = np.bincount(codes) / len(codes)
    passed = [stats.chisquare(np.bincount(codes[row], minlength=3), share * 20).pvalue >= 0.05 for row in indices]
    assert kbet.accepted(indices, codes).mean() == pytest.approx(np.mean(passed))


def test_diffusion_coordinates_are_eigenvectors_of_the_transitions() -> None:
    near = make_inputs(*uneven(n=80)).nearest(20)
    graph = umap_connectivities(near.indices, near.distances)
    dense = graph.toarray().astype(float)
    kernel = dense / np.outer(dense.sum(axis=0), dense.sum(axis=0))
    root = np.sqrt(kernel.sum(axis=0))
    values, vectors = np.linalg.eigh(kernel / np.outer(root, root))
    chosen = np.argsort(-np.abs(values))[:10]
    weight = np.where(np.isclose(values[chosen], 1), 1, values[chosen] / (1 - values[chosen]))
    expected = vectors[:, chosen] * weight
    found = kbet.diffusion_coordinates(graph, 10)
    np.testing.assert_allclose(cdist(found, found), cdist(expected, expected), atol=1e-8)


def test_sparse_and_dense_eigenpairs_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    near = make_inputs(*uneven()).nearest(50)
    graph = umap_connectivities(near.indices, near.distances)
    dense = kbet.diffusion_coordinates(graph, 40)
    monkeypatch.setattr(kbet, "_DENSE_CELLS", 0)
    sparse = kbet.diffusion_coordinates(graph, 40)
    np.testing.assert_allclose(cdist(dense, dense), cdist(sparse, sparse), atol=1e-6)


def test_kbet_rejects_a_label_in_pieces() -> None:
    """Ten far islands of ten cells: no component is large enough for a neighbourhood of k0 cells."""
    rng = np.random.default_rng(0)
    values = np.repeat(np.arange(10), 60)[:, None] * 1000.0 + rng.standard_normal((600, 2))
    labels = np.where(np.arange(600) % 60 < 10, "pieces", "rest")
    data = make_inputs(values, labels, rng.choice(["a", "b"], 600))
    assert kbet.kbet(data).by_label["pieces"].value == 0


# --- connectivity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "components"),
    [("strong", nx.strongly_connected_components), ("weak", nx.weakly_connected_components)],
)
def test_components_equal_networkx(connection: str, components) -> None:
    data = make_inputs(*uneven())
    indices = data.nearest(5).indices
    for label in range(3):
        cells = np.flatnonzero(data.labels.codes == label)
        graph = nx.DiGraph()
        graph.add_nodes_from(cells.tolist())
        graph.add_edges_from((int(i), int(j)) for i in cells for j in indices[i] if data.labels.codes[j] == label)
        expected = max(len(c) for c in components(graph)) / len(cells)
        edges = connectivity.neighbor_edges(indices)
        assert connectivity.largest_component(edges, cells, connection) == pytest.approx(expected)


def test_strong_and_weak_components_by_hand() -> None:
    edges = connectivity.neighbor_edges(np.array([[0, 1], [1, 0], [2, 0], [3, 2]]))  # 0 <-> 1, 2 -> 0, 3 -> 2
    everyone = np.arange(4)
    assert connectivity.largest_component(edges, everyone, "strong") == 0.5
    assert connectivity.largest_component(edges, everyone, "weak") == 1.0
    assert connectivity.largest_component(edges, np.array([0, 3]), "weak") == 0.5


# --- variance explained ----------------------------------------------------------------------------------------------


def test_explained_variance_equals_regression_of_every_component() -> None:
    values, _, batches = uneven()
    codes = np.unique(batches, return_inverse=True)[1]
    components = PCA().fit(values.astype(float))
    scores, hot = components.transform(values.astype(float)), np.eye(3)[codes]
    share = [LinearRegression().fit(hot, scores[:, j]).score(hot, scores[:, j]) for j in range(scores.shape[1])]
    expected = np.average(share, weights=components.explained_variance_)
    assert pcr.explained_variance(values, codes) == pytest.approx(expected, abs=1e-9)


def test_pcr_comparison_by_hand() -> None:
    before = np.array([[1.0], [3.0], [5.0], [7.0]] * 5)  # between 16 of 20, five times
    after = np.array([[1.0], [3.0], [2.0], [4.0]] * 5)  # between 1 of 5
    data = make_inputs(after, ["x"] * 20, ["a", "a", "b", "b"] * 5, pca=before)
    assert pcr.pcr_comparison(data).overall.value == pytest.approx((0.8 - 0.2) / 0.8)


# --- entropy ---------------------------------------------------------------------------------------------------------


def test_entropy_and_divergence_by_hand() -> None:
    counts = np.array([[8, 8], [12, 4], [5, 0]])
    shares, labels = np.array([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25], [0.2, 0.8]]), np.array([0, 0, 1, 2])
    aware = entropy.composition_aware_entropy(shares, labels, counts)
    np.testing.assert_allclose(aware[:3], [1, 0, 1])
    assert np.isnan(aware[3])
    kl = entropy.divergence(shares, labels, counts)
    reference = np.array([12.5, 4.5]) / 17
    np.testing.assert_allclose(kl[:3], [0, np.log(2), stats.entropy([0.75, 0.25], reference)], atol=1e-12)
    assert np.isnan(kl[3])
    np.testing.assert_allclose(entropy.shannon(shares), [stats.entropy(s) for s in shares])


def test_divergence_is_finite_where_neighbours_come_from_a_batch_the_label_lacks() -> None:
    counts = np.array([[6, 6, 0], [0, 5, 5]])
    kl = entropy.divergence(np.array([[0.0, 0.0, 1.0]]), np.array([0]), counts)
    assert kl[0] == pytest.approx(np.log(13.5 / 0.5))


# --- preservation ----------------------------------------------------------------------------------------------------


def test_jaccard_equals_sets() -> None:
    rng = np.random.default_rng(0)
    first, second = (np.stack([rng.permutation(40)[:15] for _ in range(30)]) for _ in range(2))
    expected = [len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(preservation.jaccard(first, second), expected)


def test_preservation_is_measured_inside_batches_only() -> None:
    """Moving whole batches keeps every neighbourhood inside them; permuting cells keeps none."""
    values, labels, batches = blobs(per_cell=60, label_shift=3)
    moved = values + 100 * np.unique(batches, return_inverse=True)[1][:, None]
    assert preservation.neighborhood_preservation(make_inputs(moved, labels, batches, pca=values)).overall.value > 0.99
    lost = values[np.random.default_rng(0).permutation(len(values))]
    chance = preservation.neighborhood_preservation(make_inputs(lost, labels, batches, pca=values)).overall.value
    assert chance == pytest.approx(15 / (2 * 119 - 15), abs=0.02)
