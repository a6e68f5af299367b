"""scANVI and held-out cells: labels that are held out are never seen, and are the only ones that score it."""

# ruff: noqa: PD011 (`.values` is that of a MethodOutput)
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers_methods import Prepared, label_accuracy, write_prepared
from helpers_modules import call
from scfm.errors import NotApplicable, ScfmError
from scfm.integration.base import MethodInputs
from scfm.integration.run import load_method, settings_of
from scfm.integration.scanvi import labelled_per_epoch, usable_minibatch
from scfm.io.tables import read_json, read_table, write_json
from scfm.preparation.held_out import held_out_cells
from scfm.registries.methods import get_method

ASSETS = Path(__file__).resolve().parents[2] / "assets"
PARAMS = {
    "scvi_n_latent": 5,
    "scvi_n_layers": 1,
    "scvi_n_hidden": 32,
    "scvi_max_epochs": 15,
    "scvi_batch_size": 64,
    "scanvi_max_epochs": 4,
    "scanvi_samples_per_label": 30,
}


def cells_of(sizes: dict[tuple[str, str], int]) -> pd.DataFrame:
    """Cells of labels and batches, all scored."""
    rows = [(label, batch) for (label, batch), n in sizes.items() for _ in range(n)]
    table = pd.DataFrame(rows, columns=["label", "batch"])
    return table.assign(cell_id=[f"c{i:05d}" for i in range(len(table))], scored=True)


