"""What a user gets when something is wrong, and what a resumed run computes again.

Failing embeddings and models, a killed shard and a task killed for memory are in test_pipeline_modules.py.
"""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from helpers_pipeline import (
    PROJECT,
    copy_project,
    kill_at,
    names_of,
    run_pipeline,
    same_scores,
)

pytestmark = pytest.mark.pipeline
FAST = ["-profile", "test", "--methods", "pca,harmony", "--controls", "none", "--corrections", "none", "--skip_umap"]


def test_all_errors_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    data = ad.read_h5ad(PROJECT / "tests" / "data" / "demo.h5ad")
    data.X = np.log1p(data.X)
    data.write_h5ad(tmp_path / "logged.h5ad")
    (tmp_path / "sheet.csv").write_text(
        "dataset,h5ad,batch_key,label_key\none,logged.h5ad,batch,cell_typ\ntwo,absent.h5ad,batch,cell_type\n"
    )
    run = run_pipeline(tmp_path, "--input", "sheet.csv", "--methods", "harmny", "--n_hgv", "100")
    assert run.status != 0
    for sentence in ("log", "'cell_typ'", "cell_type", "absent.h5ad", "harmny", "harmony", "n_hgv", "n_hvg"):
        assert sentence in run.log, f"{sentence!r} is not in:\n{run.log}"
    assert "Traceback" not in run.log
    assert names_of(run.trace(), "COMPLETED") == ["CHECK_INPUTS"]


@pytest.mark.slow
def test_killed_task_and_killed_run_resume_to_the_same_tables(tmp_path: Path) -> None:
    # a seed of its own makes the command line unlike that of any other run on this machine
    options = [*FAST, "--seeds", "8675309"]
    undisturbed = run_pipeline(tmp_path / "undisturbed", *options)
    assert undisturbed.status == 0, undisturbed.log
    folder = tmp_path / "killed"
    kill_at("python.*integrate_cells.py --method harmony .*--seed 8675309", folder, *options)
    resumed = run_pipeline(folder, *options, "-resume")
    assert resumed.status == 0, resumed.log
    assert "CHECK_INPUTS" in names_of(resumed.trace(), "CACHED")
    assert "HARMONY" in names_of(resumed.trace(), "COMPLETED")
    names = ["pca.raw.8675309", "harmony.raw.8675309"]
    present = [name for name in undisturbed.table("scores")["embedding"].unique()]
    assert sorted(present) == sorted(resumed.table("scores")["embedding"].unique())
    assert any(name in present for name in names)
    assert same_scores(undisturbed.table("scores"), resumed.table("scores"), present) == 0
    for table in ("status", "totals", "probing"):
        pd.testing.assert_frame_equal(undisturbed.table(table), resumed.table(table))


def test_an_edited_file_and_a_changed_parameter_rerun_what_uses_them_and_nothing_else(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    few = ["--methods", "pca,harmony", "--controls", "none", "--corrections", "none", "--skip_diagnosis"]
    options = ["-profile", "test", "-stub", "--group_size", "1", *few]  # what one embedding needs, not its group
    first = run_pipeline(tmp_path / "run", *options, project=project)
    assert first.status == 0, first.log
    edited = project / "bin" / "scfm" / "metrics" / "bras.py"
    edited.write_text(edited.read_text() + "\n# edited\n")
    second = run_pipeline(tmp_path / "run", *options, "-resume", project=project)
    assert second.status == 0, second.log
    done, cached = set(names_of(second.trace(), "COMPLETED")), set(names_of(second.trace(), "CACHED"))
    assert "SCORE_EMBEDDING" in done
    assert {
        "CHECK_INPUTS",
        "PREPARE_DATASET",
        "HARMONY",
        "VALIDATE_UNCORRECTED",
        "FIND_NEIGHBORS",
        "PROBE_EMBEDDING",
        "DRAW_UMAPS",
    } <= cached
    assert "HARMONY" not in done
    # the newest: the folders of the first run are still there
    written = [p for p in (tmp_path / "run" / "work").glob("*/*/demo.pca.raw.0.centroids.tsv") if not p.is_symlink()]
    max(written, key=lambda path: path.stat().st_mtime).unlink()
    third = run_pipeline(tmp_path / "run", *options, "-resume", "--harmony_theta", "4", project=project)
    assert third.status == 0, third.log
    status = {row["name"].split(":")[-1]: row["status"] for row in third.trace()}
    assert status["SCORE_EMBEDDING (demo.pca.raw.0)"] == "COMPLETED"
    assert status["FIND_NEIGHBORS (demo.pca.raw.0)"] == "CACHED"
    assert "HARMONY" in names_of(third.trace(), "COMPLETED")
    assert "PCA" in names_of(third.trace(), "CACHED")
    assert not {"PCA", "PREPARE_DATASET"} & set(names_of(third.trace(), "COMPLETED"))


def test_what_a_step_does_not_read_does_not_run_it_again(tmp_path: Path) -> None:
    """Parameters of the report, of ranks and of another method, and a further file of the samplesheet."""
    head, row = (
        "dataset,h5ad,batch_key,label_key,query",
        f"demo,{PROJECT}/tests/data/demo.h5ad,batch,cell_type,new.h5ad",
    )
    (tmp_path / "sheet.csv").write_text(f"{head}\n{row}\n")
    for name in ("new.h5ad", "markers.csv"):
        (tmp_path / name).touch()
    few = ["--methods", "pca,scvi", "--controls", "none", "--corrections", "none", "--skip_umap", "--skip_probing"]
    options = ["-profile", "test", "-stub", "--input", str(tmp_path / "sheet.csv"), *few]
    first = run_pipeline(tmp_path, *options)
    assert first.status == 0, first.log
    (tmp_path / "sheet.csv").write_text(f"{head},markers\n{row},markers.csv\n")
    others = ["--report_title", "Another", "--min_anchor_span", "0.2", "--scanorama_dims", "150"]
    second = run_pipeline(tmp_path, *options, *others, "-resume")
    assert second.status == 0, second.log
    read_everything = {"CHECK_INPUTS", "COLLECT_RESULTS", "BUILD_REPORT", "MULTIQC", "CHECK_VERDICT"}
    assert set(names_of(second.trace(), "COMPLETED")) == read_everything | {"DIAGNOSE_EMBEDDING"}
    assert {"SCVI", "SAVE_REFERENCE", "TRAIN_QUERY", "MAP_QUERY"} <= set(names_of(second.trace(), "CACHED"))


@pytest.mark.slow
def test_a_hostile_obsm_key_is_text_and_nothing_else(tmp_path: Path) -> None:
    key = """X_o'b "$(touch hacked)" `touch hacked` $HOME \\ *"""
    data = ad.read_h5ad(PROJECT / "tests" / "data" / "demo.h5ad")
    data.obsm[key] = np.random.default_rng(0).normal(size=(data.n_obs, 3))
    data.write_h5ad(tmp_path / "d.h5ad")
    quoted = key.replace('"', '""')
    (tmp_path / "sheet.csv").write_text(
        f'dataset,h5ad,batch_key,label_key,embeddings\nd,d.h5ad,batch,cell_type,"mine=obsm:{quoted}"\n'
    )
    few = ["--methods", "pca", "--controls", "none", "--corrections", "none", "--skip_umap", "--skip_probing"]
    run = run_pipeline(tmp_path, "-profile", "test", "--input", "sheet.csv", *few)
    assert run.status == 0, run.log
    assert "mine.raw.0" in set(run.table("scores")["embedding"])
    assert not list(tmp_path.rglob("hacked"))
