"""The commands of the tutorial "my atlas grows by a data set", as typed, and what they left."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from helpers_pipeline import PROJECT, environment
from scfm.io.tables import read_json, read_table

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]
PAGE = PROJECT / "docs" / "growing_atlas.md"


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run every bash block of the page in an empty folder, the pipeline from this checkout."""
    folder = tmp_path_factory.mktemp("atlas")
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    script = "\n".join(blocks).replace("nextflow run .", f"nextflow run {PROJECT}")
    script = script.replace('"tests/data/', f'"{PROJECT}/tests/data/')
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


def test_the_reference_has_every_mapping(typed: Path) -> None:
    about = read_json(typed / "results_atlas" / "atlas" / "reference" / "reference.json")
    assert set(about["mappings"]) == {"pca", "center", "harmony", "scvi", "scanvi"}
    assert about["batches"].keys() == {"batch_1", "batch_2"}


def test_the_new_cells_have_labels_and_a_report(typed: Path) -> None:
    results = typed / "results_new"
    table = read_table(results / "tables" / "query.tsv")
    whole = table[(table["group_kind"] == "all") & (table["quantity"] == "macro_f1")].set_index("mapping")
    assert (whole["status"] == "ok").all() and len(whole) == 5
    assert (whole["value"] > 0.5).all(), whole["value"]  # seven types; the new batch lacks B cells
    cells = pd.read_parquet(results / "new_donors" / "query" / "cells.parquet")
    assert cells.groupby("mapping")["cell_id"].nunique().eq(200).all()
    page = (results / "report" / "scfmbench_report.html").read_text()
    assert "New cells mapped" in page and "scVI (scArches)" in page


def test_nothing_else_was_run(typed: Path) -> None:
    trace = pd.read_csv(typed / "results_new" / "pipeline_info" / "execution_trace.txt", sep="\t")
    ran = {name.split(" ")[0].rsplit(":", 1)[-1] for name in trace["name"]}
    assert ran == {
        *("CHECK_INPUTS", "TRAIN_QUERY", "MAP_QUERY"),
        *("COLLECT_RESULTS", "BUILD_REPORT", "MULTIQC", "CHECK_VERDICT"),
    }
