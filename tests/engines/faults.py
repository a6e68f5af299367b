"""What is injected into a run: every case by name, in the order in which they run. One run may take several."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from engines import files, kills
from engines.suite import Case
from engines.world import World

#: disk, and the step during which it fills up
FULL = {
    ("work", "integrate_cells.py"): "work folder",
    ("out", "validate_embedding.py"): "output folder",
    ("out", "collect_results.py"): "output folder",
    ("scratch", "integrate_cells.py"): "a task's folder",
}
ENVIRONMENT = {"HOME": "/nonexistent", "LC_ALL": "C", "LANG": "C", "TMPDIR": "/nonexistent", "OMP_NUM_THREADS": "2"}
STARVED = {"prepare_dataset.py": "PREPARE_DATASET", "score_embedding.py": "SCORE_EMBEDDING"}
SINGLE: dict[str, Callable[[World, Path], str]] = {
    "a hanging task": kills.hanging,
    "another input": files.other_input,
    "an earlier run's results": files.earlier_results,
    "results of other settings": files.results_of_other_settings,
    "two runs in one output folder": files.two_runs,
    "a run resumed while it runs": files.resumed_twice,
    "read-only output folder": files.read_only_outdir,
    "the input is deleted during the run": files.lost_input,
    "two runs in one launch folder": files.one_launch_folder,
    "no cache": files.no_cache,
    "no work folder": files.no_work_folder,
}


def cases(world: World) -> dict[str, Case]:
    """Return every case by name; a case may be of several failures."""
    table: dict[str, Case] = {}
    hows = (files.truncate, files.empty, files.flip, files.delete)
    # one file per data set of a run, and no file twice in a run
    damages = [(name, hows[(i + shift) % 4]) for shift in range(4) for i, name in enumerate(files.FILES)]
    table["kill -9 of tasks"] = partial(kills.kill_tasks, world.whole(), list(kills.STEPS))
    table["Nextflow is ended"] = partial(kills.end_nextflow, world, kills.ENDED)
    table["no memory"] = partial(kills.too_little_memory, world)
    for start in range(0, len(damages), len(world.sets)):
        chosen = damages[start : start + len(world.sets)]
        table[f"damaged work files from {start + 1}"] = partial(files.damage, world, chosen)
    table["allocations fail"] = partial(kills.small_address_space, world, STARVED)
    table |= {name: partial(case, world) for name, case in SINGLE.items() if name not in {"no cache", "no work folder"}}
    for (where, step), words in FULL.items():
        table[f"full disk: {words}, {kills.STEPS[step]}"] = partial(files.full_disk, world, where, step)
    table["environment: no home, no language, no folder for temporary files, other thread counts"] = partial(
        kills.odd_environment, world, ENVIRONMENT
    )
    return table | {name: partial(SINGLE[name], world) for name in ("no cache", "no work folder")}
