"""What a user gets when something is wrong: all faults at once, a failing embedding that takes no other with it, a
truthful exit status.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml

from helpers_pipeline import (
    PROJECT,
    command,
    copy_project,
    environment,
    kill_at,
    names_of,
    run_pipeline,
    same_scores,
    wait_for,
)

pytestmark = pytest.mark.pipeline
FAST = ["-profile", "test", "--methods", "pca,harmony", "--controls", "none", "--corrections", "none", "--skip_umap"]


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
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


def test_a_broken_embedding_fails_alone_and_the_run_says_so(tmp_path: Path) -> None:
    data = ad.read_h5ad(PROJECT / "tests" / "data" / "demo.h5ad")
    rng = np.random.default_rng(0)
    good = pd.DataFrame(rng.normal(size=(700, 4)), index=data.obs_names).rename_axis("cell_id")
    broken = good.copy()
    broken.iloc[3, 1] = np.nan
    good.sample(frac=1, random_state=1).to_csv(tmp_path / "good.csv")
    broken.to_csv(tmp_path / "broken.csv")
    sheet = (
        "dataset,h5ad,batch_key,label_key,embeddings\n"
        f"demo,{PROJECT}/tests/data/demo.h5ad,batch,cell_type,mine=good.csv;theirs=broken.csv\n"
    )
    (tmp_path / "sheet.csv").write_text(sheet)
    run = run_pipeline(tmp_path, "--input", str(tmp_path / "sheet.csv"), *FAST)
    status = run.table("status").set_index(["embedding", "step"])
    assert run.status != 0
    for name in ("mine.raw.0", "harmony.raw.0"):
        steps = status.xs(name)
        assert (steps.drop("umap")["status"] == "ok").all()
        assert tuple(steps.loc["umap", ["status", "reason_code"]]) == ("not_applicable", "switched_off")
    failed = status.loc[("theirs.raw.0", "validate")]
    assert failed["status"] == "failed"
    assert not list((run.outdir / "demo" / "embeddings").glob("*theirs*"))  # 0 bytes are no result
    assert all(path.stat().st_size for path in run.outdir.rglob("*") if path.is_file() and path.name != ".lock")
    assert not list(run.outdir.rglob("versions.yml"))
    assert run.log.rstrip().splitlines()[-1].startswith("scfmbench finished with failures")
    versions = yaml.safe_load((run.outdir / "pipeline_info" / "scfmbench_software_versions.yml").read_text())
    assert {"harmonypy", "numpy", "python"} <= set(versions["HARMONY"]) and "igraph" in versions["SCORE_EMBEDDING"]
    assert json.loads((run.outdir / "pipeline_info" / "params.json").read_text())["methods"] == "pca,harmony"
    assert "not finite" in failed["reason"] or "NaN" in failed["reason"] or "non-finite" in failed["reason"]
    assert status.loc[("theirs.raw.0", "score"), "reason_code"] == "earlier_step_failed"
    html = (run.outdir / "report" / "scfmbench_report.html").read_text()
    assert "theirs" in html
    assert set(run.table("scores")["embedding"]) == {"pca.raw.0", "harmony.raw.0", "mine.raw.0"}


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


def test_a_task_killed_for_memory_is_tried_again(tmp_path: Path) -> None:
    options = [*FAST, "--skip_probing", "--seeds", "5550123"]
    folder = tmp_path / "run"
    folder.mkdir()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command(*options, outdir=folder / "out"),
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        os.kill(wait_for("python.*integrate_cells.py --method harmony .*--seed 5550123"), signal.SIGKILL)
        assert process.wait(timeout=900) == 0, (folder / "log.txt").read_text()
    trace = (folder / "out" / "pipeline_info" / "execution_trace.txt").read_text()
    assert "\t137\t" in trace


def test_an_edited_file_and_a_changed_parameter_rerun_what_uses_them_and_nothing_else(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    few = ["--methods", "pca,harmony", "--controls", "none", "--corrections", "none"]
    first = run_pipeline(tmp_path / "run", "-profile", "test", "-stub", *few, project=project)
    assert first.status == 0, first.log
    edited = project / "bin" / "scfm" / "metrics" / "bras.py"
    edited.write_text(edited.read_text() + "\n# edited\n")
    second = run_pipeline(tmp_path / "run", "-profile", "test", "-stub", *few, "-resume", project=project)
    assert second.status == 0, second.log
    done, cached = set(names_of(second.trace(), "COMPLETED")), set(names_of(second.trace(), "CACHED"))
    assert "SCORE_EMBEDDING" in done
    assert {
        "CHECK_INPUTS",
        "PREPARE_DATASET",
        "PCA",
        "HARMONY",
        "VALIDATE_UNCORRECTED",
        "FIND_NEIGHBORS",
        "PROBE_EMBEDDING",
        "DRAW_UMAPS",
    } <= cached
    assert "HARMONY" not in done
    third = run_pipeline(
        tmp_path / "run", "-profile", "test", "-stub", *few, "-resume", "--harmony_theta", "4", project=project
    )
    rerun, cached = names_of(third.trace(), "COMPLETED"), names_of(third.trace(), "CACHED")
    assert "HARMONY" in rerun and "PCA" not in rerun and "PCA" in cached
