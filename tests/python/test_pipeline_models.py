"""Eight models and their random twins through door, metrics, probes and report, in shards; one of them broken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers_pipeline import PROJECT, Run, environment, kill_at, run_pipeline

pytestmark = pytest.mark.pipeline
MODELS = ["scgpt", "geneformer", "genecompass", "scfoundation", "uce", "cellplm", "sccello", "nicheformer"]


def make_weights(dest: Path) -> Path:
    """Tiny random checkpoints in the official formats for the demo's genes."""
    import anndata as ad

    var = ad.read_h5ad(PROJECT / "tests" / "data" / "demo.h5ad", backed="r").var
    genes = dest.parent / "genes.tsv"
    genes.write_text(
        "".join(f"{symbol}\t{identifier}\n" for symbol, identifier in zip(var.index, var["ensembl_id"], strict=True))
    )
    subprocess.run(
        [
            sys.executable,
            PROJECT / "bin" / "make_tiny_weights.py",
            "--model",
            "all",
            "--genes",
            genes,
            "--dest",
            dest,
            "--quiet",
        ],
        check=True,
        env=environment(),
    )
    return dest


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_weights(tmp_path_factory.mktemp("weights") / "weights")


@pytest.fixture(scope="module")
def run(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All models in two shards each, the checkpoint of CellPLM cut off in the middle."""
    checkpoint = next((weights / "cellplm").glob("*.ckpt"))
    checkpoint.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])
    return run_pipeline(
        tmp_path_factory.mktemp("models"),
        "-profile",
        "test",
        "--methods",
        "pca",
        "--controls",
        "none",
        "--corrections",
        "none",
        "--skip_umap",
        "--models",
        "all",
        "--weights_dir",
        str(weights),
        "--random_init",
        "--shard_cells",
        "400",
        "--accept_license",
        "scfoundation",
        "--model_options",
        str(PROJECT / "tests" / "data" / "demo_models.yml"),
    )


def test_one_broken_model_leaves_seven(run: Run) -> None:
    status = run.table("status").set_index(["embedding", "step"])
    assert run.status != 0
    for model in MODELS:
        expected = "failed" if model == "cellplm" else "ok"
        assert status.loc[(f"{model}.raw.0", "embed"), "status"] == expected, run.log
        if model != "cellplm":
            for name in (f"{model}.raw.0", f"{model}_random.raw.0"):
                assert (status.xs(name).drop("umap")["status"] == "ok").all(), name
    assert ".ckpt" in status.loc[("cellplm.raw.0", "embed"), "reason"]


def test_scores_and_report_hold_every_model(run: Run) -> None:
    scored = set(run.table("scores")["embedding"])
    assert {f"{m}.raw.0" for m in MODELS if m != "cellplm"} <= scored
    html = (run.outdir / "report" / "scfmbench_report.html").read_text()
    for title in ("scGPT", "Geneformer", "GeneCompass", "scFoundation", "UCE", "CellPLM", "scCello", "Nicheformer"):
        assert title in html
    assert "random weights" in html


def test_shards_were_joined_to_what_one_task_gives(run: Run, weights: Path, tmp_path: Path) -> None:
    from scfm.io.tables import read_embedding

    prepared = run.outdir / "demo" / "prepared" / "demo.prepared.h5ad"
    settings = json.loads((run.outdir / "pipeline_info" / "model_settings.json").read_text())["demo"]["sccello"]
    (tmp_path / "options.json").write_text(json.dumps(settings))
    subprocess.run(
        [
            sys.executable,
            PROJECT / "bin" / "embed_cells.py",
            "--model",
            "sccello",
            "--weights",
            weights / "sccello",
            "--input",
            prepared,
            "--options",
            tmp_path / "options.json",
            "--output",
            tmp_path / "whole.parquet",
            "--quiet",
        ],
        check=True,
        env=environment(),
    )
    ids, values = read_embedding(run.outdir / "demo" / "embeddings" / "demo.sccello.raw.0.parquet")
    whole_ids, whole = read_embedding(tmp_path / "whole.parquet")
    where = {cell: i for i, cell in enumerate(whole_ids)}
    assert set(ids) == set(whole_ids)
    np.testing.assert_allclose(values, whole[[where[cell] for cell in ids]], atol=1e-6, rtol=0)
    sidecar = json.loads((run.outdir / "demo" / "embeddings" / "demo.sccello.raw.0.json").read_text())
    assert sidecar["shards"] == 2
    assert sidecar["weights_random"] is True


def test_a_killed_shard_resumes_to_what_an_undisturbed_run_gives(run: Run, weights: Path, tmp_path: Path) -> None:
    from scfm.io.tables import read_embedding

    options = [
        "-profile",
        "test",
        "--methods",
        "none",
        "--controls",
        "none",
        "--corrections",
        "none",
        "--models",
        "sccello",
        "--shard_cells",
        "400",
        "--skip_umap",
        "--skip_probing",
        "--weights_dir",
        str(weights),
        "--model_options",
        str(PROJECT / "tests" / "data" / "demo_models.yml"),
        "--seeds",
        "7417",
    ]
    # one task at a time: the first shard is done when the second one starts
    kill_at("python.*embed_cells.py --model sccello .*shard_001", tmp_path / "killed", *options, "-process.maxForks=1")
    resumed = run_pipeline(tmp_path / "killed", *options, "-resume")
    assert resumed.status == 0, resumed.log
    shards = {
        row["name"].split("(")[1].rstrip(")"): row["status"] for row in resumed.trace() if ":SCCELLO " in row["name"]
    }
    assert len(shards) == 2
    assert sorted(shards.values()) == ["CACHED", "COMPLETED"]
    expected, got = (
        read_embedding(folder / "demo" / "embeddings" / f"demo.sccello.raw.{seed}.parquet")
        for folder, seed in ((run.outdir, 0), (resumed.outdir, 7417))
    )
    np.testing.assert_array_equal(expected[0], got[0])
    np.testing.assert_array_equal(expected[1], got[1])


def test_absent_weights_are_not_applicable_with_the_command_that_gets_them(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    run = run_pipeline(
        tmp_path,
        "-profile",
        "test",
        "--methods",
        "pca",
        "--controls",
        "none",
        "--corrections",
        "none",
        "--models",
        "scgpt",
        "--weights_dir",
        str(tmp_path / "weights"),
        "--skip_umap",
        "--skip_probing",
    )
    assert len(run.table("probing")) == 0
    assert not list((run.outdir / "demo").rglob("*.png"))
    row = run.table("status").set_index(["embedding", "step"]).loc[("scgpt.raw.0", "embed")]
    assert run.status == 0, run.log
    assert row["status"] == "not_applicable"
    assert row["reason_code"] == "weights_missing"
    assert "bin/fetch_weights.py --model scgpt" in row["reason"]
