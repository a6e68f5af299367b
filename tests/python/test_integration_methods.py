"""Methods on simulated cells: they mix what is planted, keep labels, repeat themselves, and follow cells, not rows."""

# ruff: noqa: PD011 (`.values` is that of a MethodOutput)
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers_methods import label_accuracy, same_batch_share, skip_without_r, write_files, write_prepared
from scfm.errors import NotApplicable, ScfmError
from scfm.integration.base import MethodInputs
from scfm.integration.run import load_method
from scfm.integration.scanorama import alignment_messages
from scfm.task.settings import pick_settings

CORRECTORS = ("harmony", "scanorama", "combat", "linear", "fastmnn")
#: methods in R, tested where it is; Seurat starts in 6 s of CPU, so they are repeated in the slow tests
IN_R = ("seurat_cca", "seurat_rpca")
REPEATED = [*CORRECTORS, *(pytest.param(name, marks=pytest.mark.slow) for name in IN_R)]
PARAMS = {
    "n_pcs": 20,
    "scanorama_dims": 20,
    "scvi_n_latent": 5,
    "scvi_n_layers": 1,
    "scvi_n_hidden": 64,
    "scvi_max_epochs": 120,
    "scvi_batch_size": 32,
    "scvi_continuous_covariates": "percent_mito",
    "outdir": "results",
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("methods"))


@pytest.fixture(scope="module")
def reordered(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("methods_reordered"), order_seed=2)


def inputs_of(prepared, workdir, **more):
    return MethodInputs(
        "sim", prepared.obs, workdir, pca_path=prepared.pca, prepared_path=prepared.h5ad, device="cpu", **more
    )


def run(name, prepared, workdir, seed=0, cpus=1, **changes):
    skip_without_r(name)
    module = load_method(name)
    return module.integrate(
        inputs_of(prepared, workdir, cpus=cpus), pick_settings(name, module.DEFAULTS, PARAMS | changes), seed
    )


@pytest.fixture(scope="module")
def results(prepared, tmp_path_factory):
    """Result of each method, computed when a test first asks for it."""

    class Results(dict):
        def __missing__(self, name):
            self[name] = run(name, prepared, tmp_path_factory.mktemp(name))
            return self[name]

    return Results()


def test_pca_hands_on_the_prepared_pca_by_cell(prepared, reordered, tmp_path):
    from scfm.io.tables import read_embedding

    ids, values = read_embedding(prepared.pca)
    wanted = pd.DataFrame(values, index=ids).sort_index()
    for files in (prepared, reordered):
        np.testing.assert_array_equal(run("pca", files, tmp_path).values, wanted.to_numpy())


@pytest.mark.parametrize("name", [*CORRECTORS, "seurat_rpca", pytest.param("seurat_cca", marks=pytest.mark.slow)])
def test_a_planted_batch_effect_is_reduced_and_labels_survive(name, results, prepared, tmp_path):
    inputs = inputs_of(prepared, tmp_path)
    before = same_batch_share(inputs.pca, inputs.batches)
    assert before > 0.7
    assert same_batch_share(results[name].values, inputs.batches) < 0.45
    assert label_accuracy(results[name].values, inputs.labels) > 0.95


