"""What is injected into a run, and what must come out: the tables of the undisturbed run, or one sentence."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from engines.suite import Case
from engines.world import CONFIG, World, mounted, sentence_of
from helpers_pipeline import names_of

#: executable -> the step in words, in the order of a run
STEPS = {
    "check_inputs.py": "check of the inputs",
    "prepare_dataset.py": "preparation",
    "integrate_cells.py": "method",
    "validate_embedding.py": "validation gate",
    "find_neighbors.py": "neighbours",
    "score_embedding.py": "metrics",
    "write_dataset_h5ad.py": "data set file",
    "collect_results.py": "tables",
    "build_report.py": "report",
    "write_page.py": "page",
}
#: file of the work folder -> what it is
FILES = {
    "demo.prepared.h5ad": "prepared data set",
    "demo.obs.parquet": "obs table",
    "demo.pca.raw.0.parquet": "validated embedding",
    "demo.pca.raw.0.knn.npz": "neighbours",
    "demo.pca.raw.0.scores.tsv": "scores",
}


def kill_task(world: World, step: str, _: Path) -> str:
    """A task is killed as by the kernel for lack of memory (kill -9)."""
    world.fresh()
    process = world.start()
    os.kill(world.find(f"/bin/{step}"), signal.SIGKILL)
    run = world.finish(process)
    world.same(run)
    lost = names_of(run.trace(), "FAILED")
    return f"{lost[0]} run again; the same tables" if lost else "the step went on in another process; the same tables"


def end_nextflow(world: World, step: str, number: signal.Signals, _: Path) -> str:
    """Nextflow itself is ended while a step runs, and the run is resumed."""
    world.fresh()
    process = world.start()
    world.find(f"/bin/{step}")
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid, number)
    first = world.finish(process)
    assert first.status != 0
    _stop_tasks(world)
    run = world.run("-resume")
    world.same(run)
    return (
        f"exit status {first.status}; resumed with {len(names_of(run.trace(), 'CACHED'))} cached tasks, the same tables"
    )


def _stop_tasks(world: World) -> None:
    """End what a killed run left behind, as a user would before resuming."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and world.is_ours(entry):
            os.kill(int(entry.name), signal.SIGKILL)
    time.sleep(0.5)


def damage(world: World, name: str, how: Callable[[Path], None], _: Path) -> str:
    """A file of the work folder is damaged before the run is resumed."""
    world.completed()
    how(world.work_file(name))
    return world.same_or_said(world.run("-resume"))


def truncate(path: Path) -> None:
    """Cut a file to half its size."""
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    """Leave 0 bytes."""
    path.write_bytes(b"")


def flip(path: Path) -> None:
    """Change 64 bytes in the middle; the size stays."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
    path.write_bytes(bytes(content))


def delete(path: Path) -> None:
    """Delete a file."""
    path.unlink()


def no_cache(world: World, _: Path) -> str:
    """Nextflow's record of a completed run is deleted before the run is resumed."""
    world.completed()
    shutil.rmtree(world.folder / ".nextflow")
    run = world.run("-resume")
    world.same(run)
    return f"{len(names_of(run.trace(), 'COMPLETED'))} tasks computed anew; the same tables"


def other_input(world: World, _: Path) -> str:
    """The input changes between a run and its resumption: nothing of the old one may be used."""
    import anndata as ad

    world.completed()
    data = ad.read_h5ad(world.folder / "demo.h5ad")[:600].copy()
    data.write_h5ad(world.folder / "demo.h5ad")
    resumed = world.run("-resume")
    assert resumed.status == 0, resumed.log
    counted = set(resumed.table("scores")["n_cells"])
    assert not counted & set(world.reference.table("scores")["n_cells"]), counted
    return "everything was computed anew; no number of the old input is left"


def earlier_results(world: World, _: Path) -> str:
    """The output folder holds an earlier run of another data set, and this run fails."""
    world.fresh()
    (world.folder / "out" / "tables").mkdir(parents=True)
    (world.folder / "out" / "tables" / "verdict.json").write_text('{"exit_status": 0, "message": "An earlier run."}')
    (world.folder / "sheet.csv").write_text("dataset,h5ad,batch_key,label_key\ndemo,demo.h5ad,batch,no_such\n")
    run = world.run()
    assert run.status != 0 and "An earlier run" not in run.log and "completed" not in run.log.splitlines()[-1]
    assert not (run.outdir / "tables" / "verdict.json").exists()
    return f"ended with: {sentence_of(run.log)}; nothing is said about the earlier run"


