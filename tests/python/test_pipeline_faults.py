"""Three of the failures of ``make test-faults`` (docs/reliability.md) on the same small run, and its results moved."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from engines.files import damage, flip
from engines.kills import end_nextflow, kill_task
from engines.load import moved_outdir
from engines.world import World

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small run, undisturbed."""
    return World(tmp_path_factory.mktemp("faults") / "run")


def test_results_are_read_without_the_work_folder(world: World, tmp_path: Path) -> None:
    assert "no link among them" in moved_outdir(world, tmp_path)


def test_a_killed_task_is_run_again(world: World, tmp_path: Path) -> None:
    assert "the same tables" in kill_task(world, "score_embedding.py", tmp_path)


def test_a_killed_run_resumes_to_the_same_tables(world: World, tmp_path: Path) -> None:
    assert "resumed with" in end_nextflow(world, "collect_results.py", signal.SIGKILL, tmp_path)


def test_a_damaged_embedding_never_gives_other_numbers(world: World, tmp_path: Path) -> None:
    assert damage(world, "demo.pca.raw.0.parquet", flip, tmp_path)