@pytest.mark.parametrize("name", REPEATED)
def test_rows_in_another_order_give_the_same_coordinates(name, results, reordered, tmp_path):
    np.testing.assert_allclose(run(name, reordered, tmp_path).values, results[name].values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", REPEATED)
def test_the_same_seed_gives_the_same_coordinates(name, results, prepared, tmp_path):
    np.testing.assert_array_equal(run(name, prepared, tmp_path).values, results[name].values)


def test_methods_record_how_their_fit_ended(results, prepared, tmp_path):
    inputs = inputs_of(prepared, tmp_path)
    dense = inputs.expression("X")[0].toarray().astype(float)
    means = pd.DataFrame(dense).groupby(inputs.batches).transform("mean")
    between = means.var(ddof=0).sum() / dense.var(axis=0).sum()  # batches of one size: what least squares removes
    assert results["linear"].details["removed_variance"] == pytest.approx(between, abs=1e-6)
    assert 0 < results["combat"].details["removed_variance"] < 1.5 * between
    objective = results["harmony"].details["objective"]
    assert len(objective) == results["harmony"].details["rounds"] + 1 and objective[-1] < objective[0]
    spread = inputs.pca.astype(float).var(axis=0)
    assert run("pca", prepared, tmp_path).details["last_to_first"] == pytest.approx(spread[-1] / spread[0])
    aligned = results["scanorama"].details["alignments"]
    assert [a["batches"] for a in aligned] == [["b1", "b2"], ["b1", "b3"], ["b2", "b3"]]
    assert all(0.1 < a["score"] <= 1 for a in aligned) and not results["scanorama"].warnings


def test_batches_that_scanorama_joins_to_no_other_are_told(prepared, tmp_path):
    alone = run("scanorama", prepared, tmp_path, scanorama_alpha=1)
    assert [(w["code"], w["text"].partition(" joined ")[2][:2]) for w in alone.warnings] == [
        ("W-SCA-01", name) for name in ("b1", "b2", "b3")
    ]
    told = alignment_messages([{"batches": ["a", "b"], "score": 0.4}], ["a", "b", "c"], 0.1, dataset="sim", seed=3)
    assert [(w["values"], w["seed"]) for w in told] == [({"best_score": 0.0}, 3)]


def test_another_seed_moves_harmony_a_little(results, prepared, tmp_path):
    other = run("harmony", prepared, tmp_path, seed=1).values
    assert 0 < np.abs(other - results["harmony"].values).max() < np.abs(other).max()


def test_harmony_theta_zero_mixes_less(results, prepared, tmp_path):
    inputs = inputs_of(prepared, tmp_path)
    weak = run("harmony", prepared, tmp_path, harmony_theta=0, harmony_max_iter=1)
    assert same_batch_share(weak.values, inputs.batches) > same_batch_share(results["harmony"].values, inputs.batches)
    assert weak.details["n_clusters"] == 12
    assert weak.details["rounds"] == 1  # as many as were allowed, so there is no word of an early end
    assert [w["code"] for w in weak.warnings if w["code"] != "W-TRN-04"] == []


def test_harmony_is_harmonypy_on_the_sorted_cells(results, prepared, tmp_path):
    """The settings reach the library under the right names."""
    from harmonypy import run_harmony

    inputs = inputs_of(prepared, tmp_path)
    direct = run_harmony(
        inputs.pca.astype(float),
        pd.DataFrame({"b": inputs.batches}),
        ["b"],
        theta=2,
        lamb=1,
        sigma=0.1,
        nclust=12,
        max_iter_harmony=10,
        epsilon_harmony=1e-4,
        random_state=0,
        verbose=False,
    )
    np.testing.assert_allclose(results["harmony"].values, direct.Z_corr, atol=1e-10)


def test_scanorama_equals_the_library_s_own_path_for_anndata(results, prepared):
    """Rows come back at their cells: what the library does with a list of AnnData, joined on ids, is the same."""
    import anndata
    from scanorama import scanorama

    from scfm.integration.annoy_threads import one_annoy_thread

    adata = anndata.read_h5ad(prepared.h5ad)
    adata = adata[sorted(adata.obs_names), adata.var["highly_variable"]].copy()
    parts = [adata[adata.obs["batch"] == b].copy() for b in sorted(adata.obs["batch"].unique())]
    with one_annoy_thread(scanorama) as library:
        corrected = library.correct_scanpy(parts, return_dimred=True, dimred=20, verbose=False)
    wanted = pd.concat([pd.DataFrame(p.obsm["X_scanorama"], index=p.obs_names) for p in corrected]).sort_index()
    np.testing.assert_allclose(results["scanorama"].values, wanted.to_numpy(), atol=1e-6)


def test_scanorama_takes_all_genes_on_request(prepared, tmp_path):
    assert run("scanorama", prepared, tmp_path, scanorama_genes="all").details["n_genes"] == 150
    with pytest.raises(ScfmError, match="scanorama_genes is 'some'; it can be 'hvg' or 'all'"):
        run("scanorama", prepared, tmp_path, scanorama_genes="some")


def test_scanorama_leaves_the_library_as_it_was(results):
    import annoy
    from scanorama import scanorama

    assert scanorama.AnnoyIndex is annoy.AnnoyIndex


@pytest.mark.parametrize("name", [*CORRECTORS, "scvi"])
def test_one_batch_is_not_applicable(name, prepared, tmp_path):
    obs = pd.read_parquet(prepared.obs).assign(batch="only")
    obs.to_parquet(tmp_path / "obs.parquet", index=False)
    module = load_method(name)
    inputs = MethodInputs("sim", tmp_path / "obs.parquet", tmp_path, pca_path=prepared.pca, prepared_path=prepared.h5ad)
    with pytest.raises(NotApplicable, match=r"integrates batches, and sim has one only \(only\)") as caught:
        module.integrate(inputs, pick_settings(name, module.DEFAULTS, PARAMS), 0)
    assert caught.value.code == "one_batch"


def test_combat_names_a_batch_of_one_cell(prepared, tmp_path):
    obs = pd.read_parquet(prepared.obs)
    obs.loc[0, "batch"] = "lonely"
    obs.to_parquet(tmp_path / "obs.parquet", index=False)
    inputs = MethodInputs("sim", tmp_path / "obs.parquet", tmp_path, prepared_path=prepared.h5ad)
    with pytest.raises(ScfmError, match=r"two cells in every batch .* lonely has one"):
        load_method("combat").integrate(inputs, {"n_pcs": 20, "covariates": ""}, 0)


def test_files_of_another_preparation_are_refused(prepared, tmp_path):
    obs = pd.read_parquet(prepared.obs)
    obs.loc[:1, "cell_id"] = ["new_a", "new_b"]
    obs.to_parquet(tmp_path / "obs.parquet", index=False)
    inputs = MethodInputs("sim", tmp_path / "obs.parquet", tmp_path, pca_path=prepared.pca, prepared_path=prepared.h5ad)
    with pytest.raises(ScfmError, match=r"2 of 360 cells are not in it, e.g. \['new_a', 'new_b'\]"):
        _ = inputs.pca
    with pytest.raises(ScfmError, match="must come from one preparation"):
        inputs.expression("X")


def test_expression_comes_by_cell_and_gene(prepared, reordered, tmp_path):
    import anndata

    adata = anndata.read_h5ad(prepared.h5ad)
    wanted = adata[sorted(adata.obs_names), adata.var["highly_variable"]]
    for files in (prepared, reordered):
        matrix, genes = inputs_of(files, tmp_path).expression("counts")
        np.testing.assert_array_equal(matrix.toarray(), wanted.layers["counts"].toarray())
        assert list(genes) == list(wanted.var_names)


def test_expression_is_read_in_blocks(prepared, tmp_path, monkeypatch):
    whole, _ = inputs_of(prepared, tmp_path).expression("X", "all")
    monkeypatch.setattr("scfm.integration.base._ROWS_PER_READ", 100)
    blocks, _ = inputs_of(prepared, tmp_path).expression("X", "all")
    np.testing.assert_array_equal(whole.toarray(), blocks.toarray())


def test_scvi_trains_mixes_and_keeps_its_history_and_model(prepared, tmp_path):
    output = run("scvi", prepared, tmp_path)
    inputs = inputs_of(prepared, tmp_path)
    assert output.values.shape == (360, 5)
    assert same_batch_share(output.values, inputs.batches) < same_batch_share(inputs.pca, inputs.batches) - 0.1
    assert label_accuracy(output.values, inputs.labels) > 0.95
    history = pd.read_csv(output.extras["history.csv"])
    assert list(history.columns[:1]) == ["epoch"]
    assert {"elbo_train", "elbo_validation"} <= set(history.columns)
    assert len(history) == output.details["training"]["epochs_run"] <= 120
    assert history["elbo_train"].iloc[-1] < history["elbo_train"].iloc[0]
    assert output.details["training"]["n_validation"] == 36
    assert output.details["device"] == "cpu"
    assert (output.extras["model"] / "model.pt").is_file()
    assert not list(output.extras["model"].glob("*.h5ad"))


def test_scvi_without_validation_repeats_itself_in_any_row_order(prepared, reordered, tmp_path):
    """Share 0 as in the study, and 360 cells in minibatches of 359: the last one would hold a single cell."""
    options = {"scvi_validation_share": 0, "scvi_max_epochs": 2, "scvi_batch_size": 359}
    first, second = (run("scvi", files, tmp_path, **options) for files in (prepared, reordered))
    assert (first.details["training"]["n_train"], first.details["training"]["n_validation"]) == (360, 0)
    assert first.details["training"]["patience"] is None
    assert first.details["training"]["restored_epoch"] is None
    assert [w["code"] for w in first.warnings] == ["W-TRN-02"]
    np.testing.assert_allclose(first.values, second.values, rtol=0, atol=1e-6)
    other = run("scvi", prepared, tmp_path, seed=1, **options)
    assert np.abs(other.values - first.values).max() > 1e-3


def test_scvi_says_that_an_epoch_sees_a_part_of_the_cells(prepared, tmp_path):
    output = run("scvi", prepared, tmp_path, scvi_max_epochs=2, scvi_limit_train_batches=2)
    (warning,) = [w for w in output.warnings if w["code"] == "W-TRN-03"]
    assert (warning["values"]["seen"], warning["values"]["n_train"]) == (64, 324)
    assert output.details["training"]["cells_per_epoch"] == 64


def test_scvi_hands_on_the_weights_of_its_best_epoch(prepared, tmp_path):
    """A training cut at the other one's best epoch ends with the same weights: same seed, same minibatches."""
    options = {"scvi_n_latent": 30, "scvi_n_hidden": 128, "scvi_early_stopping_patience": 6, "scvi_max_epochs": 60}
    long = run("scvi", prepared, tmp_path, **options)
    training = long.details["training"]
    history = pd.read_csv(long.extras["history.csv"])
    best = int(history["elbo_validation"].argmin()) + 1
    assert training["best_epoch"] == training["restored_epoch"] == best < training["epochs_run"]
    short = run("scvi", prepared, tmp_path, **options | {"scvi_max_epochs": best})
    assert short.details["training"]["epochs_run"] == best
    np.testing.assert_array_equal(long.values, short.values)


def test_scvi_does_not_depend_on_the_threads_of_the_task(prepared, tmp_path):
    import torch

    options = {"scvi_max_epochs": 2}
    first = run("scvi", prepared, tmp_path, **options)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        second = run("scvi", prepared, tmp_path, cpus=2, **options)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(first.values, second.values)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scvi_likelihood": "gauss"}, "scvi_likelihood is 'gauss'; it can be nb, zinb, poisson"),
        ({"scvi_validation_share": 1.5}, "scvi_validation_share is 1.5; expected at least 0 and less than 1"),
        ({"scvi_continuous_covariates": "percent_mit"}, "obs has no column 'percent_mit'. Did you mean 'percent_mito'"),
        (
            {"scvi_categorical_covariates": "percent_mito"},
            r"\['percent_mito'\] are named in scvi_continuous_covariates and in",
        ),
        ({"scvi_continuous_covariates": "chemistry"}, "'chemistry' of obs holds .*, not numbers"),
        ({"scvi_categorical_covariates": "label"}, "column 'label' of obs is empty in 5 cells"),
    ],
)
def test_scvi_settings_that_cannot_work_are_sentences(changes, sentence, prepared, tmp_path):
    with pytest.raises(ScfmError, match=sentence):
        run("scvi", prepared, tmp_path, **changes)


