"""Three of the failures of ``make test-faults`` (docs/reliability.md) on the same small run, and its results moved."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from engines.files import damage, flip
from engines.kills import end_nextflow, kill_tasks
from engines.load import read_alone
from engines.world import World

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small run, undisturbed."""
    return World(tmp_path_factory.mktemp("faults") / "run", sets="a")


def test_results_are_read_without_the_work_folder(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.reference.outdir, tmp_path / "elsewhere", symlinks=True)
    assert read_alone(tmp_path / "elsewhere") > 20


def test_a_killed_task_is_run_again(world: World, tmp_path: Path) -> None:
    killed = kill_tasks(world, ["score_embedding.py", "collect_results.py"], tmp_path)
    assert len(killed) == 2 and all("the same tables" in said for said in killed.values())


def test_a_killed_run_resumes_to_the_same_tables(world: World, tmp_path: Path) -> None:
    ended = end_nextflow(world, {"collect_results.py": signal.SIGKILL}, tmp_path)
    assert all("resumed with" in said and "the same tables" in said for said in ended.values())


def test_a_damaged_embedding_never_gives_other_numbers(world: World, tmp_path: Path) -> None:
    assert damage(world, [(".pca.raw.0.parquet", flip)], tmp_path)
