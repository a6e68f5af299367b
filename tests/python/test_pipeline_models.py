"""All eight models, each by its own process, on randomly initialised weights of official formats."""

from __future__ import annotations

import pytest

from helpers_modules import PROJECT, call
from helpers_pipeline import Run, run_pipeline
from scfm.io.tables import read_json

pytestmark = pytest.mark.pipeline
MODELS = ["scgpt", "geneformer", "genecompass", "scfoundation", "uce", "cellplm", "sccello", "nicheformer"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Tiny checkpoints for the demo's genes; shards, twins, corrections and probes are in test_pipeline_modules.py."""
    import anndata as ad

    folder = tmp_path_factory.mktemp("models")
    var = ad.read_h5ad(PROJECT / "tests" / "data" / "demo.h5ad", backed="r").var
    names = zip(var.index, var["ensembl_id"], strict=True)
    (folder / "genes.tsv").write_text("".join(f"{symbol}\t{identifier}\n" for symbol, identifier in names))
    call("make_tiny_weights", model="all", genes=folder / "genes.tsv", dest=folder / "weights", quiet=True)
    return run_pipeline(
        folder,
        *("-profile", "test", "--methods", "pca", "--controls", "none", "--corrections", "none"),
        *("--skip_umap", "--skip_probing", "--skip_diagnosis"),
        *("--models", "all", "--weights_dir", str(folder / "weights")),
        *("--accept_license", "scfoundation", "--group_size", "9"),
        *("--model_options", str(PROJECT / "tests" / "data" / "demo_models.yml")),
    )


def test_every_model_is_embedded_and_scored(run: Run) -> None:
    assert run.status == 0, run.log
    status = run.table("status").set_index(["embedding", "step"])
    for model in MODELS:
        steps = status.xs(f"{model}.raw.0")
        assert (steps.drop(["umap", "probe"])["status"] == "ok").all(), model
        assert set(steps.loc[["umap", "probe"], "reason_code"]) == {"switched_off"}
    assert set(run.table("scores")["embedding"]) == {f"{name}.raw.0" for name in [*MODELS, "pca"]}
    assert len(run.table("probing")) == 0
    assert not list((run.outdir / "demo").rglob("*.png"))


def test_sidecars_say_which_weights_were_read(run: Run) -> None:
    for model in MODELS:
        sidecar = read_json(run.outdir / "demo" / "embeddings" / f"demo.{model}.raw.0.json")
        assert (sidecar["model"], sidecar["cells_out"], sidecar["weights_random"]) == (model, 700, True)
        assert sidecar["weights_sha256"], model


def test_the_report_names_every_model(run: Run) -> None:
    html = (run.outdir / "report" / "scfmbench_report.html").read_text()
    for title in ("scGPT", "Geneformer", "GeneCompass", "scFoundation", "UCE", "CellPLM", "scCello", "Nicheformer"):
        assert title in html
    assert "random weights" in html
