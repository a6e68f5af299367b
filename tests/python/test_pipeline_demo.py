"""The whole pipeline on the embedded demo: facts read back from what it published."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest
from engines.load import read_alone

from helpers_pipeline import PROJECT, Run, names_of, run_pipeline, same_scores, valid_rows

pytestmark = pytest.mark.pipeline
METHODS = ["pca", "harmony", "scanorama", "scvi", "combat"]
CONTROLS = ["random", "shuffled", "shuffled_within_batch", "shuffled_within_label", "label_onehot"]
EMBEDDINGS = [f"{m}.raw.0" for m in METHODS + CONTROLS]
EMBEDDINGS += [f"{m}.{correction}.0" for m in METHODS for correction in ("l2", "center_l2")]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One full run of the demo, shared by the tests of this file."""
    run = run_pipeline(tmp_path_factory.mktemp("demo"), "-profile", "test")
    assert run.status == 0, run.log
    return run


def test_every_planned_step_is_ok(demo: Run) -> None:
    status = demo.table("status")
    assert sorted(status["embedding"].unique()) == sorted(EMBEDDINGS)
    assert set(status["status"]) == {"ok"}
    steps = status.groupby("embedding")["step"].apply(set)
    resources = demo.table("resources").query("source == 'status'")
    assert resources["seconds"].gt(0).all() and resources["import_seconds"].ge(0).all()
    of_embeddings = resources[resources["embedding"] != ""]
    assert set(resources["step"]) - set(of_embeddings["step"]) == {"prepare"}
    assert of_embeddings.groupby("embedding")["step"].agg(set).ge({"neighbors", "score", "probe", "umap"}).all()
    for name in EMBEDDINGS:
        made = "embed" if ".raw." in name else "correct"
        assert steps[name] - {"diagnose"} == {made, "validate", "neighbors", "score", "probe", "umap"}, name
    assert sum("diagnose" in found for found in steps) == 3  # the uncorrected one and the best two by total


def test_tables_are_valid_against_their_schemas(demo: Run) -> None:
    for name in ("scores", "totals", "probing", "status", "resources"):
        assert valid_rows(demo, name) > 0
    messages = json.loads((demo.outdir / "tables" / "warnings.json").read_text())
    jsonschema.validate(messages, json.loads((PROJECT / "assets" / "schema_warnings.json").read_text()))


def test_known_truth_uncorrected_mixing_is_low_and_corrected_higher(demo: Run) -> None:
    ilisi, kbet = demo.score("ilisi"), demo.score("kbet")
    assert ilisi["pca.raw.0"] < 0.2
    assert kbet["pca.raw.0"] < 0.4
    for method in ("harmony", "scanorama", "scvi", "combat"):
        assert ilisi[f"{method}.raw.0"] > ilisi["pca.raw.0"] + 0.1
        assert kbet[f"{method}.raw.0"] > kbet["pca.raw.0"]
    assert ilisi["pca.center_l2.0"] > ilisi["pca.raw.0"]


def test_known_truth_labels_survive(demo: Run) -> None:
    nmi, clisi = demo.score("leiden_nmi"), demo.score("clisi")
    for method in METHODS:
        assert nmi[f"{method}.raw.0"] > nmi["pca.raw.0"] - 0.1
        assert clisi[f"{method}.raw.0"] > 0.85


def test_controls_sit_where_their_definitions_say(demo: Run) -> None:
    for metric in ("leiden_nmi", "leiden_ari", "kmeans_nmi", "silhouette_label", "clisi"):
        score = demo.score(metric)
        assert score.idxmax() == "label_onehot.raw.0"
        assert score["random.raw.0"] < score[[f"{m}.raw.0" for m in METHODS]].min()
    ilisi = demo.score("ilisi")
    assert ilisi["shuffled_within_batch.raw.0"] == pytest.approx(ilisi["pca.raw.0"], abs=0.05)
    assert demo.score("pcr_comparison")["shuffled_within_batch.raw.0"] < 0.05
    assert ilisi["shuffled_within_label.raw.0"] > ilisi["pca.raw.0"] + 0.3
    nmi = demo.score("leiden_nmi")
    assert nmi["shuffled_within_label.raw.0"] == pytest.approx(nmi["pca.raw.0"], abs=1e-6)
    assert nmi["shuffled_within_batch.raw.0"] < 0.1


def test_a_label_absent_from_a_batch_is_reported_by_label(demo: Run) -> None:
    scores = demo.table("scores")
    by_label = scores[(scores["metric"] == "bras") & (scores["embedding"] == "pca.raw.0") & (scores["group"] != "all")]
    assert set(by_label["group"]) == {"B", "CD4 T", "CD8 T", "Dendritic", "Monocyte", "NK", "Progenitor"}
    facts = json.loads((demo.outdir / "demo" / "prepared" / "demo.facts.json").read_text())
    assert facts["n_cells"] == 700
    assert facts["batches"] == {"batch_1": 252, "batch_2": 248, "batch_3": 200}


