"""The study on its stand-ins: from ids through a local server, recipes and the paper profile to tables and report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from helpers_pipeline import PROJECT, Run, names_of, run_pipeline, valid_rows
from scfm.io.tables import read_json
from scfm.registries.datasets import load_catalogue
from scfm.study.published import load_published

pytestmark = pytest.mark.pipeline
#: cells and genes after each recipe; tests/python/test_recipes_study.py gets them by plain pandas
EXPECTED = {
    "limb": (430, 220),
    "liver": (392, 250),
    "Immune": (375, 250),
    "HLCA_assay": (350, 250),
    "HLCA_disease": (363, 250),
    "HLCA_sn": (355, 250),
}


@dataclass
class Study(Run):
    """A finished run, the scenarios in it with their sizes, and its options."""

    name: str
    methods: list[str]
    scenarios: dict[str, tuple[int, int]]
    options: list[str]


METHODS = ["pca", "harmony", "scanorama", "scvi"]
SCIB = [
    "Leiden NMI",
    "Leiden ARI",
    "Silhouette label",
    "BRAS",
    "Graph connectivity",
    "Batch correction",
    "Bio conservation",
    "Total",
]


#: what make test runs, and what make test-full adds
FEW, ALL = ["limb", "HLCA_sn"], list(EXPECTED)


@pytest.fixture(scope="module", params=[FEW, pytest.param(ALL, marks=pytest.mark.slow)], ids=["two", "six"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """One run of -profile test_study over some of its scenarios, shared by the tests of this file."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "sheet.csv").write_text("dataset,h5ad\n" + "".join(f"{n},scenario:{n}\n" for n in request.param))
    options = ["-profile", "test_study", "--input", str(folder / "sheet.csv")]
    if request.param == FEW:
        options += ["--skip_umap", "--skip_diagnosis", "--methods", "pca,harmony"]
    run = run_pipeline(folder, *options)
    assert run.status == 0, run.log
    name, methods = ("two", METHODS[:2]) if request.param == FEW else ("six", METHODS)
    scenarios = {n: EXPECTED[n] for n in request.param}
    return Study(run.folder, run.outdir, run.status, run.log, name, methods, scenarios, options)


def test_scenarios_go_from_ids_to_scores(study: Study) -> None:
    status = study.table("status")
    assert set(status.loc[status["step"] != "umap", "status"]) == {"ok"}
    assert set(status["dataset"]) == set(study.scenarios)
    expected = {f"{method}.{correction}.0" for method in study.methods for correction in ("raw", "center_l2")}
    for dataset, rows in study.table("scores").groupby("dataset"):
        assert set(rows["embedding"]) == expected, dataset
        assert set(rows["metric"]) == {"leiden_nmi", "leiden_ari", "silhouette_label", "bras", "graph_connectivity"}
    for name in ("scores", "totals", "status", *([] if "--skip_umap" in study.options else ["centroids"])):
        assert valid_rows(study, name) > 0


def test_recipes_gave_the_cells_genes_batches_and_labels_of_the_catalogue(study: Study) -> None:
    catalogue = load_catalogue()
    for row in json.loads((study.outdir / "tables" / "datasets.json").read_text()):
        scenario = catalogue[row["dataset"]]
        facts = row["prepared"]
        assert (facts["n_cells"], facts["n_genes"]) == study.scenarios[row["dataset"]]
        assert (len(facts["batches"]), len(facts["labels"])) == (scenario.n_batches, scenario.n_labels)
        assert (row["scenario"], row["batch_key"], row["label_key"]) == (
            scenario.name,
            scenario.batch_key,
            scenario.label_key,
        )
        assert row["recipe"]["n_cells"] == facts["n_cells"]
        assert all(source["record"]["kind"] == "cellxgene" for source in row["recipe"]["sources"])
    dropped = [
        f["dropped"]
        for dataset in study.scenarios
        for source in read_json(study.outdir / dataset / "prepared" / f"{dataset}.recipe.json")["sources"]
        for f in source["filters"]
    ]
    assert max(dropped) > 0


def test_a_file_of_several_scenarios_was_downloaded_once_and_nothing_is_asked_for_again(study: Study) -> None:
    records = [
        source["record"]["key"]
        for row in json.loads((study.outdir / "tables" / "datasets.json").read_text())
        for source in row["recipe"]["sources"]
    ]
    n_files = len(set(records))
    assert n_files == {"two": 3, "six": 5}[study.name]
    stored = sorted(path.name for path in (study.folder / "stand_ins").glob("*.h5ad"))
    assert len(stored) == n_files
    assert names_of(study.trace(), "COMPLETED").count("FETCH_DATASET") == n_files
    again = run_pipeline(study.folder, *study.options, "--fetch_only", out="again")
    assert again.status == 0, again.log
    assert set(names_of(again.trace(), "COMPLETED")) == {"RESOLVE_INPUTS"}
    assert "Run the same command without --fetch_only" in again.log


