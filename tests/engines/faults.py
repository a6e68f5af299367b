"""What is injected into a run: every case by name, in the order in which they run."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from engines import files, kills
from engines.suite import Case
from engines.world import World

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
#: steps during which Nextflow itself is ended
ENDED = ("check_inputs.py", "integrate_cells.py", "score_embedding.py", "write_page.py")
#: file of the work folder -> what it is
DAMAGED = {
    "demo.prepared.h5ad": "prepared data set",
    "demo.obs.parquet": "obs table",
    "demo.pca.raw.0.parquet": "validated embedding",
    "demo.pca.raw.0.knn.npz": "neighbours",
    "demo.pca.raw.0.scores.tsv": "scores",
}
#: disk, and the step during which it fills up
FULL = {
    ("work", "integrate_cells.py"): "work folder",
    ("work", "collect_results.py"): "work folder",
    ("out", "validate_embedding.py"): "output folder",
    ("out", "collect_results.py"): "output folder",
    ("scratch", "integrate_cells.py"): "a task's folder",
    ("scratch", "write_dataset_h5ad.py"): "a task's folder",
}
ENVIRONMENTS = {
    "no home folder": {"HOME": "/nonexistent"},
    "another language": {"LC_ALL": "C", "LANG": "C"},
    "other thread counts": {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"},
    "no folder for temporary files": {"TMPDIR": "/nonexistent"},
}
SINGLE: dict[str, Callable[[World, Path], str]] = {
    "a hanging task": kills.hanging,
    "no cache": files.no_cache,
    "no work folder": files.no_work_folder,
    "another input": files.other_input,
    "the input is deleted during the run": files.lost_input,
    "an earlier run's results": files.earlier_results,
    "results of other settings": files.results_of_other_settings,
    "two runs in one output folder": files.two_runs,
    "two runs in one launch folder": files.one_launch_folder,
    "a run resumed while it runs": files.resumed_twice,
    "read-only output folder": files.read_only_outdir,
}


def cases(world: World) -> dict[str, Case]:
    """Return every case by name."""
    table: dict[str, Callable[[Path], str]] = {}
    for step, words in STEPS.items():
        table[f"kill -9 of a task: {words}"] = partial(kills.kill_task, world, step)
    for step in ENDED:
        for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
            table[f"{number.name} to Nextflow: {STEPS[step]}"] = partial(kills.end_nextflow, world, step, number)
    for name, words in DAMAGED.items():
        for how in (files.truncate, files.empty, files.flip, files.delete):
            table[f"{how.__name__} before resume: {words}"] = partial(files.damage, world, name, how)
    for (where, step), words in FULL.items():
        table[f"full disk: {words}, {STEPS[step]}"] = partial(files.full_disk, world, where, step)
    table["read-only during the run: output folder"] = partial(files.read_only_later, world, "collect_results.py")
    for tries in (1, 2, 3):
        table[f"no memory: {tries} of 3 tries"] = partial(kills.too_little_memory, world, tries)
    for step, process in {"prepare_dataset.py": "PREPARE_DATASET", "score_embedding.py": "SCORE_EMBEDDING"}.items():
        table[f"allocations fail: {STEPS[step]}"] = partial(kills.small_address_space, world, step, process)
    for words, extra in ENVIRONMENTS.items():
        table[f"environment: {words}"] = partial(kills.odd_environment, world, extra)
    return table | {name: partial(case, world) for name, case in SINGLE.items()}
