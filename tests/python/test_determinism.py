"""The list of steps in docs/reproducibility.md is whole, and the number of cores changes no table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers_pipeline import PROJECT, run_pipeline, same_tables

CLASSES = ("deterministic", "seeded", "exact up to")


def _listed() -> dict[str, list[str]]:
    """Process -> classes of the page's table."""
    found: dict[str, list[str]] = {}
    for line in (PROJECT / "docs" / "reproducibility.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 4 and cells[1].startswith("`"):
            for name in re.findall(r"`(\w+)`", cells[1]):
                found.setdefault(name, []).append(cells[3])
    return found


def test_the_page_lists_every_process_with_its_class() -> None:
    modules = (PROJECT / "modules" / "local").rglob("main.nf")
    names = {re.search(r"^process (\w+)", path.read_text(), re.MULTILINE)[1] for path in modules}
    listed = _listed()
    assert set(listed) == names
    assert all(kind.startswith(CLASSES) for kinds in listed.values() for kind in kinds)


@pytest.mark.slow
@pytest.mark.pipeline
def test_other_core_counts_give_the_same_tables(tmp_path: Path) -> None:
    few = ["--methods", "pca,harmony,scanorama,scvi", "--scvi_max_epochs", "5", "--skip_umap"]
    sheet = ["--input", str(PROJECT / "tests" / "data" / "demo_samplesheet.csv")]
    runs = []
    for cores in ("1", "2"):
        runs.append(run_pipeline(tmp_path / cores, *sheet, *few, "--max_cpus", cores))
        assert runs[-1].status == 0, runs[-1].log
    same_tables(*runs)
