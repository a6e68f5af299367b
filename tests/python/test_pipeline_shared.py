"""The pipeline on real cells of three chemistries: every method, every control, two seeds, the full profile."""

from __future__ import annotations

import pytest

from helpers_pipeline import PROJECT, Run, run_pipeline, valid_rows

DATA = PROJECT.parent / "shared" / "data" / "pbmc_3tech.h5ad"
pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.slow,
    pytest.mark.shared_data,
    pytest.mark.skipif(not DATA.exists(), reason="the real data sets are not beside the checkout (../shared/data)"),
]


@pytest.fixture(scope="module")
def pbmc(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of the issue's second "must show"."""
    folder = tmp_path_factory.mktemp("pbmc")
    (folder / "sheet.csv").write_text(f"dataset,h5ad,batch_key,label_key\npbmc,{DATA},batch,cell_type\n")
    # 1,200 cells need little: tasks side by side are faster than threads in one
    (folder / "small.config").write_text("process.resourceLimits = [cpus: 1, memory: '4.GB']\n")
    run = run_pipeline(
        folder,
        "-c",
        "small.config",
        "--input",
        "sheet.csv",
        "--seeds",
        "0,1",
        "--metrics_profile",
        "full",
        "--scvi_max_epochs",
        "100",
    )
    assert run.status == 0, run.log
    return run


def test_every_row_of_the_status_table_is_explained(pbmc: Run) -> None:
    status = pbmc.table("status")
    assert len(status) > 100
    assert set(status["status"]) <= {"ok", "not_applicable"}
    assert (status.loc[status["status"] != "ok", "reason"] != "").all()
    assert {"harmony.raw.0", "harmony.raw.1", "pca.raw.0", "random.raw.1"} <= set(status["embedding"])


def test_tables_are_valid(pbmc: Run) -> None:
    for name in ("scores", "totals", "probing", "status", "resources"):
        assert valid_rows(pbmc, name) > 0


@pytest.mark.parametrize("metric", ["ilisi", "kbet", "bras"])
@pytest.mark.parametrize("method", ["harmony", "scanorama", "scvi"])
def test_integration_mixes_better_than_pca(pbmc: Run, metric: str, method: str) -> None:
    score = pbmc.score(metric)
    for seed in (0, 1):
        assert score[f"{method}.raw.{seed}"] > score["pca.raw.0"]


def test_controls_sit_where_their_definitions_say(pbmc: Run) -> None:
    for metric in (
        "leiden_nmi",
        "leiden_ari",
        "kmeans_nmi",
        "kmeans_ari",
        "silhouette_label",
        "clisi",
        "isolated_labels",
    ):
        score = pbmc.score(metric).dropna()
        assert score.idxmax() == "label_onehot.raw.0", metric
    for metric in ("leiden_nmi", "leiden_ari", "kmeans_nmi", "clisi"):
        score = pbmc.score(metric)
        without_labels = [
            "random.raw.0",
            "random.raw.1",
            "shuffled.raw.0",
            "shuffled.raw.1",
            "shuffled_within_batch.raw.0",
            "shuffled_within_batch.raw.1",
        ]
        assert score[without_labels].max() < score.drop(without_labels).min(), metric
    ilisi = pbmc.score("ilisi")
    assert ilisi["shuffled_within_batch.raw.0"] < ilisi["harmony.raw.0"]
    assert ilisi["shuffled_within_label.raw.0"] > ilisi["pca.raw.0"]
    assert pbmc.score("batch_entropy")["shuffled.raw.0"] > pbmc.score("batch_entropy")["pca.raw.0"]


def test_values_are_near_those_measured_with_the_library(pbmc: Run) -> None:
    """Orientation values of ../shared/data/README.md; other genes and settings, so only near."""
    assert pbmc.score("ilisi")["pca.raw.0"] == pytest.approx(0.03, abs=0.05)
    assert pbmc.score("kbet")["pca.raw.0"] == pytest.approx(0.11, abs=0.12)
    assert pbmc.score("bras")["pca.raw.0"] == pytest.approx(0.66, abs=0.08)
    assert pbmc.score("bras")["harmony.raw.0"] == pytest.approx(0.80, abs=0.08)
    assert pbmc.score("ilisi")["harmony.raw.0"] == pytest.approx(0.48, abs=0.15)