def two_runs(world: World, _: Path) -> str:
    """A second run starts with the same output folder."""
    world.fresh()
    first = world.start()
    world.find("/bin/check_inputs.py")
    other = world.folder / "other"
    other.mkdir()
    for name in ("demo.h5ad", "sheet.csv", "nextflow.config"):
        shutil.copy2(world.folder / name, other / name)
    second = World.__new__(World)
    second.folder = other
    refused = second.run(out="../out")
    assert refused.status != 0
    run = world.finish(first)
    world.same(run)
    return f"the second ended with: {sentence_of(refused.log)}; the first gave the same tables"


def full_disk(world: World, where: str, megabytes: int, _: Path) -> str:
    """A file system of a few megabytes fills up while the run writes to it; then there is room."""
    world.fresh()
    options = {"work": [], "out": [], "scratch": []}[where]
    if where == "scratch":
        (world.folder / "nextflow.config").write_text(CONFIG + f"process.scratch = '{world.folder}/scratch'\n")
    with mounted(world.folder / where, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs"):
        first = world.run(*options)
        assert first.status != 0
        assert "Traceback" not in first.log
        said = sentence_of(first.log)
    shutil.rmtree(world.folder / where, ignore_errors=True)
    if where == "scratch":
        (world.folder / "nextflow.config").write_text(CONFIG)
    run = world.run("-resume")
    world.same(run)
    return f"ended with: {said}; with more room the same tables"


def read_only_outdir(world: World, _: Path) -> str:
    """The output folder can't be written."""
    world.fresh()
    with mounted(world.folder / "out", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs"):
        run = world.run()
        assert run.status != 0
    assert "can't be written" in run.log, run.log
    return f"ended with: {sentence_of(run.log)}"


def too_little_memory(world: World, tries: int, _: Path) -> str:
    """A task may not have the memory that it needs, once or every time."""
    limit = f"if [ $(cat ../../pca_tries | wc -l) -lt {tries} ]; then echo x >> ../../pca_tries; kill -9 $$; fi"
    world.fresh(CONFIG + f"process {{ withName: PCA {{ beforeScript = '''{limit}''' }} }}\n")
    (world.folder / "work").mkdir()
    (world.folder / "work" / "pca_tries").write_text("")
    run = world.run()
    if tries < 3:
        world.same(run)
        return f"{tries} tries ended without memory, the next one completed; the same tables"
    assert run.status != 0
    row = run.table("status").query("step == 'embed'").iloc[0]
    assert row["status"] == "failed", row
    return f"the run goes on to its report, which says: {row['reason']}"


def hanging(world: World, _: Path) -> str:
    """A task hangs for longer than its time."""
    world.fresh(CONFIG + "process { withName: PCA { beforeScript = 'sleep 600'; time = '5 s' } }\n")
    run = world.run()
    assert run.status != 0
    row = run.table("status").query("step == 'embed'").iloc[0]
    assert row["status"] == "failed", row
    return f"stopped after its time; the report says: {row['reason']}"


def odd_environment(world: World, extra: dict[str, str], _: Path) -> str:
    """The environment lacks something that programs like to have."""
    world.fresh()
    run = world.run(**extra)
    world.same(run)
    return "the same tables"


def cases(world: World) -> dict[str, Case]:
    """Return every case by name."""
    table: dict[str, Callable[[Path], str]] = {}
    for step, words in STEPS.items():
        table[f"kill -9 of a task: {words}"] = partial(kill_task, world, step)
    for step in ("check_inputs.py", "prepare_dataset.py", "integrate_cells.py", "score_embedding.py", "write_page.py"):
        for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
            table[f"{number.name} to Nextflow: {STEPS[step]}"] = partial(end_nextflow, world, step, number)
    for name, words in FILES.items():
        for how in (truncate, empty, flip, delete):
            table[f"{how.__name__} before resume: {words}"] = partial(damage, world, name, how)
    for where, megabytes, words in (
        ("work", 3, "work folder"),
        ("out", 19, "output folder"),
        ("scratch", 1, "a task's folder"),
    ):
        table[f"full disk: {words}"] = partial(full_disk, world, where, megabytes)
    for tries in (1, 2, 3):
        table[f"no memory: {tries} of 3 tries"] = partial(too_little_memory, world, tries)
    for words, extra in {
        "no home folder": {"HOME": "/nonexistent"},
        "another language": {"LC_ALL": "C", "LANG": "C"},
        "other thread counts": {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"},
    }.items():
        table[f"environment: {words}"] = partial(odd_environment, world, extra)
    single = {"no cache": no_cache, "another input": other_input, "an earlier run's results": earlier_results}
    single |= {
        "two runs in one output folder": two_runs,
        "read-only output folder": read_only_outdir,
        "a hanging task": hanging,
    }
    return table | {name: partial(case, world) for name, case in single.items()}
