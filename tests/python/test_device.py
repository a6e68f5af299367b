"""Searches, silhouettes, metrics and probes by PyTorch against those of NumPy: on the processor, and on a GPU where one
is.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers_metrics import make_inputs, uneven
from helpers_modules import BIN, INPUTS, STEM, call, of_embedding
from helpers_probing import study
from scfm.errors import SoftwareError
from scfm.io.tables import read_json
from scfm.metrics.registry import load_metrics
from scfm.metrics.silhouette import distance_sums, silhouette_samples
from scfm.neighbors import device as on_device
from scfm.neighbors.exact import by_hash, by_position, nearest
from scfm.neighbors.search import find_neighbors, find_outside, restrict_neighbors
from scfm.probing.classifiers import LogisticProbe
from scfm.probing.probe import ProbeSettings, probe
from scfm.probing.softmax import fit_softmax
from scfm.probing.softmax_device import DeviceLoss, features_on
from scfm.probing.softmax_loss import centre_and_scale, in_blocks
from scfm.probing.splits import make_splits, scored_cells
from scfm.task.device import need_device

torch = pytest.importorskip("torch")
HAS_CUDA = torch.cuda.is_available()
N = 701  # no multiple of anything


@pytest.fixture(
    params=["cpu:0", pytest.param("cuda", marks=pytest.mark.skipif(not HAS_CUDA, reason="PyTorch finds no CUDA"))]
)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A device of PyTorch, with tiles of few rows."""
    monkeypatch.setattr(on_device, "TILE_BYTES", 2**19)
    return request.param


def ids_of(n: int) -> np.ndarray:
    """Return cell ids."""
    return np.array([f"c{i:05d}" for i in range(n)], dtype=object)


def cloud(kind: str, n: int = N) -> np.ndarray:
    """Return cells without ties, far from the origin, on a grid, doubled, in a few places, or in one."""
    rng = np.random.default_rng(3)
    values = {
        "normal": lambda: rng.normal(size=(n, 10)),
        "far": lambda: rng.normal(size=(n, 10)) * 1e-3 + 1000,
        "lattice": lambda: np.repeat(rng.integers(0, 5, (n, 2)), 5, axis=1),
        "doubled": lambda: rng.normal(size=(n, 6))[np.arange(n) // 2],
        "onehot": lambda: np.eye(6)[rng.integers(0, 6, n)],
        "onehot, one alone": lambda: np.eye(6)[np.minimum(np.arange(n), 5)],
        "zeros": lambda: np.zeros((n, 3)),
    }[kind]()
    return values.astype(np.float32)


KINDS = ["normal", "far", "lattice", "doubled", "onehot", "onehot, one alone", "zeros"]


@pytest.mark.parametrize("k", [2, 15, 90])
@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_those_of_the_exact_search(kind: str, k: int, device: str) -> None:
    """With ties at every place of the order, and smallest numbers found by blocks and without."""
    values, ids = cloud(kind), ids_of(N)
    expected, found = find_neighbors(values, ids, k=k), find_neighbors(values, ids, k=k, device=device)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=2e-7)
    assert found.search.is_exact


@pytest.mark.parametrize("ties", [by_hash(ids_of(N)), by_position])
@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_of_some_rows_among_some_columns(kind: str, ties, device: str) -> None:
    rng = np.random.default_rng(5)
    where = {"rows": rng.permutation(N)[:90], "columns": rng.permutation(N)[:400]}
    for k in (1, 10, 400):
        expected, found = (nearest(cloud(kind), k, ties=ties, **where, device=d) for d in ("cpu", device))
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-12)


def test_double_precision_and_few_cells(device: str) -> None:
    values = np.random.default_rng(1).normal(size=(5, 3)) * 1e-9 + 1
    for rows in (None, np.arange(3), np.arange(0)):
        expected, found = (nearest(values, 90, ties=by_position, rows=rows, device=d) for d in ("cpu", device))
        np.testing.assert_array_equal(found[0], expected[0])
        assert found[1].shape == (5 if rows is None else len(rows), 5)


