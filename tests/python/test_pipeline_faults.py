"""Three of the failures of ``make test-faults`` (docs/reliability.md) on the same small run."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from engines.files import damage, flip
from engines.kills import end_nextflow, kill_tasks
from engines.world import World, tables_only

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]  # minutes on two busy cores


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small run, undisturbed."""
    folder = tmp_path_factory.mktemp("faults")
    return World(folder / "run", sets="a", project=tables_only(folder / "pipeline"))


def test_a_killed_task_is_run_again(world: World, tmp_path: Path) -> None:
    killed = kill_tasks(world, ["score_embedding.py", "collect_results.py"], tmp_path)
    assert len(killed) == 2 and all("the same tables" in said for said in killed.values())


def test_a_killed_run_resumes_to_the_same_tables(world: World, tmp_path: Path) -> None:
    ended = end_nextflow(world, {"collect_results.py": signal.SIGKILL}, tmp_path)
    assert all("resumed with" in said and "the same tables" in said for said in ended.values())


def test_a_damaged_embedding_never_gives_other_numbers(world: World, tmp_path: Path) -> None:
    assert damage(world, [(".pca.raw.0.parquet", flip)], tmp_path)