def test_a_gpu_that_is_not_there_is_an_error(prepared, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    from scfm.integration.scvi import accelerator_of

    assert accelerator_of("auto") == "cpu"
    with pytest.raises(ScfmError, match=r"A GPU was asked for .* PyTorch finds none"):
        accelerator_of("cuda")


PBMC = Path(__file__).resolve().parents[3] / "shared" / "data" / "pbmc_3tech.h5ad"


@pytest.fixture(scope="module")
def pbmc(tmp_path_factory):
    """Write the real PBMC data twice: in the order of the file, and shuffled."""
    import anndata

    if not PBMC.is_file():
        pytest.skip(f"the real data are not beside the checkout ({PBMC.name} in ../shared/data)")
    adata = anndata.read_h5ad(PBMC)
    obs = pd.DataFrame(
        {
            "cell_id": adata.obs_names,
            "batch": adata.obs["batch"].astype(str),
            "label": adata.obs["cell_type"].astype(str),
        }
    )
    folders = [tmp_path_factory.mktemp("pbmc") for _ in range(2)]
    options = {"hvg": np.ones(adata.n_vars, dtype=bool), "n_pcs": 50}
    return [
        write_files(folder, adata.X.toarray(), obs.reset_index(drop=True), order_seed=order, **options)
        for folder, order in zip(folders, (None, 4), strict=True)
    ]


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "most"), [("harmony", 0.45), ("scanorama", 0.45), ("combat", 0.6)])
def test_real_chemistries_are_mixed_and_cell_types_survive(name, most, pbmc, tmp_path):
    straight, shuffled = pbmc
    module, inputs = load_method(name), inputs_of(straight, tmp_path)
    settings = pick_settings(name, module.DEFAULTS, {})
    values = module.integrate(inputs, settings, 0).values
    before = label_accuracy(inputs.pca, inputs.labels)
    assert same_batch_share(inputs.pca, inputs.batches) > 0.75
    assert same_batch_share(values, inputs.batches) < most
    assert label_accuracy(values, inputs.labels) > before - 0.03
    again = module.integrate(inputs_of(shuffled, tmp_path), settings, 0).values
    np.testing.assert_allclose(again, values, rtol=0, atol=1e-6)
