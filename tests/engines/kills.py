"""Processes that end, hang or lack memory: each case leaves the tables of the undisturbed run, or a sentence."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from engines.world import CONFIG, World
from helpers_pipeline import names_of


def kill_task(world: World, step: str, _: Path) -> str:
    """A task is killed as by the kernel for lack of memory (kill -9)."""
    world.before(step)
    process = world.start("-resume")
    os.kill(world.find(f"/bin/{step}"), signal.SIGKILL)
    run = world.finish(process)
    world.same(run)
    lost = names_of(run.trace(), "FAILED")
    return f"{lost[0]} run again; the same tables" if lost else "the step went on in another process; the same tables"


def end_nextflow(world: World, step: str, number: signal.Signals, _: Path) -> str:
    """Nextflow itself is ended while a step runs, and the run is resumed."""
    world.before(step)
    process = world.start("-resume")
    world.find(f"/bin/{step}")
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid, number)
    first = world.finish(process)
    assert first.status != 0
    assert "scfmbench completed in" not in first.log, first.log[-1500:]
    world.stop_tasks()
    run = world.run("-resume")
    world.same(run)
    cached = len(names_of(run.trace(), "CACHED"))
    return f"exit status {first.status}; resumed with {cached} cached tasks, the same tables"


def too_little_memory(world: World, tries: int, _: Path) -> str:
    """A task is killed for lack of memory, once or every time."""
    limit = f"if [ $(cat ../../pca_tries | wc -l) -lt {tries} ]; then echo x >> ../../pca_tries; kill -9 $$; fi"
    world.before("integrate_cells.py", CONFIG + f"process {{ withName: PCA {{ beforeScript = '''{limit}''' }} }}\n")
    (world.folder / "work" / "pca_tries").write_text("")
    run = world.run("-resume")
    if tries < 3:
        world.same(run)
        assert names_of(run.trace(), "FAILED") == ["PCA"] * tries, run.trace()
        return f"{tries} tries ended without memory, the next one completed; the same tables"
    return _failed_embedding(world, "-resume")


def small_address_space(world: World, step: str, process: str, _: Path) -> str:
    """The first try of a task can't get the memory that it asks for: its allocations fail."""
    limit = "{ task.attempt == 1 ? 'ulimit -v 350000' : '' }"
    world.before(step, CONFIG + f"process {{ withName: {process} {{ beforeScript = {limit} }} }}\n")
    run = world.run("-resume")
    world.same(run)
    lost = names_of(run.trace(), "FAILED")
    assert lost == [process], lost
    status = next(row["exit"] for row in run.trace() if row["status"] == "FAILED")
    return f"{process} ended with exit status {status}, the second try completed; the same tables"


def hanging(world: World, _: Path) -> str:
    """A task hangs for longer than its time."""
    world.before(
        "integrate_cells.py", CONFIG + "process { withName: PCA { beforeScript = 'sleep 600'; time = '3 s' } }\n"
    )
    return _failed_embedding(world, "-resume")


def _failed_embedding(world: World, *options: str) -> str:
    """Run; the method fails for good, and the report says why."""
    run = world.run(*options)
    world.said(run)
    row = run.table("status").query("step == 'embed'").iloc[0]
    assert row["status"] == "failed" and row["reason"], row
    assert (run.outdir / "report" / "scfmbench_report.html").exists()
    return f"the run goes on to its report, which says: {row['reason']}"


def odd_environment(world: World, extra: dict[str, str], _: Path) -> str:
    """The environment lacks something that programs like to have."""
    world.fresh()
    world.same(world.run(**extra))
    return "the same tables"
