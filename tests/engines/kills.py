"""Processes that end, hang or lack memory: each case leaves the tables of the undisturbed run, or a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from engines.world import CONFIG, World, kill
from helpers_pipeline import names_of

#: executable -> the step in words, in the order of a run
STEPS = {
    "check_inputs.py": "check of the inputs",
    "prepare_dataset.py": "preparation",
    "describe_design.py": "design",
    "integrate_cells.py": "method",
    "validate_embedding.py": "validation gate",
    "find_neighbors.py": "neighbours",
    "score_embedding.py": "metrics",
    "write_dataset_h5ad.py": "data set file",
    "collect_results.py": "tables",
    "build_report.py": "report",
    "write_page.py": "page",
}
#: steps during which Nextflow is ended in one chain of resumed runs, and how
ENDED = {
    "check_inputs.py": signal.SIGKILL,
    "prepare_dataset.py": signal.SIGINT,
    "integrate_cells.py": signal.SIGTERM,
    "find_neighbors.py": signal.SIGKILL,
    "score_embedding.py": signal.SIGINT,
    "collect_results.py": signal.SIGTERM,
}


def kill_tasks(world: World, steps: Sequence[str], _: Path) -> dict[str, str]:
    """The first task of every step is killed as by the kernel for lack of memory (kill -9)."""
    world.before(steps[0])
    process = world.start("-resume")
    left = _kill_first(world, process, list(steps))
    run = world.finish(process)
    world.same(run)
    assert not left, f"no task of {left} came up"
    again = names_of(run.trace(), "FAILED")
    said = f"{len(again)} tasks of the run were run again; the same tables" if again else "the same tables"
    return {f"kill -9 of a task: {STEPS[step]}": said for step in steps}


def _kill_first(world: World, process: subprocess.Popen[bytes], steps: list[str]) -> list[str]:
    """Kill the first process of each step while a run goes on; return the steps of which none came up."""
    while steps and process.poll() is None:
        for step in list(steps):
            found = world.processes(f"/bin/{step}")
            if found:
                kill(found[0])
                steps.remove(step)
        time.sleep(0.05)
    return steps


def end_nextflow(world: World, chain: dict[str, signal.Signals], _: Path) -> dict[str, str]:
    """Nextflow itself is ended while a step runs, again and again, and each time the run is resumed."""
    world.before(next(iter(chain)))
    outcome = {}
    for step, number in chain.items():
        process = world.start("-resume")
        world.find(f"/bin/{step}")
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)
        ended = world.finish(process)
        assert ended.status != 0, (step, ended.log[-1500:])
        assert "scfmbench completed in" not in ended.log, ended.log[-1500:]
        world.stop_tasks()
        outcome[f"{number.name} to Nextflow: {STEPS[step]}"] = f"exit status {ended.status}"
    run = world.run("-resume")
    world.same(run)
    said = f"resumed with {len(names_of(run.trace(), 'CACHED'))} cached tasks at the end of the chain, the same tables"
    return {name: f"{status}; {said}" for name, status in outcome.items()}


def too_little_memory(world: World, _: Path) -> dict[str, str]:
    """A task is killed for lack of memory: once, twice, or every time."""
    tries = {"b": 1, "c": 2, "d": 3}
    cases = " ".join(f"{name}) most={number};;" for name, number in tries.items())
    limit = (
        "name=$(grep -o -- '--dataset [a-z]' .command.sh | tail -c 2); file=../../tries_$name; touch $file; "
        f"case $name in {cases} *) most=0;; esac; "
        "if [ $(wc -l < $file) -lt $most ]; then echo x >> $file; kill -9 $$; fi"
    )
    world.before("integrate_cells.py", CONFIG + f"process {{ withName: PCA {{ beforeScript = {_quoted(limit)} }} }}\n")
    outcome = world.by_set(world.run("-resume"))
    assert [outcome[name] for name in "abc"] == ["the same numbers"] * 3, outcome
    assert "137" in outcome["d"] or "memory" in outcome["d"], outcome
    return {f"no memory: {tries[name]} of 3 tries": outcome[name] for name in tries}


def small_address_space(world: World, steps: dict[str, str], _: Path) -> dict[str, str]:
    """The first try of a task can't get the memory that it asks for: its allocations fail.

    ``steps`` are the names of processes by executable.
    """
    limit = "{ task.attempt == 1 ? 'ulimit -v 350000' : '' }"
    chosen = "|".join(steps.values())
    world.before(next(iter(steps)), CONFIG + f"process {{ withName: '{chosen}' {{ beforeScript = {limit} }} }}\n", "a")
    run = world.run("-resume")
    world.same(run)
    lost = {row["name"].split(":")[-1].split(" ")[0]: row["exit"] for row in run.trace() if row["status"] == "FAILED"}
    assert set(lost) == set(steps.values()), lost
    return {
        f"allocations fail: {STEPS[step]}": f"exit status {lost[name]}, the second try completed; the same tables"
        for step, name in steps.items()
    }


def hanging(world: World, _: Path) -> str:
    """A task hangs for longer than its time."""
    limit = "process { withName: PCA { beforeScript = 'sleep 60'; time = '3 s' } }\n"
    world.before("integrate_cells.py", CONFIG + limit, "a")
    outcome = world.by_set(world.run("-resume"))
    assert [outcome[name] for name in "bcd"] == ["the same numbers"] * 3, outcome
    assert outcome["a"].startswith("failed"), outcome
    return outcome["a"]


def odd_environment(world: World, extra: dict[str, str], _: Path) -> str:
    """The environment lacks what programs like to have."""
    world.before("check_inputs.py")
    world.same(world.run(**extra))
    return "the same tables"


def _quoted(text: str) -> str:
    """Return a text as a string of Groovy in which nothing is replaced."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
