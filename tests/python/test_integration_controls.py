"""Every control is what its definition says, and follows the cells, not the rows of a file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from helpers_methods import label_accuracy, same_batch_share, write_prepared
from scfm.errors import NotApplicable
from scfm.integration.base import MethodInputs
from scfm.integration.controls import codes_of_labels, generator, permute_within
from scfm.integration.run import load_method

SHUFFLES = ("shuffled", "shuffled_within_batch", "shuffled_within_label")
CONTROLS = ("random", *SHUFFLES, "label_onehot")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("controls"))


@pytest.fixture(scope="module")
def reordered(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("controls_reordered"), order_seed=11)


def inputs_of(prepared, tmp_path="."):
    return MethodInputs("sim", prepared.obs, tmp_path, pca_path=prepared.pca)


def table(name, inputs, seed=0):
    return pd.DataFrame(load_method(name).integrate(inputs, {}, seed).values, index=inputs.cell_ids)


def sorted_rows(values):
    return values[np.lexsort(values.T)]


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_does_not_depend_on_the_row_order_of_the_files(name, prepared, reordered):
    first, second = (table(name, inputs_of(p)) for p in (prepared, reordered))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


@pytest.mark.parametrize("name", [*SHUFFLES, "random"])
def test_the_seed_decides(name, prepared):
    inputs = inputs_of(prepared)
    pd.testing.assert_frame_equal(table(name, inputs, 4), table(name, inputs, 4), check_exact=True)
    assert not table(name, inputs, 4).equals(table(name, inputs, 5))


def test_controls_of_one_seed_are_not_related():
    draws = [generator(name, 0).random() for name in CONTROLS]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize(
    ("name", "column"), [("shuffled", None), ("shuffled_within_batch", "batch"), ("shuffled_within_label", "label")]
)
def test_a_shuffle_keeps_the_rows_of_every_group(name, column, prepared):
    inputs = inputs_of(prepared)
    original, shuffled = table("pca", inputs), table(name, inputs)
    groups = pd.Series("all", index=original.index) if column is None else inputs.obs[column].fillna("(none)")
    for group in groups.unique():
        members = groups == group
        np.testing.assert_array_equal(
            sorted_rows(shuffled[members].to_numpy()), sorted_rows(original[members].to_numpy())
        )
    assert (shuffled != original).any(axis=1).mean() > 0.9


def test_cells_without_a_label_keep_their_row_in_a_shuffle_within_label(prepared):
    inputs = inputs_of(prepared)
    without = inputs.obs["label"].isna()
    assert without.sum() == 5
    pd.testing.assert_frame_equal(table("shuffled_within_label", inputs)[without], table("pca", inputs)[without])


def test_one_hot_rows_are_equal_exactly_where_labels_are(prepared):
    inputs = inputs_of(prepared)
    onehot = table("label_onehot", inputs).to_numpy()
    labels = inputs.labels
    assert onehot.shape == (len(labels), 3)
    for i in range(0, len(labels), 7):
        if labels[i] is None:
            assert (onehot[i] == 0).all()
            continue
        np.testing.assert_array_equal((onehot == onehot[i]).all(axis=1), labels == labels[i])
        assert onehot[i].sum() == 1


def test_one_label_has_no_one_hot(prepared, tmp_path):
    obs = pd.read_parquet(prepared.obs).assign(label="T cell")
    obs.to_parquet(tmp_path / "obs.parquet")
    with pytest.raises(NotApplicable, match="needs two labels; sim has 1") as caught:
        load_method("label_onehot").integrate(MethodInputs("sim", tmp_path / "obs.parquet", tmp_path), {}, 0)
    assert caught.value.code == "one_label"


def test_controls_sit_where_they_should(prepared):
    """PCA has both signals; each control has just the ones its name leaves it (1/3 is chance for both)."""
    inputs = inputs_of(prepared)
    found = {
        n: (
            same_batch_share(table(n, inputs).to_numpy(), inputs.batches),
            label_accuracy(table(n, inputs).to_numpy(), inputs.labels),
        )
        for n in ("pca", *CONTROLS)
    }
    batch = {n: f[0] for n, f in found.items()}
    label = {n: f[1] for n, f in found.items()}
    assert batch["pca"] > 0.7
    assert label["pca"] > 0.9
    assert all(batch[n] < 0.4 and label[n] < 0.45 for n in ("random", "shuffled")), found
    assert batch["shuffled_within_batch"] > 0.7
    assert label["shuffled_within_batch"] < 0.45
    assert batch["shuffled_within_label"] < 0.45
    assert label["shuffled_within_label"] > 0.9
    assert label["label_onehot"] == 1


def test_noise_is_standard_normal_in_the_shape_of_the_pca(prepared):
    inputs = inputs_of(prepared)
    noise = table("random", inputs).to_numpy()
    assert noise.shape == inputs.pca.shape
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05


def test_permute_within_is_a_permutation_inside_groups():
    groups = np.array([2, 1, 2, 1, 1, 3])
    positions = permute_within(groups, np.random.default_rng(0), keep=np.array([0, 0, 0, 0, 1, 0], dtype=bool))
    assert sorted(positions) == list(range(6))
    np.testing.assert_array_equal(groups[positions], groups)
    assert positions[4] == 4
    codes, names = codes_of_labels(np.array(["b", None, "a", "b"], dtype=object))
    assert names == ["a", "b"]
    np.testing.assert_array_equal(codes, [1, -1, 0, 1])


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_starts_without_heavy_imports(name, prepared, tmp_path):
    import subprocess
    import sys
    from pathlib import Path

    code = f"""
import sys
from pathlib import Path
from scfm.integration.base import MethodInputs
from scfm.integration.run import load_method
inputs = MethodInputs("sim", Path({str(prepared.obs)!r}), Path({str(tmp_path)!r}), pca_path=Path({str(prepared.pca)!r}))
load_method({name!r}).integrate(inputs, {{}}, 0)
print(sorted({{"anndata", "scanpy", "torch", "sklearn", "scvi"}} & set(sys.modules)))
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root / "bin", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
