"""The compiled Leiden of large data against exhaustive search, against igraph, and against what Leiden guarantees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import igraph
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score

from helpers_metrics import blobs, make_inputs
from scfm.metrics import leiden
from scfm.metrics.connectivities import umap_connectivities
from scfm.metrics.leiden import K, _leiden, leiden_clusters
from scfm.metrics.leiden_kernels import compiled
from scfm.metrics.leiden_large import LargeGraph

Cells = tuple[sp.csr_array, np.ndarray]


def modularity(graph: sp.csr_array, clusters: np.ndarray, resolution: float) -> float:
    """Return igraph's modularity of a clustering."""
    edges = sp.triu(graph, 1, format="coo")
    network = igraph.Graph(n=graph.shape[0], edges=np.column_stack([edges.row, edges.col]), directed=False)
    return network.modularity(clusters.tolist(), weights=edges.data.tolist(), resolution=resolution)


def random_graph(n: int, degree: float, seed: int) -> sp.csr_array:
    """Return a symmetric graph with random edges of random weights."""
    upper = np.triu(sp.random(n, n, degree / n, random_state=seed).toarray(), 1)
    return sp.csr_array(upper + upper.T)


def partitions(n: int) -> Iterator[list[int]]:
    """Yield every partition of n nodes once."""
    if n == 0:
        yield []
        return
    for rest in partitions(n - 1):
        for cluster in range(max(rest, default=-1) + 2):
            yield [*rest, cluster]


@pytest.fixture(scope="module")
def cells() -> Cells:
    """Graph and labels of 3,000 cells whose labels lie in groups of two."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 8, 3000)
    values = rng.normal(size=(3000, 10)) + 6 * np.eye(10)[labels // 2] + 1.5 * np.eye(10)[labels]
    near = make_inputs(values.astype(np.float32), labels.astype(str), np.repeat("b", 3000)).nearest(K)
    return umap_connectivities(near.indices, near.distances), labels


@pytest.mark.parametrize("resolution", [0.5, 1.0, 2.0])
def test_the_best_of_some_seeds_is_the_optimum_of_a_small_graph(resolution: float) -> None:
    every = [np.array(partition) for partition in partitions(8)]
    assert len(every) == 4140
    for seed in range(3):
        graph = random_graph(8, 4, seed)
        best = max(modularity(graph, clusters, resolution) for clusters in every)
        found = [modularity(graph, LargeGraph(graph).clusters(resolution, s), resolution) for s in range(20)]
        assert max(found) == pytest.approx(best, abs=1e-7)


@pytest.mark.parametrize("resolution", [0.2, 1.0, 2.0])
def test_modularity_and_agreement_are_those_of_igraph(cells: Cells, resolution: float) -> None:
    graph, labels = cells
    network = LargeGraph(graph)
    ours = [network.clusters(resolution, seed) for seed in range(10)]
    theirs = [leiden_clusters(graph, [resolution], seed)[0] for seed in range(10)]
    quality = [[modularity(graph, c, resolution) for c in side] for side in (ours, theirs)]
    agreement = [[adjusted_rand_score(labels, c) for c in side] for side in (ours, theirs)]
    assert np.median(quality[0]) == pytest.approx(np.median(quality[1]), abs=0.001)
    assert np.median(agreement[0]) == pytest.approx(np.median(agreement[1]), abs=0.03)


def test_clusters_are_connected_and_numbered(cells: Cells) -> None:
    graph, _ = cells
    clusters = LargeGraph(graph).clusters(5.0, 0)
    assert np.array_equal(np.unique(clusters), np.arange(clusters.max() + 1))
    assert clusters.max() > 10
    for cluster in range(clusters.max() + 1):
        inside = clusters == cluster
        assert connected_components(graph[inside][:, inside], directed=False)[0] == 1


def test_no_single_move_is_left(cells: Cells) -> None:
    """After the moves no cell raises the modularity in another cluster, or alone."""
    graph = cells[0][:200][:, :200]
    move, _, number, _ = compiled()
    strength = np.asarray(graph.sum(axis=1)).ravel()
    clusters, order = np.arange(200, dtype=np.uint32), np.random.default_rng(0).permutation(200).astype(np.uint32)
    starts, ends = graph.indptr.astype(np.uint32), graph.indices.astype(np.uint32)
    move(starts, ends, graph.data.astype(np.float32), strength, 1.5 / strength.sum(), clusters, order)
    found, n_clusters = number(clusters)
    base = modularity(graph, found, 1.5)
    for cell in range(200):
        for cluster in range(n_clusters + 1):
            moved = found.copy()
            moved[cell] = cluster
            assert modularity(graph, moved, 1.5) <= base + 1e-7


def test_parts_that_are_not_linked_stay_apart() -> None:
    """Components, a cell without edges and a graph without edges."""
    cliques = sp.block_diag([np.ones((5, 5)) - np.eye(5), np.ones((4, 4)) - np.eye(4), np.zeros((1, 1))], format="csr")
    assert adjusted_rand_score([*[0] * 5, *[1] * 4, 2], LargeGraph(cliques).clusters(1.0, 0)) == 1
    assert sorted(LargeGraph(sp.csr_array((4, 4))).clusters(1.0, 0)) == [0, 1, 2, 3]


def test_a_seed_gives_the_same_clusters(cells: Cells) -> None:
    graph, _ = cells
    first = LargeGraph(graph).clusters(2.0, 1)
    np.testing.assert_array_equal(first, LargeGraph(graph).clusters(2.0, 1))
    assert not np.array_equal(first, LargeGraph(graph).clusters(2.0, 2))


def test_links_of_a_cell_to_itself_and_zeros_do_not_count(cells: Cells) -> None:
    graph, _ = cells
    edges, own = graph.tocoo(), np.arange(graph.shape[0])
    rows, columns = np.r_[edges.row, own, 0, 2999], np.r_[edges.col, own, 2999, 0]
    more = sp.csr_array((np.r_[edges.data, np.full(len(own), 7.0), 0, 0], (rows, columns)), shape=graph.shape)
    assert more.nnz > graph.nnz + len(own)
    np.testing.assert_array_equal(LargeGraph(more).clusters(1.0, 0), LargeGraph(graph).clusters(1.0, 0))


def test_large_data_are_clustered_at_every_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[float, int]] = []
    clusters = LargeGraph.clusters
    monkeypatch.setattr(
        LargeGraph, "clusters", lambda self, r, seed: calls.append((r, seed)) or clusters(self, r, seed)
    )
    values, labels, batches = blobs(per_cell=60, n_batches=2, n_labels=4)
    exact = replace(make_inputs(values, labels, batches), n_seeds=3)
    whole = _leiden(exact)
    assert not calls
    light = _leiden(replace(exact, light_above=100, _kept={}))
    assert [r for r, _ in calls[:10]] == [round(0.2 * i, 1) for i in range(1, 11)]
    assert calls[10:] == [(light[0].resolution, seed) for seed in (43, 44)]
    assert light[0].nmi == pytest.approx(whole[0].nmi, abs=0.005)


def test_clusterings_of_more_cells_are_compiled(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _ = cells
    monkeypatch.setattr(leiden, "LIGHT_ABOVE", graph.shape[0] - 1)
    (found,) = leiden_clusters(graph, [1.0], 7)
    np.testing.assert_array_equal(found, LargeGraph(graph).clusters(1.0, 7))
    monkeypatch.setattr(leiden, "LIGHT_ABOVE", graph.shape[0])
    (by_igraph,) = leiden_clusters(graph, [1.0], 7)
    np.testing.assert_array_equal(by_igraph, leiden._Network(graph).clusters(1.0, 7))