# ---- which cells are held out ----------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.dictionaries(
        st.tuples(st.sampled_from("ABC"), st.sampled_from("xyz")), st.integers(1, 120), min_size=1, max_size=9
    ),
    share=st.sampled_from([0.05, 0.2, 1 / 3, 0.5]),
    seed=st.integers(0, 9),
)
def test_every_label_gives_its_share_from_its_batches_in_proportion(sizes, share, seed):
    obs = cells_of(sizes)
    drawn = held_out_cells(obs, share, seed)
    for _, part in obs.assign(drawn=drawn).groupby("label"):
        assert part["drawn"].sum() == min(int(share * len(part) + 0.5), len(part) // 2)
        for _, of_batch in part.groupby("batch"):
            assert abs(of_batch["drawn"].sum() - part["drawn"].mean() * len(of_batch)) <= 1 + 1e-9


def test_the_draw_belongs_to_cells_and_leaves_out_those_that_are_not_scored():
    obs = cells_of({("A", "x"): 60, ("A", "y"): 30, ("B", "x"): 20})
    obs.loc[:9, ["scored", "label"]] = [False, None]
    first = pd.Series(held_out_cells(obs, 0.2, 1), index=obs["cell_id"])
    shuffled = obs.sample(frac=1, random_state=3)
    again = pd.Series(held_out_cells(shuffled, 0.2, 1), index=shuffled["cell_id"])
    assert again.loc[first.index].equals(first)
    assert not first.iloc[:10].any() and first.sum() == 16 + 4
    assert not first.equals(pd.Series(held_out_cells(obs, 0.2, 2), index=obs["cell_id"]))
    for share in (0, 0.6):
        with pytest.raises(ScfmError, match=r"--held_out_share is .* above 0 and at most 0.5"):
            held_out_cells(obs, share, 1)


# ---- the method ------------------------------------------------------------------------------------------------------


def with_held_out(prepared: Prepared, folder: Path, change=lambda obs: obs) -> Path:
    """Write the obs table with held-out cells, after a change of it."""
    obs = pd.read_parquet(prepared.obs)
    obs["held_out"] = held_out_cells(obs, 0.2, 123)
    path = folder / "sim.obs.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    change(obs).to_parquet(path, index=False)
    return path


def inputs_of(prepared: Prepared, obs: Path, workdir: Path, start: Path | None = None) -> MethodInputs:
    workdir.mkdir(exist_ok=True)
    return MethodInputs(
        "sim",
        obs,
        workdir,
        pca_path=prepared.pca,
        prepared_path=prepared.h5ad,
        device="cpu",
        hides_labels=True,
        start=start,
    )


def run(prepared: Prepared, obs: Path, workdir: Path, start: Path | None = None, **changes):
    chosen = settings_of(get_method("scanvi"), PARAMS | changes)
    return load_method("scanvi").integrate(inputs_of(prepared, obs, workdir, start), chosen, 0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("scanvi"), n_per_group=24)


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """ScANVI from a model of its own, with the cells and their labels."""
    folder = tmp_path_factory.mktemp("scanvi_trained")
    obs = with_held_out(prepared, folder)
    return run(prepared, obs, folder / "work"), obs


def test_labels_of_held_out_cells_are_hidden_from_the_method(prepared, tmp_path):
    obs = with_held_out(prepared, tmp_path, lambda table: table.assign(**{"label:label": table["label"]}))
    hiding = inputs_of(prepared, obs, tmp_path)
    held_out = hiding.obs["held_out"].to_numpy()
    assert 0.15 < held_out.mean() < 0.25
    assert all(label is None for label in hiding.labels[held_out])
    assert hiding.obs.loc[held_out, "label:label"].isna().all()
    seen = MethodInputs("sim", obs, tmp_path).labels
    assert (hiding.labels[~held_out] == seen[~held_out]).all() and all(x is not None for x in seen[held_out])
    with pytest.raises(ScfmError, match=r"no column .held_out.*Prepare the data set again"):
        _ = MethodInputs("sim", prepared.obs, tmp_path, hides_labels=True).labels


def test_scanvi_learns_from_labels_and_reports_its_training(trained, prepared, tmp_path):
    output, obs = trained
    inputs = MethodInputs("sim", obs, tmp_path, pca_path=prepared.pca)
    held_out = inputs.obs["held_out"].to_numpy()
    assert output.values.shape == (len(inputs.obs), 5)
    assert label_accuracy(output.values[held_out], inputs.labels[held_out]) > 0.9
    history = pd.read_csv(output.extras["history.csv"])
    assert len(history) == 4 == output.details["training"]["epochs_run"]
    assert {"elbo_train", "elbo_validation", "validation_accuracy"} <= set(history.columns)
    assert output.details["training"]["labelled_per_epoch"] == 90
    assert output.details["training"]["verdict"] in {"fine", "overfit"}
    assert output.details["n_labelled"] == int((inputs.obs["scored"] & ~inputs.obs["held_out"]).sum())
    assert (output.extras["model"] / "model.pt").is_file()


def test_labels_that_are_held_out_change_nothing_and_others_do(trained, prepared, tmp_path):
    """The proof that scores on held-out cells are not circular."""

    def renamed(which):
        def change(table):
            rows = table.index[table["held_out"] if which == "held_out" else table["scored"] & ~table["held_out"]]
            table.loc[rows, "label"] = np.roll(table.loc[rows, "label"].to_numpy(), 7)
            return table

        return change

    output, _ = trained
    same = run(prepared, with_held_out(prepared, tmp_path / "a", renamed("held_out")), tmp_path / "w1")
    np.testing.assert_array_equal(same.values, output.values)
    other = run(prepared, with_held_out(prepared, tmp_path / "b", renamed("seen")), tmp_path / "w2")
    assert np.abs(other.values - output.values).max() > 1e-2


def test_it_continues_the_scvi_model_of_the_run(trained, prepared, tmp_path):
    """Given scVI's model, or training the same one itself: the same result."""
    output, obs = trained
    method = load_method("scvi")
    first = method.integrate(
        MethodInputs("sim", obs, tmp_path, prepared_path=prepared.h5ad, device="cpu"),
        settings_of(get_method("scvi"), PARAMS),
        0,
    )
    continued = run(prepared, obs, tmp_path / "work", start=first.extras["model"])
    assert continued.details["continues"] == "the scVI model of the run"
    assert output.details["continues"] == "a scVI model of its own"
    np.testing.assert_allclose(continued.values, output.values, rtol=0, atol=1e-5)
    assert np.abs(continued.values - first.values).max() > 1e-2


def test_what_cannot_work_is_a_sentence(prepared, tmp_path):
    obs = with_held_out(prepared, tmp_path)
    with pytest.raises(ScfmError, match="column 'kind' of obs determines the label"):
        leaking = prepared_with_covariate(prepared, tmp_path)
        run(leaking, obs, tmp_path / "w", scvi_categorical_covariates="kind")
    single = with_held_out(
        prepared, tmp_path / "one", lambda t: t.assign(label=t["label"].where(t["label"] == "T cell"))
    )
    with pytest.raises(NotApplicable, match="sim has 1 outside of the held-out cells") as caught:
        run(prepared, single, tmp_path / "w")
    assert caught.value.code == "one_label"
    clash = with_held_out(prepared, tmp_path / "clash", lambda t: t.replace({"label": {"T cell": "(unlabelled)"}}))
    with pytest.raises(ScfmError, match=r"a label is called '\(unlabelled\)'"):
        run(prepared, clash, tmp_path / "w")


def prepared_with_covariate(prepared: Prepared, folder: Path) -> Prepared:
    """Write the data again with a column that repeats the labels under other names."""
    import anndata

    adata = anndata.read_h5ad(prepared.h5ad)
    adata.obs["kind"] = adata.obs["label"].astype(str).map(lambda name: f"kind of {name}").astype("category")
    again = Prepared(folder)
    adata.write_h5ad(again.h5ad)
    return again


def test_no_minibatch_is_left_with_one_or_two_cells():
    assert usable_minibatch(128, (1000, 90)) == 128
    assert usable_minibatch(128, (1000, 257)) == 127  # 257 = 2 x 128 + 1
    assert usable_minibatch(64, (130, 90)) == 63  # 130 = 2 x 64 + 2
    assert usable_minibatch(4, (2, 8)) == 4  # two cells are no more in any minibatch
    assert labelled_per_epoch(np.array(list("aaaab")), 3) == 4


# ---- scores and ranks ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(prepared, trained, tmp_path_factory):
    """The executables from scANVI and the PCA to the tables."""
    folder = tmp_path_factory.mktemp("scanvi_scored")
    obs = with_held_out(prepared, folder)
    params = folder / "params.json"
    write_json(params, PARAMS | {"n_pcs": 20, "probe_permutations": 0, "probe_logistic_permutations": 0})
    common = {"obs": obs, "outdir": folder}
    for method in ("pca", "scanvi", "shuffled", "label_onehot", "shuffled_within_label"):
        call(
            "integrate_cells",
            method=method,
            dataset="sim",
            prepared=prepared.h5ad,
            pca=prepared.pca,
            params=params,
            methods_table=ASSETS / "methods.tsv",
            **common,
        )
        stem = folder / f"sim.{method}.raw.0"
        given = {"embedding": Path(f"{stem}.unchecked.parquet"), "sidecar": Path(f"{stem}.unchecked.json")}
        call("validate_embedding", **given, **common)
        given = {"embedding": Path(f"{stem}.parquet"), "sidecar": Path(f"{stem}.json")}
        call("find_neighbors", **given, **common)
        call("score_embedding", **given, knn=Path(f"{stem}.knn.npz"), pca=prepared.pca, **common)
    tables = [p for p in sorted(folder.glob("*.raw.0.parquet")) if "unchecked" not in p.name]
    call(
        "list_common_cells",
        kind="held_out",
        dataset="sim",
        embeddings=tables,
        sidecars=[p.with_suffix(".json") for p in tables],
        methods_table=ASSETS / "methods.tsv",
        corrections_table=ASSETS / "corrections.tsv",
        **common,
    )
    for name in read_json(folder / "sim.held_out.json")["embeddings"]:
        stem = folder / f"sim.{name}"
        call(
            "score_common_cells",
            kind="held_out",
            embedding=Path(f"{stem}.parquet"),
            sidecar=Path(f"{stem}.json"),
            cells=folder / "sim.held_out_cells.parquet",
            pca=prepared.pca,
            **common,
        )
    return folder


def test_bio_scores_are_of_held_out_cells_only(scored):
    sidecar = read_json(scored / "sim.scanvi.raw.0.json")
    assert sidecar["labels_seen"] is True and sidecar["settings"]["scvi_n_latent"] == 5
    assert "labels_seen" not in read_json(scored / "sim.pca.raw.0.json")
    own = read_table(scored / "sim.scanvi.raw.0.scores.tsv").query("group == 'all'").set_index("metric")
    assert own.loc["bras", "status"] == "ok" and own.loc["ilisi", "n_cells"] == 211
    for metric in ("silhouette_label", "leiden_nmi", "clisi"):
        assert own.loc[metric, ["status", "reason"]].tolist() == ["not_applicable", "labels_seen"], metric
    assert read_json(scored / "sim.scanvi.raw.0.score.status.json")["status"] == "ok"
    assert read_json(scored / "sim.scanvi.raw.0.score.status.json")["centroids"]["reason_code"] == "labels_seen"
    facts = read_json(scored / "sim.held_out.json")
    assert facts["ranked"] == ["pca.raw.0", "scanvi.raw.0"]
    assert facts["embeddings"] == sorted(
        f"{m}.raw.0" for m in ("label_onehot", "pca", "scanvi", "shuffled", "shuffled_within_label")
    )
    cells = set(pd.read_parquet(scored / "sim.held_out_cells.parquet")["cell_id"])
    obs = pd.read_parquet(scored / "sim.obs.parquet")
    assert cells == set(obs.loc[obs["held_out"], "cell_id"]) and len(cells) == facts["n_common"] == facts["n_scored"]
    again = read_table(scored / "sim.scanvi.raw.0.scores_held_out.tsv").query("group == 'all'").set_index("metric")
    assert again.loc["silhouette_label", "status"] == "ok" and again.loc["silhouette_label", "n_cells"] == len(cells)


def test_a_probe_of_the_label_is_not_applicable(scored, tmp_path):
    from scfm.probing.splits import split_pairs

    obs = pd.read_parquet(scored / "sim.obs.parquet").assign(
        **{"batch:batch": lambda t: t["batch"], "label:label": lambda t: t["label"]}
    )
    obs.to_parquet(tmp_path / "obs.parquet", index=False)
    split_pairs(obs, n_folds=3, seed=1).to_parquet(tmp_path / "splits.parquet", index=False)
    stem = scored / "sim.scanvi.raw.0"
    call(
        "probe_embedding",
        embedding=Path(f"{stem}.parquet"),
        sidecar=Path(f"{stem}.json"),
        obs=tmp_path / "obs.parquet",
        splits=tmp_path / "splits.parquet",
        params=scored / "params.json",
        outdir=tmp_path,
    )
    table = read_table(tmp_path / "sim.scanvi.raw.0.probing.tsv")
    assert set(table.loc[table["target"] == "label", "reason"]) == {"labels_seen"}
    assert (table.loc[(table["target"] == "batch") & (table["scheme"] == "kfold"), "status"] == "ok").all()


@pytest.fixture(scope="module")
def tables(scored):
    """What COLLECT_RESULTS makes of it."""
    from scfm.report.tables.load import PLAN_COLUMNS

    about = {p.name.split(".")[1]: read_json(p) for p in scored.glob("sim.*.raw.0.json") if "unchecked" not in p.name}
    columns = ("dataset", "embedding", "method", "family", "correction", "seed", "output_type")
    plan = pd.DataFrame([{c: sidecar[c] for c in columns} for sidecar in about.values()])
    plan["is_control"] = [str(sidecar["is_control"]).lower() for sidecar in about.values()]
    plan.reindex(columns=list(PLAN_COLUMNS), fill_value="").to_csv(scored / "plan.tsv", sep="\t", index=False)
    write_json(scored / "datasets.json", [{"dataset": "sim", "batch_key": "batch", "label_key": "label", "h5ad": "x"}])
    write_json(scored / "sim.facts.json", {"dataset": "sim", "n_scored": 211, "n_cells": 216, "warnings": []})
    write_json(scored / "run.json", {"skip_probing": True, "skip_umap": True, "skip_diagnosis": True})
    kinds = (".status.json", ".facts.json", ".held_out.json", ".raw.0.json", ".scores.tsv", ".scores_held_out.tsv")
    call(
        "collect_results",
        plan=scored / "plan.tsv",
        datasets=scored / "datasets.json",
        results=[p for p in scored.iterdir() if p.name.endswith(kinds)],
        metrics_table=ASSETS / "metrics.tsv",
        methods_table=ASSETS / "methods.tsv",
        params=scored / "run.json",
        outdir=scored / "tables",
    )
    return scored / "tables"


def test_it_is_ranked_on_held_out_cells_and_nowhere_else(tables):
    def totals(name):
        table = read_table(tables / f"{name}.tsv").query("scaling == 'raw' and bio_weight == 0.6")
        return table.set_index("method")

    own, held_out = totals("totals"), totals("totals_held_out")
    assert own.loc["scanvi", "rank_reason"] == "reads_labels" and pd.isna(own.loc["scanvi", "total"])
    assert own.loc["pca", "rank_reason"] == "" and pd.notna(own.loc["pca", "rank_total"])
    assert held_out["rank_reason"].to_dict() == {
        "pca": "",
        "scanvi": "",
        "shuffled": "control",
        "label_onehot": "control",
        "shuffled_within_label": "control",
    }
    assert held_out.loc["scanvi", "coverage"] == 1
    assert held_out.loc["scanvi", "rank_batch"] > held_out.loc["pca", "rank_batch"]
    steps = read_table(tables / "status.tsv").set_index(["embedding", "step"])["status"]
    assert (
        set(steps.xs("score_held_out", level="step")) == {"ok"} and len(steps.xs("score_held_out", level="step")) == 5
    )
    told = [m for m in read_json(tables / "warnings.json") if m["code"] == "W-MET-03"]
    n_cells = read_table(tables / "scores_held_out.tsv").query("group == 'all'")["n_cells"].max()
    assert [(m["method"], m["values"]["n_held_out"]) for m in told] == [("scanvi", n_cells)]
    assert f"from {n_cells} held-out cells only" in told[0]["text"]


def test_the_report_ranks_it_beside_the_others_on_held_out_cells(tables, scored):
    from scfm.report.sections.held_out import held_out_sections
    from scfm.report.view.data import load_report_data

    data = load_report_data(
        tables=tables,
        plan=scored / "plan.tsv",
        assets=ASSETS,
        params=scored / "run.json",
        versions=None,
        plots=None,
        histories=None,
    )
    (section,) = held_out_sections(data, "sim")
    n_cells = read_table(tables / "scores_held_out.tsv").query("group == 'all'")["n_cells"].max()
    assert f"all but {n_cells} held-out cells" in section.description
    assert "scANVI" in section.data and "reads the labels" not in section.data
    assert "Shuffled" not in section.data
    empty = data.with_tables(totals_held_out=data.totals_held_out.iloc[:0])
    assert held_out_sections(empty, "sim") == []


def test_a_missing_list_of_held_out_cells_is_a_failed_step_of_every_embedding(tables, scored, tmp_path):
    from scfm.report.tables.common_pass import expected
    from scfm.report.tables.load import collect

    kinds = (".status.json", ".facts.json", ".raw.0.json")
    results = [p for p in scored.iterdir() if p.name.endswith(kinds) and "unchecked" not in p.name]
    found = collect(scored / "plan.tsv", scored / "datasets.json", results)
    assert {name for _, name in expected(found)["score_held_out"]} == set(found.plan["embedding"])
    assert expected(found)["score_common"] == set()
