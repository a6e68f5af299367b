"""Stages and a sweep on simulated donors in tissues: scores after each stage, beside Harmony in one stage."""

from __future__ import annotations

import json

import pytest

import simulate_cells
from helpers_pipeline import Run, run_pipeline

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]
#: nine donors in three tissues that share two of five types; the batch of the simulator is the tissue
DESIGN = {
    "n_cells": 1200,
    "n_genes": 600,
    "n_types": 5,
    "n_batches": 3,
    "n_donors": 9,
    "nesting": "donor_in_batch",
    "donor_effect": 0.3,
    "batch_effect": 0.2,
    "composition": [[0.4, 0.3, 0.3, 0, 0], [0.4, 0.3, 0, 0.3, 0], [0.4, 0.3, 0, 0, 0.3]],
}


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Harmony in stages and in one, and two settings of theta."""
    folder = tmp_path_factory.mktemp("staged")
    (folder / "design.json").write_text(json.dumps(DESIGN))
    simulate_cells.main(["--design", str(folder / "design.json"), "--output", str(folder / "cells.h5ad")])
    (folder / "sheet.csv").write_text(
        "dataset,h5ad,batch_key,label_key,batch_role\ntissues,cells.h5ad,donor;batch,cell_type,technical\n"
    )
    (folder / "sweep.yml").write_text("harmony: {harmony_theta: [0, 8]}\n")
    options = ("--input", "sheet.csv", "--methods", "pca,harmony", "--controls", "none", "--corrections", "none")
    run = run_pipeline(
        folder,
        *options,
        *("--stages", "donor > batch", "--sweep", "sweep.yml", "--seeds", "0", "--n_hvg", "500"),
        *("--skip_probing", "--skip_umap", "--skip_diagnosis"),
    )
    assert run.status == 0, run.log
    return run


def test_stage_1_mixes_donors_inside_tissues_and_stage_2_tissues_too(staged):
    """iLISI over donors rises in stage 1; over tissues only in stage 2, and there above one stage over donors."""
    scores = staged.table("scores")
    rows = scores[(scores["metric"] == "ilisi") & (scores["group"] == "all")]
    found = rows.astype({"value": float}).set_index(["batch_key", "embedding"])["value"]
    pca, first, second, single = (f"{m}.raw.0" for m in ("pca", "harmony-stage1", "harmony-stage2", "harmony"))
    assert found["donor", first] > found["donor", pca] + 0.1
    assert found["batch", first] < found["batch", pca] + 0.05
    assert found["batch", second] > found["batch", first] + 0.1
    assert found["batch", second] > found["batch", single]


def test_stages_are_ranked_and_points_of_the_sweep_are_not(staged):
    ranked = set(staged.table("totals")["method"])
    assert ranked == {"pca", "harmony", "harmony-stage1", "harmony-stage2"}
    sweep = staged.table("sweep")
    assert sorted(sweep["point"]) == ["harmony-theta0", "harmony-theta8"] and sweep["picked"].sum() == 1
    page = (staged.outdir / "report" / "scfmbench_report.html").read_text()
    for part in ("Staged integration", "Harmony, stage 1 (donor inside batch)", "Picked by rule: theta"):
        assert part in page
