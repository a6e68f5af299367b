"""Probes on real cells: a batch effect is seen, noise is not, labels transfer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers_probing import pick, run_probe

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "pbmc_3tech.h5ad"
pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not DATA.exists(), reason=f"{DATA.name} is not beside the checkout"),
]


@pytest.fixture(scope="module")
def pbmc():
    import anndata as ad

    data = ad.read_h5ad(DATA)
    values = np.log1p(data.X.toarray() / data.obs["n_umi_total"].to_numpy()[:, None] * 1e4)
    left, scale, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    obs = pd.DataFrame(
        {
            "cell_id": data.obs_names.astype(str),
            "batch": data.obs["batch"].astype(str).to_numpy(),
            "label": data.obs["cell_type"].astype(str).to_numpy(),
            "scored": True,
        }
    )
    return obs, (left * scale)[:, :50].astype(np.float32)


@pytest.mark.parametrize("classifier", ["logistic", "knn"])
def test_real_batch_effect_is_far_above_its_baseline_and_noise_is_not(pbmc, classifier):
    obs, pca = pbmc
    row = pick(run_probe(obs, pca), "batch", "kfold", classifier, metric="balanced_accuracy_rescaled")
    assert row["value"] > 0.7
    assert row["baseline_permuted"] < 0.15
    noise = np.random.default_rng(0).normal(size=pca.shape).astype(np.float32)
    row = pick(run_probe(obs, noise), "batch", "kfold", classifier, metric="balanced_accuracy_rescaled")
    assert abs(row["value"]) < 0.1


def test_labels_transfer_from_their_own_one_hot_and_partly_from_pca(pbmc):
    obs, pca = pbmc
    names = np.unique(obs["label"])
    key = ("label", "leave_one_batch_out", "logistic")
    perfect = run_probe(obs, (obs["label"].to_numpy()[:, None] == names).astype(np.float32))
    assert pick(perfect, *key, metric="macro_f1")["value"] == 1.0
    row = pick(run_probe(obs, pca), *key, metric="macro_f1")
    assert 0.6 < row["value"] < 0.95
    assert row["baseline_permuted"] < 0.2


def test_centred_batches_are_hidden_from_the_linear_probe_only(pbmc):
    obs, pca = pbmc
    centred = pca - pd.DataFrame(pca).groupby(obs["batch"].to_numpy()).transform("mean").to_numpy(dtype=np.float32)
    table = run_probe(obs, centred)
    assert pick(table, "batch", "kfold", "logistic", metric="balanced_accuracy_rescaled")["value"] < 0.05
    assert pick(table, "batch", "kfold", "knn", metric="balanced_accuracy_rescaled")["value"] > 0.3