def test_the_final_anndata_holds_every_embedding(demo: Run) -> None:
    import anndata as ad
    import numpy as np

    from scfm.io.tables import read_embedding

    data = ad.read_h5ad(demo.outdir / "demo" / "demo.h5ad")
    assert {f"X_{name}" for name in EMBEDDINGS} <= set(data.obsm)
    assert {f"X_umap_{name}" for name in EMBEDDINGS} <= set(data.obsm)
    ids, values = read_embedding(demo.outdir / "demo" / "embeddings" / "demo.harmony.raw.0.parquet")
    order = data.obs_names.get_indexer(ids)
    assert (order >= 0).all()
    np.testing.assert_array_equal(data.obsm["X_harmony.raw.0"][order], values)
    assert "counts" in data.layers
    assert int(data.var["highly_variable"].sum()) == 500


def test_every_embedding_has_a_sidecar_that_says_how_it_was_made(demo: Run) -> None:
    for name in EMBEDDINGS:
        sidecar = json.loads((demo.outdir / "demo" / "embeddings" / f"demo.{name}.json").read_text())
        assert sidecar["embedding"] == name
        assert sidecar["cells_in"] == sidecar["cells_out"] == 700
        assert sidecar["versions"]["python"]
        assert sidecar["is_control"] == (name.split(".")[0] in CONTROLS)


class _Loads(HTMLParser):
    """Collect what a browser would load from elsewhere; text inside scripts is not a tag."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            loads = name == "src" or (tag == "link" and name == "href")
            if loads and (value or "").startswith(("http:", "https:", "//")):
                self.outside.append(f"{tag} {value}")


def test_the_report_is_self_contained_and_names_every_embedding(demo: Run) -> None:
    html = (demo.outdir / "report" / "scfmbench_report.html").read_text()
    loads = _Loads()
    loads.feed(html)
    assert loads.outside == []
    for title in ("Harmony", "Scanorama", "scVI", "ComBat", "Label one-hot", "Random noise"):
        assert title in html
    assert len(html) < 20_000_000


def test_the_results_are_read_without_the_work_folder(demo: Run, tmp_path: Path) -> None:
    shutil.copytree(demo.outdir, tmp_path / "elsewhere", symlinks=True)
    assert read_alone(tmp_path / "elsewhere") > 50


def test_training_history_and_model_are_kept(demo: Run) -> None:
    training = demo.outdir / "demo" / "training"
    assert (training / "demo.scvi.raw.0.history.csv").read_text().startswith("epoch,")
    assert (training / "demo.scvi.raw.0.model" / "model.pt").exists()


def test_resume_of_a_finished_run_runs_nothing_again(demo: Run) -> None:
    again = run_pipeline(demo.folder, "-profile", "test", "-resume", out="out")
    assert again.status == 0, again.log
    # the verdict is the run's own last word, said anew each time only when it is bad; here it is cached like the rest
    assert names_of(again.trace(), "COMPLETED") == []
    cached = names_of(again.trace(), "CACHED")
    assert len(cached) > 30
    # 20 embeddings in two groups: whole methods in the order of the plan, scVI with the controls
    assert {name: cached.count(name) for name in ("VALIDATE_UNCORRECTED", "SCORE_EMBEDDING", "DRAW_UMAPS")} == {
        "VALIDATE_UNCORRECTED": 2,
        "SCORE_EMBEDDING": 2,
        "DRAW_UMAPS": 2,
    }


@pytest.mark.slow
def test_shuffled_rows_of_the_input_change_no_score(demo: Run, tmp_path: Path) -> None:
    import anndata as ad
    import numpy as np

    data = ad.read_h5ad(PROJECT / "tests" / "data" / "demo.h5ad")
    data[np.random.default_rng(5).permutation(data.n_obs)].copy().write_h5ad(tmp_path / "demo.h5ad")
    (tmp_path / "sheet.csv").write_text(
        "dataset,h5ad,batch_key,label_key,organism,batch_role\ndemo,demo.h5ad,batch,cell_type,human,technical\n"
    )
    run = run_pipeline(
        tmp_path,
        "-profile",
        "test",
        "--input",
        str(tmp_path / "sheet.csv"),
        "--methods",
        "pca,harmony,scanorama,combat",
        "--controls",
        "shuffled,label_onehot",
        "--skip_umap",
    )
    assert run.status == 0, run.log
    names = sorted(run.table("scores")["embedding"].unique())
    assert "scanorama.center_l2.0" in names
    assert same_scores(demo.table("scores"), run.table("scores"), names) <= 1e-6
