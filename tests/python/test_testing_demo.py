"""The demo data: the planted truth is in the data, and the data are a fair test."""

from __future__ import annotations

import subprocess
import sys

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from helpers_data import ROOT, assert_says, check
from scfm.errors import ScfmError
from scfm.testing.demo import Planted, deal_batches, degrade, gene_factors, make_demo, recover_counts


@pytest.fixture(scope="module")
def demo() -> ad.AnnData:
    """Return the demo data of seed 0."""
    return make_demo(0)


@pytest.fixture(scope="module")
def original() -> tuple[np.ndarray, list[str]]:
    """Return recovered counts before any effect, and their cells."""
    import warnings

    from scfm.testing.demo import source_path

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = ad.read_h5ad(source_path())
    return recover_counts(source.raw.X).toarray(), list(source.obs_names)


def test_counts_are_recovered_exactly():
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.7, (30, 80)) + np.eye(30, 80, dtype=int)
    factor = rng.uniform(0.5, 5.0, (30, 1))
    np.testing.assert_array_equal(
        recover_counts(sparse.csr_matrix(np.log1p(counts * factor).astype(np.float32))).toarray(), counts
    )


def test_what_is_no_count_is_refused():
    values = sparse.csr_matrix(np.log1p(np.array([[1.0, 2.0, 3.4, 0.0]])))
    with pytest.raises(ScfmError, match="not whole counts"):
        recover_counts(values)