def test_the_studys_own_tables_are_there_with_their_columns(study: Study) -> None:
    for dataset in study.scenarios:
        for method in study.methods:
            folder = study.outdir / dataset / "paper"
            scib = pd.read_csv(folder / f"{dataset}.{method}.raw.0.metrics_scib.csv", index_col=0)
            assert list(scib.columns) == SCIB
            probing = pd.read_csv(folder / f"{dataset}.{method}.center_l2.0.probing_results_batch.csv")
            assert list(probing.columns) == ["model_name", "fold", "dataset", "accuracy", "f1_score", "support"]


def test_totals_are_plain_means_with_both_weights_and_none_where_the_batch_is_biology(study: Study) -> None:
    scores = study.table("scores")
    whole = scores[scores["group"] == "all"].pivot_table(
        index=["dataset", "embedding"], columns="metric", values="value"
    )
    bio, batch = (
        whole[["leiden_nmi", "leiden_ari", "silhouette_label"]].mean(axis=1),
        whole[["bras", "graph_connectivity"]].mean(axis=1),
    )
    roles = {name: load_catalogue()[name].batch_role for name in study.scenarios}
    technical = whole.index.get_level_values("dataset").map(roles) == "technical"
    assert 0 < technical.sum() < len(technical)
    totals = study.table("totals")
    raw = totals[totals["scaling"] == "raw"]
    assert sorted(raw["bio_weight"].unique()) == [0.5, 0.6]
    for weight, rows in raw.groupby("bio_weight"):
        found = rows.set_index(["dataset", "embedding"]).sort_index()
        expected = (weight * bio + (1 - weight) * batch).where(technical).sort_index()
        pd.testing.assert_series_equal(found["total"], expected, check_names=False, rtol=1e-6)
        pd.testing.assert_series_equal(found["bio"], bio.sort_index(), check_names=False, rtol=1e-6)
        assert set(found.loc[found["total"].isna(), "reason"]) == {"batch_is_biology"}
    for dataset in study.scenarios:
        table = pd.read_csv(study.outdir / dataset / "paper" / f"{dataset}.pca.raw.0.metrics_scib.csv", index_col=0)
        key = (dataset, "pca.raw.0")
        assert float(table.loc["X_emb", "Total"]) == pytest.approx((bio[key] + batch[key]) / 2, abs=1e-6)


def test_centring_takes_the_linear_batch_signal_and_leaves_the_labels(study: Study) -> None:
    probing = study.table("probing")
    rows = probing[
        (probing["scheme"] == "kfold")
        & (probing["classifier"] == "logistic")
        & (probing["fold"] == "mean")
        & (probing["group"] == "all")
    ]
    value = rows[rows["metric"] == "macro_f1"].set_index(["dataset", "embedding", "target"])["value"]
    for dataset in study.scenarios:
        raw, centred = (value[dataset, f"pca.{correction}.0", "batch"] for correction in ("raw", "center_l2"))
        assert centred < raw - 0.2, dataset
        labels = [value[dataset, f"pca.{correction}.0", "label"] for correction in ("raw", "center_l2")]
        assert labels[1] > labels[0] - 0.1, dataset


def test_published_values_are_beside_ours_with_a_note_that_the_cells_differ(study: Study) -> None:
    html = (study.outdir / "report" / "scfmbench_report.html").read_text()
    assert "Ours and published" in html
    assert "These are not the study" in html
    assert "127.0.0.1" in html
    published = load_published().scib.set_index(["scenario", "method", "correction", "metric"])["value"]
    ours = study.table("scores").query("group == 'all'").set_index(["dataset", "embedding", "metric"])["value"]
    value = ours["limb", "harmony.raw.0", "bras"]
    assert published["limb", "harmony", "raw", "bras"] == 0.81
    assert f"{value:.3f}" in html
    for text in (
        "Kendall",
        "Rank with and without each metric",
        "What the batch is",
        *([] if "--skip_umap" in study.options else ["Centroid alignment"]),
        "Chance and majority",
        "Where the cells come from",
    ):
        assert text in html, text
    assert len(html) < 20_000_000


def test_errors_are_reported_before_anything_is_downloaded(tmp_path: Path) -> None:
    (tmp_path / "odd.yml").write_text("name: odd\nsources:\n  all: {keep: [{column: x, equal: y}]}\n")
    (tmp_path / "sheet.csv").write_text(
        "dataset,h5ad,batch_key,label_key,recipe\na,scenario:livr,,,\nb,cellxgene:nothing,x,y,\nc,own.h5ad,x,y,odd.yml\n"
    )
    run = run_pipeline(tmp_path, "--input", "sheet.csv", "--n_hgv", "100")
    assert run.status != 0
    for sentence in ("'livr'", "liver", "cellxgene:nothing", "odd.yml", "equal", "n_hvg"):
        assert sentence in run.log, f"{sentence!r} is not in:\n{run.log}"
    assert "Traceback" not in run.log
    assert names_of(run.trace(), "COMPLETED") == ["RESOLVE_INPUTS"]


def test_every_scenario_has_a_profile_that_names_it() -> None:
    config = (PROJECT / "nextflow.config").read_text()
    for name in load_catalogue():
        assert f"study_{name} {{" in config
        assert f"assets/study/{name}.csv" in config