@pytest.mark.parametrize("kind", ["normal", "lattice"])
def test_other_searches_take_the_device(kind: str, device: str) -> None:
    values, ids = cloud(kind), ids_of(N)
    groups = [np.arange(N) % 3, np.where(np.arange(N) < 650, 0, 1)]
    expected, found = (find_outside(values, groups, 5, ties=by_hash(ids), device=d) for d in ("cpu", device))
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    known, chosen = find_neighbors(values, ids, k=20), np.arange(0, N, 9)
    expected, found = (restrict_neighbors(known, values[chosen], chosen, k=15, device=d) for d in ("cpu", device))
    np.testing.assert_array_equal(found.indices, expected.indices)


def test_many_cells_are_searched_exactly_and_large_heaps_draw(device: str) -> None:
    """Where the processor reads lists, every neighbour is exact; cells in one place draw among these."""
    values, ids = cloud("doubled"), ids_of(N)
    expected = find_neighbors(values, ids, k=3)
    found = find_neighbors(values, ids, k=3, exact_max_cells=100, device=device)
    assert found.search.is_exact
    np.testing.assert_array_equal(found.indices, expected.indices)
    values[:300] = 0
    expected = find_neighbors(values, ids, k=3)
    found = find_neighbors(values, ids, k=3, exact_max_cells=100, device=device)
    np.testing.assert_array_equal(found.indices[300:], expected.indices[300:])
    np.testing.assert_allclose(found.distances, expected.distances, rtol=2e-7)
    assert (found.indices[:300] < 300).all()
    assert (found.indices[:, 0] == np.arange(N)).all()
    assert np.bincount(found.indices[:300, 1:].ravel(), minlength=300).max() < 12  # 2 on average


@pytest.mark.parametrize("kind", ["normal", "far", "doubled", "onehot", "zeros"])
@pytest.mark.parametrize("rows", [None, np.arange(0, N, 7)])
def test_silhouettes_are_those_of_double_precision(kind: str, rows, device: str) -> None:
    values, codes = cloud(kind), np.minimum(np.arange(N) % 9, 7)
    codes[0] = 8  # a group of one cell
    chosen = slice(None) if rows is None else rows
    sums = distance_sums(values, codes, 9, rows, device=device)
    expected = distance_sums(values, codes, 9)[chosen]
    np.testing.assert_allclose(sums, expected, rtol=1e-9, atol=1e-7 if kind == "far" else 1e-12)
    found = silhouette_samples(values, codes, rows, device=device)
    np.testing.assert_allclose(found, silhouette_samples(values, codes)[chosen], atol=1e-9)


@pytest.mark.parametrize("sample_above", [50_000, 100])
def test_metrics_are_the_same(sample_above: int, device: str) -> None:
    """All that search, or add up distances, on all cells and on a sample, whose silhouettes are float32 on a CPU."""
    values, labels, batches = uneven(n=900)
    data = replace(make_inputs(values, labels, batches, k=60), sample_above=sample_above)
    metrics = load_metrics()
    for name in ("silhouette_label", "isolated_labels", "batch_asw", "bras", "kbet", "neighborhood_preservation"):
        expected, found = (
            metrics[name].function()(replace(data, device=d, _kept={})).overall.value for d in ("cpu", device)
        )
        assert found == pytest.approx(expected, abs=1e-6), name