def test_recovered_counts_give_the_log_values_back(original):
    import warnings

    from scfm.testing.demo import source_path

    counts, _ = original
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logged = ad.read_h5ad(source_path()).raw.X.toarray()
    ratio = np.divide(np.expm1(logged.astype(float)), counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    spread = np.nanmax(ratio, axis=1) / np.nanmin(ratio, axis=1)
    assert spread.max() < 1.002  # one factor per cell


def test_truth_is_in_the_object(demo, original):
    planted = demo.uns["planted"]
    assert demo.shape == (700, 765) and sparse.isspmatrix_csr(demo.X) and demo.X.dtype == np.float32
    assert (demo.X.data == np.rint(demo.X.data)).all() and (demo.X.data >= 1).all()
    table = demo.obs.groupby(["batch", "cell_type"], observed=False).size()
    assert table[planted["missing_from"], planted["missing_label"]] == 0
    assert (table.drop((planted["missing_from"], planted["missing_label"])) > 0).all()
    assert demo.obs.groupby("donor", observed=True)["batch"].nunique().eq(1).all() and demo.obs["donor"].nunique() == 6
    counts, cells = original
    assert list(demo.obs_names) == cells
    for batch, depth, ambient in zip(planted["batches"], planted["depth"], planted["ambient_share"], strict=True):
        rows = (demo.obs["batch"] == batch).to_numpy()
        kept = demo.X[rows].sum() / counts[rows].sum()
        assert kept == pytest.approx(depth / (1 - ambient), rel=0.06)


def test_gene_factors_are_in_the_data(demo, original):
    counts, _ = original
    for batch, ambient, depth in zip(
        demo.uns["planted"]["batches"], demo.uns["planted"]["ambient_share"], demo.uns["planted"]["depth"], strict=True
    ):
        rows = (demo.obs["batch"] == batch).to_numpy()
        before, after = counts[rows].sum(axis=0), np.asarray(demo.X[rows].sum(axis=0)).ravel()
        strong = before > 200
        seen = after[strong] * (1 - ambient) / before[strong] / depth
        planted = demo.var[f"factor_{batch}"].to_numpy()[strong]
        assert np.corrcoef(np.log(seen), np.log(planted))[0, 1] > 0.98
        assert planted.max() <= 1 / depth + 1e-9


def test_ambient_share_is_what_was_asked():
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(np.array([[400.0, 0.0], [0.0, 400.0]] * 300, dtype=np.float32))
    after = degrade(counts, np.ones(2), 0.2, rng).toarray()
    foreign = np.concatenate([after[::2, 1], after[1::2, 0]]).sum() / after.sum()
    assert foreign == pytest.approx(0.1, rel=0.03)  # half of the soup is of the cell's own gene


def test_factors_have_mean_one_over_counts():
    profile = np.random.default_rng(1).gamma(0.5, 20, 500)
    factors = gene_factors(profile, 0.7, 0.8, np.random.default_rng(2))
    assert factors @ profile / profile.sum() == pytest.approx(1.0, rel=1e-3)
    assert factors.min() > 0 and factors.max() <= 1 / 0.7 + 1e-12


def test_labels_are_dealt_evenly():
    labels = np.array(["B"] * 10 + ["T"] * 30, dtype=object)
    batch = deal_batches(labels, Planted(), np.random.default_rng(0))
    assert [(batch[labels == "T"] == b).sum() for b in Planted().batches] == [10, 10, 10]
    assert [(batch[labels == "B"] == b).sum() for b in Planted().batches] == [5, 5, 0]


def test_same_seed_same_bytes(demo):
    again, other = make_demo(0), make_demo(1)
    for part in ("data", "indices", "indptr"):
        assert getattr(demo.X, part).tobytes() == getattr(again.X, part).tobytes()
    assert demo.obs.equals(again.obs) and demo.var.equals(again.var)
    assert demo.X.data.tobytes() != other.X.data.tobytes()


def test_file_in_the_tree_is_what_the_generator_makes(demo):
    stored = ad.read_h5ad(ROOT / "tests" / "data" / "demo.h5ad")
    assert (stored.X != demo.X).nnz == 0
    assert stored.obs.astype(str).equals(demo.obs.astype(str))
    assert list(stored.var_names) == list(demo.var_names)
    found, expected = stored.var.select_dtypes("float"), demo.var.select_dtypes("float")
    assert list(stored.var) == list(demo.var) and list(found) == list(expected) != []
    # exp, log and sums differ in the last bits between processors
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert stored.var.drop(columns=found).astype(str).equals(demo.var.drop(columns=expected).astype(str))


def _mixing(values: np.ndarray, batch: np.ndarray, k: int = 30) -> float:
    """Return mean inverse Simpson index of batches among k neighbours, 0 = apart, 1 = even."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=k + 1).fit(values).kneighbors(return_distance=False)[:, :k]
    levels = sorted(set(batch))
    shares = np.stack([(batch[near] == level).mean(axis=1) for level in levels])
    return float(((1 / (shares**2).sum(axis=0) - 1) / (len(levels) - 1)).mean())


def test_batches_are_apart_and_a_correction_helps(demo):
    """Uncorrected mixing is low, Harmony raises it clearly, labels survive both."""
    from harmonypy import run_harmony
    from sklearn.model_selection import cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    from helpers_data import defaults
    from scfm.preparation.counts import HeldCounts
    from scfm.preparation.prepare import prepare

    prepared = prepare(
        HeldCounts(demo.X.tocsr()),
        demo.obs,
        demo.var,
        row={"dataset": "demo", "batch_key": "batch", "label_key": "cell_type"},
        params=defaults(),
    )
    obs = prepared.obs
    batch, label = obs["batch"].to_numpy(dtype=str), obs["label"].to_numpy(dtype=str)
    corrected = np.asarray(
        run_harmony(
            prepared.pca.scores.astype(np.float32), obs[["batch"]], ["batch"], theta=2, lamb=1, verbose=False
        ).Z_corr
    )
    corrected = corrected if corrected.shape[0] == 700 else corrected.T
    assert _mixing(prepared.pca.scores, batch) < 0.15
    assert _mixing(corrected, batch) > 0.4
    for values in (prepared.pca.scores, corrected):
        assert cross_val_score(KNeighborsClassifier(15), values, label, cv=5).mean() > 0.75
    assert [w["values"] for w in prepared.facts["warnings"] if w["code"] == "W-BAL-01"] == []


def test_executable_makes_a_file_the_check_accepts(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "bin" / "make_demo_data.py"),
        "--quiet",
        "--output",
        str(tmp_path / "new" / "demo.h5ad"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    row = {
        "dataset": "demo",
        "h5ad": "new/demo.h5ad",
        "batch_key": "batch",
        "label_key": "cell_type",
        "donor_key": "donor",
        "organism": "human",
    }
    outcome = check(tmp_path, [row])
    assert outcome.errors == []
    assert outcome.datasets[0]["batches"] == {"batch_1": 252, "batch_2": 248, "batch_3": 200}
    assert_says([w["text"] for w in outcome.warnings] or ["none"], "none")