def classes_of(kind: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features and classes: overlapping, separable, two classes, or no signal."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2 if kind == "two" else 5, n)
    size = {"separable": 3.0, "noise": 0.0}.get(kind, 0.3)
    values = size * rng.normal(size=(5, 24))[classes] + rng.normal(size=(n, 24))
    return values.astype(np.float32), classes


@pytest.mark.parametrize("n", [1500, 9000])
@pytest.mark.parametrize("kind", ["overlap", "separable", "two", "noise"])
def test_the_optimum_of_the_logistic_regression_is_the_same(kind: str, n: int, device: str) -> None:
    """In less than a block of cells and in several; of separable classes both fits stop within 3e-8 nats of it."""
    values, classes = classes_of(kind, n)
    mean, scale = centre_and_scale(values)
    weights = np.random.default_rng(1).uniform(0.5, 2, n)
    options = {"c": 1.0, "cell_weights": weights, "max_iter": 500}
    blocks = in_blocks(values, mean, scale)
    features = features_on(values, mean, scale, device)
    np.testing.assert_array_equal(features.flatten(0, 1)[:n].cpu().numpy(), np.concatenate(blocks, axis=1).T)
    expected = fit_softmax(blocks, classes, classes.max() + 1, **options)
    found = fit_softmax(features, classes, classes.max() + 1, **options, kind=DeviceLoss)
    assert found.is_converged
    assert abs(found.n_iter - expected.n_iter) <= 2
    assert found.loss == pytest.approx(expected.loss, rel=1e-6, abs=3e-8)
    assert DeviceLoss(features, classes, c=1.0, cell_weights=weights, n_classes=classes.max() + 1, each=map).at(
        expected.weights
    ).loss == pytest.approx(expected.loss, rel=1e-6)


def test_probabilities_and_warm_starts_of_the_logistic_probe(device: str) -> None:
    values, classes = classes_of("overlap", 1200)
    given = {"c": 1.0, "max_iter": 500, "is_balanced": True}
    ours, theirs = LogisticProbe(**given), LogisticProbe(**given, device=device)
    for part in (slice(0, 900), slice(100, 1000)):
        train = classes[part].copy()
        train[train == 4] = 3  # a class without training cells
        expected, found = (p.predict(values[part], [train], values[1000:], 5, name="label")[0] for p in (ours, theirs))
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
        assert not found.scores[:, 4].any()
        assert (found.classes == expected.classes).mean() >= 0.99
    assert theirs.n_fits == 2
    assert theirs.n_unconverged == 0


def test_a_probe_has_the_same_table(device: str) -> None:
    obs, values = study(400, label_signal=1.5, batch_signal=1.0)
    splits, cells = make_splits(obs, n_folds=5, seed=123), scored_cells(obs)
    values = values[np.argsort(obs["cell_id"].to_numpy())]
    tables = [probe(cells, values, splits, ProbeSettings(permutations=20), device=d)[0] for d in ("cpu", device)]
    knn = [table[table["classifier"] == "knn"] for table in tables]
    pd.testing.assert_frame_equal(*knn)
    logistic = [table[table["classifier"] == "logistic"].reset_index(drop=True) for table in tables]
    names = [c for c in logistic[0] if not pd.api.types.is_float_dtype(logistic[0][c])]
    pd.testing.assert_frame_equal(logistic[0][names], logistic[1][names])
    np.testing.assert_allclose(logistic[1]["value"], logistic[0]["value"], atol=0.02)
    whole = [table.loc[table["fold"] == "mean", "value"] for table in logistic]
    np.testing.assert_allclose(*whole, atol=2e-3)


@pytest.mark.parametrize("cause", ["no CUDA", "no PyTorch"])
def test_a_gpu_that_is_not_there_ends_the_task_with_a_sentence(
    cause: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is cached of it, as another environment or node may have one: there is no status of the embedding."""
    if cause == "no CUDA":
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        sentence = "--device cuda was asked for and PyTorch .* finds no CUDA here: use --device cpu, or a node with"
    else:
        monkeypatch.setitem(sys.modules, "torch", None)
        sentence = "--device cuda needs PyTorch, which is not installed for .*: use --device cpu, or an environment"
    with pytest.raises(SoftwareError, match=sentence):
        call("find_neighbors", **of_embedding(INPUTS), device="cuda", outdir=tmp_path)
    assert not list(tmp_path.iterdir())
    need_device("cpu")


def test_the_status_says_which_device_computed(tmp_path) -> None:
    call("find_neighbors", **of_embedding(INPUTS), k=15, outdir=tmp_path)
    assert read_json(tmp_path / f"{STEM}.neighbors.status.json")["device"] == "cpu"


@pytest.mark.skipif(not HAS_CUDA, reason="PyTorch finds no CUDA")
def test_an_executable_on_a_gpu_says_so(tmp_path) -> None:
    call("find_neighbors", **of_embedding(INPUTS), k=15, device="cuda", outdir=tmp_path)
    status = read_json(tmp_path / f"{STEM}.neighbors.status.json")
    assert status["device"] == "cuda"
    assert status["peak_gpu_mb"] > 0


def test_the_processor_needs_no_pytorch(tmp_path) -> None:
    options = [str(part) for name, path in of_embedding(INPUTS).items() for part in (f"--{name}", path)]
    code = (
        f"import runpy, sys; sys.modules['torch'] = None; sys.path.insert(0, {str(BIN)!r});"
        f"sys.argv = ['find_neighbors.py', *{options!r}, '--outdir', {str(tmp_path)!r}];"
        f"runpy.run_path({str(BIN / 'find_neighbors.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / f"{STEM}.neighbors.status.json")["status"] == "ok"
